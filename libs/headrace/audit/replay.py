"""Replay: the same handlers on the same raw records under the recorded cuts, and a verdict for every prediction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.audit import moved
from headrace.bus.changelog import Progress
from headrace.bus.encode import Encoder
from headrace.bus.engine import Engine, decode_plain
from headrace.bus.fusion import FusedEngine, in_order
from headrace.bus.held import Held
from headrace.bus.memory import MemoryLog, MemoryRunner, settle
from headrace.bus.observer import Said, encoded
from headrace.bus.reading import first_of
from headrace.bus.records import Incoming, Place
from headrace.bus.schemas import MemoryRegistry, Registry, Schema
from headrace.bus.scribe import AT_ONCE, Scribe
from headrace.bus.service import Artifacts, Service
from headrace.bus.skips import ORDER, proven
from headrace.contracts.arrow import spans
from headrace.contracts.frame import SIZE, unframed
from headrace.contracts.topics import (
    COMMANDS,
    CONTROL_TOPICS,
    EVENTS,
    LEDGER,
    PIPELINES,
    PREDICTIONS,
    REJECTED,
    TICKS,
)
from headrace.errors import HeadraceError, UsageError
from headrace.pipeline.definition import Definition

_LOCAL_IDS = 1 << 30
_BATCH = 16_384  # events handled at once; the answers do not depend on it


class LayeredRegistry:
    """A registry that reads schemas of another and keeps what a replay registers to itself."""

    def __init__(self, below: Registry) -> None:
        self._below, self._own = below, MemoryRegistry()

    def register(self, subject: str, schema: Schema) -> int:
        """Return an id that only this replay knows."""
        return _LOCAL_IDS + self._own.register(subject, schema)

    def schema(self, schema_id: int) -> Schema | None:
        """Return the schema of an id of either layer."""
        return (
            self._own.schema(schema_id - _LOCAL_IDS)
            if schema_id > _LOCAL_IDS
            else self._below.schema(schema_id)
        )


@dataclass(frozen=True)
class Recording:
    """What the log holds of a pipeline, by topic and partition, with the offsets it had there."""

    pipeline: str
    partitions: dict[Place, Held]

    def of(self, topic: str, partition: int = 0) -> Held:
        """Return the records of a partition."""
        return self.partitions.get((topic, partition), Held())


@dataclass
class Verdicts:
    """How many predictions were checked, matched to the bit, or did not; the first mismatches by event id."""

    from_tick: int
    to_tick: int
    checked: int = 0
    match: int = 0
    mismatch: int = 0
    missing: int = 0
    examples: list[str] = field(default_factory=list)


def replay(
    recording: Recording,
    services: Sequence[Service],
    registry: Registry,
    artifacts: Artifacts,
    *,
    from_tick: int,
    to_tick: int,
) -> Verdicts:
    """Compute the predictions of ticks ``from_tick`` to ``to_tick`` again and compare them byte by byte.

    Behind a re-key the recorded order is obeyed, and what was moved is compared too. State begins empty far enough before ``from_tick`` that none of it is left there (the definition's look-back).

    Raises:
        UsageError: when the log does not hold these ticks.
        HeadraceError: when the replay stops before the last tick.
    """
    layered = LayeredRegistry(registry)
    plan = _plan(recording, layered, from_tick, to_tick)
    log = MemoryLog()
    log.partitions.update(plan.inputs)
    obeyed = proven(skip_orders(recording, layered), _rejections(recording, layered))
    needed = [s for s in in_order(services) if s.needed(plan.definition)]
    scribe = Scribe(AT_ONCE)
    engines = [Engine(s, layered, artifacts, max_batch=_BATCH, proven=obeyed, scribe=scribe) for s in needed]
    differ = _again(engines, recording, log, layered, plan)
    lanes = [lane for e in engines for (name, _), lane in e.lanes.items() if name == recording.pipeline]
    done = min((lane.progress.tick for lane in lanes), default=0)
    if done <= to_tick:
        raise HeadraceError(
            f"the replay stopped at tick {done}", "the log lacks what the tick needs", "headrace doctor"
        )
    verdicts = _compared(recording, log, layered, plan, from_tick, to_tick)
    for event_id in differ:
        _judge(verdicts, event_id, b"as it was moved", b"as it should be")
    return verdicts


def _again(
    engines: Sequence[Engine], recording: Recording, log: MemoryLog, registry: Registry, plan: "_Plan"
) -> list[str]:
    """Let the services do their work again, fused; return the events that a re-key did not move as it should."""
    before = moved.up_to_the_re_key(engines, plan.definition)
    _run(before, log, plan)
    differ = moved.obey(recording.partitions, log, registry, plan.definition, plan.ticks) if before else []
    _run([FusedEngine([e for e in engines if e not in before])], log, plan)
    return differ


def _run(engines: Sequence[Engine | FusedEngine], log: MemoryLog, plan: "_Plan") -> None:
    """Let engines do all they can on the log; a fused one writes what its members would one by one."""
    runners = [MemoryRunner(log, engine, begin=plan.begins) for engine in engines]
    settle(runners)
    for engine in engines:  # a tick may end on offsets that hold no record
        for (name, partition), end in plan.ends.items():
            engine.reached(name, partition, end)
    settle(runners)


def skip_orders(recording: Recording, registry: Registry) -> list[Mapping[str, Any]]:
    """Return the operators' orders to step over a record of the pipeline."""
    told = decode_plain(recording.of(COMMANDS.name()), registry)
    return [f for _, name, f in told if name == ORDER and f["pipeline"] == recording.pipeline]


def _rejections(recording: Recording, registry: Registry) -> list[Mapping[str, Any]]:
    name = REJECTED.name(recording.pipeline)
    held = [records for (topic, _), records in recording.partitions.items() if topic == name]
    return [fields for records in held for _, _, fields in decode_plain(records, registry)]


@dataclass(frozen=True)
class _Plan:
    inputs: dict[Place, Held]
    begins: dict[int, Progress]
    ends: dict[tuple[str, int], int]
    definition: Definition
    ticks: range


def _plan(recording: Recording, registry: Registry, from_tick: int, to_tick: int) -> _Plan:
    """Choose where to begin, and take the raw records and the recorded cuts from there to the last tick."""
    pipeline = recording.pipeline
    ticks = {f["n"]: f for _, _, f in decode_plain(recording.of(TICKS.name(pipeline)), registry)}
    if from_tick not in ticks or to_tick not in ticks or from_tick > to_tick:
        raise UsageError(
            f"the log of {pipeline} does not hold ticks {from_tick} to {to_tick}",
            f"it holds 1 to {max(ticks, default=0)}",
        )
    first, cuts = first_tick(recording, registry, from_tick), _cuts(recording, registry)
    definition = registered(recording, registry)
    inputs = {key: held for key, held in recording.partitions.items() if key[0] in _CONTROL_NAMES}
    begins, ends = {}, {}
    for partition, (start, end) in raw_spans(recording, registry, from_tick, to_tick).items():
        raw = recording.of(EVENTS.name(pipeline), partition)
        inputs[EVENTS.name(pipeline), partition] = raw.between(start, end)
        begins[partition] = Progress(tick=first, raw_from=start)
        ends[EVENTS.name(pipeline), partition] = end
    inputs[TICKS.name(pipeline), 0] = _recorded_ticks(
        recording, registry, cuts, range(first - 1, to_tick + 1)
    )
    return _Plan(inputs, begins, ends, definition, range(first, to_tick + 1))


def first_tick(recording: Recording, registry: Registry, from_tick: int) -> int:
    """Return the tick at which a replay of ``from_tick`` begins: one look-back of event time earlier, or the first."""
    ticks = {
        f["n"]: f["time"] for _, _, f in decode_plain(recording.of(TICKS.name(recording.pipeline)), registry)
    }
    horizon = ticks[from_tick] - registered(recording, registry).lookback
    return max((n for n, time in ticks.items() if time <= horizon and n < from_tick), default=0) + 1


def raw_spans(
    recording: Recording, registry: Registry, from_tick: int, to_tick: int
) -> dict[int, tuple[int, int]]:
    """Return the raw offsets, by partition, that a replay of these ticks reads: from ticks, ledger and definition alone."""
    first, cuts = first_tick(recording, registry, from_tick), _cuts(recording, registry)
    partitions = range(registered(recording, registry).partitions)
    return {p: (cuts[first, p][0], cuts[to_tick, p][1]) for p in partitions}


_CONTROL_NAMES = {t.name() for t in CONTROL_TOPICS}


def _cuts(recording: Recording, registry: Registry) -> dict[tuple[int, int], tuple[int, int]]:
    """Return the raw offsets between which each tick lies in each partition, as ingestion recorded them."""
    entries = decode_plain(recording.of(LEDGER.name(recording.pipeline)), registry)
    return {
        (f["tick"], f["partition"]): (f["raw_from"], f["raw_to"])
        for _, _, f in entries
        if f["service"] == "ingestion" and f["raw_to"] is not None
    }


def registered(recording: Recording, registry: Registry) -> Definition:
    """Return the definition that the pipeline was last registered with."""
    found = [
        f
        for _, _, f in decode_plain(recording.of(PIPELINES.name()), registry)
        if f["pipeline"] == recording.pipeline
    ]
    return Definition.model_validate_json(found[-1]["definition"])


def _recorded_ticks(
    recording: Recording, registry: Registry, cuts: dict[tuple[int, int], tuple[int, int]], wanted: range
) -> Held:
    """Return tick records whose raw ends are the recorded cuts: the one race of the live run, decided as it was."""
    name = TICKS.name(recording.pipeline)
    definition = registered(recording, registry)
    encoder = Encoder(registry)
    found: list[Incoming] = []
    for _, _, tick in decode_plain(recording.of(name), registry):
        if tick["n"] in wanted:
            raw = {
                p: cuts[tick["n"], int(p)][1] if (tick["n"], int(p)) in cuts else e
                for p, e in tick["raw"].items()
            }
            record = encoded(encoder, Said(TICKS, "Tick", {**tick, "raw": raw}), definition)[0]
            found.append(Incoming(name, 0, len(found), record.key, record.value, record.headers))
    return Held.of(found)


def _compared(
    recording: Recording, log: MemoryLog, registry: Registry, plan: _Plan, from_tick: int, to_tick: int
) -> Verdicts:
    name = PREDICTIONS.name(recording.pipeline)
    verdicts = Verdicts(from_tick, to_tick)
    for partition in range(plan.definition.partitions):
        said, again = recording.of(name, partition), log.partitions[name, partition]
        count = _same(said, again, registry, range(from_tick, to_tick + 1))
        verdicts.checked += count
        verdicts.match += count
        if not count:
            parts = (_by_event(held, registry, from_tick, to_tick) for held in (said, again))
            _judge_each(verdicts, *parts)
    return verdicts


def _same(said: Held, again: Held, registry: Registry, ticks: range) -> int:
    """Return how many predictions of the ticks both have if these are the same, byte by byte; else 0."""
    parts = [
        held[first_of(held, registry, ticks.start) : first_of(held, registry, ticks.stop)]
        for held in (said, again)
    ]
    if not all(parts):
        return 0
    (data, bounds), (others, ends) = (unframed(*spans(part.columns().values)) for part in parts)
    return len(parts[0]) if np.array_equal(bounds, ends) and np.array_equal(data, others) else 0


def _judge_each(verdicts: Verdicts, said: Mapping[str, bytes], again: Mapping[str, bytes]) -> None:
    for event_id in said.keys() | again.keys():
        _judge(verdicts, event_id, said.get(event_id), again.get(event_id))


def _judge(verdicts: Verdicts, event_id: str, said: bytes | None, again: bytes | None) -> None:
    verdicts.checked += 1
    verdicts.match += said == again
    verdicts.mismatch += said != again
    verdicts.missing += said is None or again is None
    if said != again and len(verdicts.examples) < _EXAMPLES:
        verdicts.examples.append(event_id)


_EXAMPLES = 10


def _by_event(records: Held, registry: Registry, from_tick: int, to_tick: int) -> dict[str, bytes]:
    """Return the bodies of predictions of these ticks by event id, without their schema header."""
    rows = (
        (r.value or b"", f) for r, (_, _, f) in zip(records, decode_plain(records, registry), strict=True)
    )
    return {f["event_id"]: value[SIZE:] for value, f in rows if from_tick <= f["tick"] <= to_tick}


def as_json(verdicts: Verdicts) -> str:
    """Return verdicts as JSON."""
    return json.dumps(verdicts.__dict__, sort_keys=True)
