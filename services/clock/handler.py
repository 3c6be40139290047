"""When a pipeline ticks: at the wall's seconds, or at a publisher's steps and until what they set off has settled."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.bus.observer import Said
from headrace.contracts.topics import (
    CONTROL_TOPICS,
    CUT_TOPICS,
    EVENTS,
    LEDGER,
    PIPELINES,
    STEPS,
    TICKS,
    Topic,
)
from headrace.pipeline.definition import Definition

Fields = Mapping[str, Any]
WALL_PERIOD = 1_000_000


@dataclass
class Pace:
    """One pipeline's ticks so far, and what has been seen of the work they set off."""

    pipeline: str
    definition: Definition
    stages: list[str]
    tick: Fields | None = None
    closed: dict[tuple[str, int], Fields] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    requested: Fields | None = None
    rested: int = -1
    effects: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)

    def next(self, now: int, ends: Callable[[str, int], dict[int, int]]) -> Said | None:
        """Return the next tick or rest, or None while there is nothing to say."""
        if self.definition.clock.kind == "wall":
            return self._wall(now, ends)
        if not self._closed() or self.effects - self.answered:
            return None
        if self.tick is not None and self._controls_moved():
            return self._tick("settle", self.tick["time"], self.tick["raw"], self.tick["step"])
        return self._rest_or_step()

    def _rest_or_step(self) -> Said | None:
        """Say that the open step rests, or issue the tick of the next one."""
        step = self.requested
        if step is None or step["step"] <= self.rested:
            return None
        if self.tick is not None and self.tick["step"] == step["step"]:
            rested = {
                "pipeline": self.pipeline,
                "step": step["step"],
                "time": step["time"],
                "tick": self.tick["n"],
            }
            return Said(STEPS, "StepRested", rested)
        return self._tick("end" if step["final"] else "step", step["time"], step["raw"], step["step"])

    def _wall(self, now: int, ends: Callable[[str, int], dict[int, int]]) -> Said | None:
        time = now - now % WALL_PERIOD
        if self.tick is not None and time <= self.tick["time"]:
            return None
        raw = ends(EVENTS.name(self.pipeline), self.definition.partitions)
        return self._tick("wall", time, {str(p): end for p, end in raw.items()}, None)

    def _tick(self, reason: str, time: int, raw: Mapping[str, int], step: int | None) -> Said:
        tick = {
            "pipeline": self.pipeline,
            "n": self.tick["n"] + 1 if self.tick else 1,
            "time": time,
            "reason": reason,
            "step": step,
            "raw": dict(raw),
            "controls": {t.name(): self.positions.get(t.name(), 0) for t in CUT_TOPICS},
        }
        self.take_tick(tick)
        return Said(TICKS, "Tick", tick)

    def take_tick(self, tick: Fields) -> None:
        """Take a tick, said now or read back."""
        if self.tick is None or tick["n"] > self.tick["n"]:
            self.tick = tick
            self.closed = {key: e for key, e in self.closed.items() if e["tick"] >= tick["n"]}
            self.seen = {key: count for key, count in self.seen.items() if key[1] >= tick["n"]}

    def _closed(self) -> bool:
        """Tell whether every stage has closed the last tick and all it said has been read here."""
        if self.tick is None:
            return True
        n = self.tick["n"]
        entries = [e for e in self.closed.values() if e["tick"] == n]
        if set(self.stages) - {f"{e['service']}/{e['partition']}" for e in entries}:
            return False
        said: Counter[str] = Counter()
        for entry in entries:
            said.update(entry["records_out"])
        return all(self.seen.get((t.name(), n), 0) >= said[t.name()] for t in CONTROL_TOPICS)

    def _controls_moved(self) -> bool:
        cut = self.tick["controls"] if self.tick else {}
        return any(self.newest.get(t.name(), -1) >= cut.get(t.name(), 0) for t in CUT_TOPICS)


class Clock:
    """The clock of all pipelines, as an observer of the log."""

    controls: tuple[Topic, ...] = CONTROL_TOPICS
    streams: tuple[Topic, ...] = (TICKS, STEPS, LEDGER)

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}
        self._positions: dict[str, int] = {}
        self._control_names = {t.name() for t in CONTROL_TOPICS}
        self._early: dict[str, list[tuple[str, int, str, Fields]]] = {}

    def observe(self, topic: str, offset: int, record: str, fields: Fields) -> None:
        """Take one record; topics come in any order, so it may be there before its pipeline is."""
        if topic in self._control_names:
            self._positions[topic] = offset + 1
        if topic == PIPELINES.name():
            self._register(fields)
            for early in self._early.pop(fields["pipeline"], ()):
                self._take(*early)
        if fields["pipeline"] in self._paces:
            self._take(topic, offset, record, fields)
        else:
            self._early.setdefault(fields["pipeline"], []).append((topic, offset, record, fields))

    def _take(self, topic: str, offset: int, record: str, fields: Fields) -> None:
        pace = self._paces[fields["pipeline"]]
        if topic in self._control_names:
            pace.newest[topic] = offset
            key = (topic, fields["tick"])
            pace.seen[key] = pace.seen.get(key, 0) + 1
        _TAKE.get(record, _nothing)(pace, fields)

    def decide(self, now: int, ends: Callable[[str, int], dict[int, int]]) -> Iterable[Said]:
        """Return the ticks and rests that are due."""
        for pace in self._paces.values():
            pace.positions = self._positions
            said = pace.next(now, ends)
            if said is not None:
                yield said

    def _register(self, fields: Fields) -> None:
        definition = Definition.model_validate_json(fields["definition"])
        pace = self._paces.setdefault(
            fields["pipeline"], Pace(fields["pipeline"], definition, fields["stages"])
        )
        pace.definition, pace.stages = definition, fields["stages"]


def _nothing(pace: Pace, fields: Fields) -> None:
    del pace, fields


def _take_entry(pace: Pace, entry: Fields) -> None:
    if pace.tick is None or entry["tick"] >= pace.tick["n"]:
        pace.closed[entry["service"], entry["partition"]] = entry


def _take_request(pace: Pace, step: Fields) -> None:
    if pace.requested is None or step["step"] > pace.requested["step"]:
        pace.requested = step


def _take_rest(pace: Pace, step: Fields) -> None:
    pace.rested = max(pace.rested, step["step"])


_TAKE: dict[str, Callable[[Pace, Fields], None]] = {
    "Tick": lambda pace, fields: pace.take_tick(fields),
    "LedgerEntry": _take_entry,
    "StepRequested": _take_request,
    "StepRested": _take_rest,
    "EffectRequested": lambda pace, fields: pace.effects.add(fields["effect_id"]),
    "EffectCompleted": lambda pace, fields: pace.answered.add(fields["effect_id"]),
    "EffectFailed": lambda pace, fields: pace.answered.add(fields["effect_id"]),
}
