"""The whole loop in memory: the same services, clock and effects as on a broker, on a log that is a list."""

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from headrace.bus.effects import Work
from headrace.bus.encode import Encoder
from headrace.bus.engine import Engine, decode_plain
from headrace.bus.fusion import FusedEngine
from headrace.bus.memory import MemoryLog, MemoryRunner
from headrace.bus.observer import Observer, Said, encoded
from headrace.bus.provision import stage_names
from headrace.bus.records import Incoming, Outgoing
from headrace.bus.schemas import MemoryRegistry, Registry, Schema, codec, record_schema
from headrace.bus.scribe import Scribe
from headrace.bus.service import Artifacts, Service
from headrace.bus.transaction import Transaction
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.frame import frame
from headrace.contracts.topics import EVENTS, PIPELINES, STEPS, Topic
from headrace.errors import HeadraceError
from headrace.pipeline.definition import Definition

Row = Mapping[str, Any]
Event = tuple[str, Row]


@dataclass
class MemoryArtifacts:
    """Artifacts in a dict."""

    held: dict[str, bytes] = field(default_factory=dict)

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest."""
        return self.held[digest]

    def put(self, content: bytes) -> str:
        """Keep bytes and return their digest."""
        digest = hashlib.sha256(content).hexdigest()
        self.held[digest] = content
        return digest


@dataclass(frozen=True)
class MemoryTools:
    """What an effect may use, in memory: the same fields as :class:`headrace.bus.effects.Tools`."""

    artifacts: Artifacts
    registry: Registry
    definition: Definition
    log: MemoryLog
    settings: Any = None

    def read(self, topic: Topic, offsets: Mapping[int, int]) -> tuple[list[Incoming], dict[int, int]]:
        """Return a topic's records from the given offsets to its end now, and where that is."""
        name = topic.name(self.definition.name)
        held = {p: self.log.partitions[name, p] for p in range(self.definition.partitions)}
        found = [r for p, records in held.items() for r in records[offsets.get(p, 0) :]]
        return found, {p: len(records) for p, records in held.items()}


class Mischief:
    """Seeded trouble that must not show: small reads, odd turns, aborted transactions, replaced replicas."""

    def __init__(
        self, seed: int, *, reads: int = 1_000_000, abort: float = 0.0, replace: float = 0.0
    ) -> None:
        self._chance = random.Random(seed)  # noqa: S311 -- a schedule for tests
        self.reads, self._abort, self._replace = reads, abort, replace
        self.shuffles = seed != 0

    def aborts(self, transaction: Transaction) -> bool:
        """Tell whether this transaction fails to commit."""
        del transaction
        return self._chance.random() < self._abort

    def replaces(self) -> bool:
        """Tell whether a replica is lost now."""
        return self._chance.random() < self._replace

    def turn(self, runners: list[Any]) -> list[Any]:
        """Return the runners in the order of this round."""
        return self._chance.sample(runners, len(runners)) if self.shuffles else runners


class MemoryLoop:
    """Services, a clock and effects on one log; :meth:`publish` plays a source-clock producer."""

    def __init__(
        self,
        definition: Definition,
        services: Sequence[Service],
        clock: Observer,
        effects: Mapping[Topic, tuple[Topic, Mapping[str, Work]]] | None = None,
        *,
        max_batch: int = 1_000,
        mischief: Mischief | None = None,
        fused: Sequence[Service] = (),
        lean: bool = False,
    ) -> None:
        """Run ``services`` one by one, but those of the chain ``fused`` as one; see :mod:`headrace.bus.fusion`."""
        self.definition, self._clock = definition, clock
        self._fused, self._lean = tuple(fused), lean
        self._services: list[Service | None] = [s for s in services if s not in self._fused]
        self._services += [None] if fused else []
        self._effects = effects or {}
        self.log, self.registry, self.artifacts = MemoryLog(), MemoryRegistry(), MemoryArtifacts()
        for record in definition.records:  # first of all, as on a cluster: dead letters hold these ids
            self._raw_schema(record)
        self._encoder = Encoder(self.registry)
        self._mischief = mischief or Mischief(0)
        self._max_batch, self._scribe = max_batch, Scribe(0)
        self._seen: dict[tuple[str, int], int] = {}
        self._done: dict[str, int] = {}
        self._step = -1
        self.runners = [self._runner(s) for s in self._services]
        stages = [name for s in services for name in stage_names([s], definition)]
        self.say(
            Said(
                PIPELINES,
                "PipelineRegistered",
                {
                    "pipeline": definition.name,
                    "tick": -1,
                    "digest": definition.digest,
                    "definition": definition.canonical(),
                    "stages": stages,
                },
            )
        )

    # -- a producer and an operator -----------------------------------------------------------------

    def publish(self, time: int, events: Iterable[Event], *, final: bool = False) -> None:
        """Publish a step's records in order, ask for its tick and run until it rests."""
        self.append_raw(events)
        self._step += 1
        ends = {str(p): len(self.log.partitions[EVENTS.name(self.definition.name), p])
                for p in range(self.definition.partitions)}  # fmt: skip
        step = {
            "pipeline": self.definition.name,
            "step": self._step,
            "time": time,
            "raw": ends,
            "final": final,
        }
        self.say(Said(STEPS, "StepRequested", step))
        self.run()

    def append_raw(self, events: Iterable[Event]) -> None:
        """Append records to the raw topic; a record named ``!`` is appended as the bytes it holds."""
        name = EVENTS.name(self.definition.name)
        self.log.append(self._raw(name, record, row) for record, row in events)

    def _raw(self, topic: str, record: str, row: Row) -> Outgoing:
        if record == "!":
            return Outgoing(topic, 0, b"?", row["bytes"])
        schema_id, held = self._raw_schema(record)
        columns = pa.RecordBatch.from_pylist([dict(row)], schema=arrow_schema(held))
        key = ":".join(str(row[c]) for c in self.definition.records[record].key)
        partition = sum(key.encode()) % self.definition.partitions
        return Outgoing(topic, partition, key.encode(), frame(schema_id, codec(held).encode(columns))[0])

    def _raw_schema(self, record: str) -> tuple[int, Schema]:
        held = record_schema(EVENTS, record, self.definition)
        return self.registry.register(EVENTS.name(self.definition.name), held), held

    def say(self, said: Said) -> None:
        """Append a record of ours."""
        self.log.append(encoded(self._encoder, said, self.definition))

    # -- running ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run everything in turn until nothing moves."""
        moving = True
        while moving:
            moving = False
            for place, runner in self._mischief.turn(list(enumerate(self.runners))):
                if self._mischief.replaces():
                    self.runners[place] = runner = self._runner(self._services[place])  # noqa: PLW2901
                moving |= runner.pump()
            moving |= self._tick() | self._carry_out()

    def run_clock(self) -> None:
        """Let the clock say all it has to say, and nobody else."""
        while self._tick():
            pass

    def switch(
        self, services: Sequence[Service], fused: Sequence[Service] = (), *, lean: bool = False
    ) -> None:
        """Run the same services in another mode from here on: every replica is lost, others take over."""
        self._fused, self._lean = tuple(fused), lean
        self._services = [s for s in services if s not in self._fused]
        self._services += [None] if fused else []
        self.runners = [self._runner(s) for s in self._services]

    def _engine(self, service: Service, scribe: Scribe | None = None) -> Engine:
        return Engine(service, self.registry, self.artifacts, max_batch=self._max_batch, scribe=scribe)

    def _runner(self, service: Service | None) -> MemoryRunner:
        """Return a new replica of a service; of the fused chain, for None."""
        chain = [self._engine(member, self._scribe) for member in self._fused]
        engine = self._engine(service) if service else FusedEngine(chain, lean=self._lean)
        return MemoryRunner(self.log, engine, most=self._mischief.reads, abort=self._mischief.aborts)

    def _tick(self) -> bool:
        pipeline = self.definition.name
        names = [t.name() for t in {PIPELINES, *self._clock.controls}]
        names += [t.name(pipeline) for t in self._clock.streams]
        for (topic, partition), held in list(self.log.partitions.items()):
            start = self._seen.get((topic, partition), 0)
            if topic in names and len(held) > start:
                self._seen[topic, partition] = len(held)
                for offset, record, fields in decode_plain(held[start:], self.registry):
                    self._clock.observe(topic, offset, record, fields)
        said = list(self._clock.decide(0, self._ends))
        for item in said:
            self.say(item)
        return bool(said)

    def _ends(self, topic: str, partitions: int) -> dict[int, int]:
        return {p: len(self.log.partitions[topic, p]) for p in range(partitions)}

    def _carry_out(self) -> bool:
        moved = False
        tools = MemoryTools(self.artifacts, self.registry, self.definition, self.log)
        for requests, (results, work) in self._effects.items():
            records = self.log.partitions[requests.name(), 0][self._done.get(requests.name(), 0) :]
            self._done[requests.name()] = len(self.log.partitions[requests.name(), 0])
            for _, _, fields in decode_plain(records, self.registry):
                payload = {**json.loads(fields["payload"]), "effect_id": fields["effect_id"]}
                common = {name: fields[name] for name in ("effect_id", "pipeline", "tick", "kind")}
                try:
                    result = work[fields["kind"]](payload, tools)  # type: ignore[arg-type]
                except HeadraceError as error:
                    self.say(Said(results, "EffectFailed", {**common, "error": str(error)}))
                else:
                    self.say(Said(results, "EffectCompleted", {**common, "result": json.dumps(dict(result))}))
                moved = True
        return moved

    # -- what came of it ----------------------------------------------------------------------------

    def records(self, topic: Topic) -> list[tuple[str, dict[str, Any]]]:
        """Return (record type, plain fields) of a topic's records in order."""
        held = self.log.read(topic.name(self.definition.name))
        return [(name, fields) for _, name, fields in decode_plain(held, self.registry)]

    def bodies(self, topics: Iterable[Topic]) -> dict[str, list[tuple[int, bytes, bytes]]]:
        """Return what the topics hold, comparable between runs: partition, key and body without the schema id."""
        return {
            topic.name(self.definition.name): [
                (r.partition, r.key or b"", (r.value or b"")[5:])
                for r in self.log.read(topic.name(self.definition.name))
            ]
            for topic in topics
        }
