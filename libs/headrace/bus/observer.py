"""Services that watch the whole log and speak seldom (clock): every record once, from the beginning, then decide."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from headrace.bus.encode import Encoder
from headrace.bus.ends import Ends
from headrace.bus.engine import decode_plain
from headrace.bus.failpoints import reach
from headrace.bus.kafka import (
    PATIENT,
    Going,
    always,
    consumer,
    end_of,
    incoming,
    producer,
    ready,
    received,
    send,
)
from headrace.bus.records import Incoming, Outgoing
from headrace.bus.schemas import Registry
from headrace.bus.service import Emit
from headrace.bus.stalls import EVERY, Stalls
from headrace.bus.watched import Watched
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.catalogue import schema
from headrace.contracts.topics import PIPELINES, Topic
from headrace.pipeline.definition import Definition

PATIENCE = 15.0  # seconds; whom the broker leaves waiting for longer ends, and is started again


@dataclass(frozen=True, slots=True)
class Said:
    """A record an observer wants on a pipeline's topic or a control topic (partition 0)."""

    topic: Topic
    record: str
    fields: Mapping[str, Any]


class Observer(Protocol):
    """What an observer is: which topics it reads whole, and what it makes of them."""

    controls: tuple[Topic, ...]
    streams: tuple[Topic, ...]

    def observe(self, topic: str, offset: int, record: str, fields: Mapping[str, Any]) -> None:
        """Take one record."""

    def decide(self, now: int, ends: Callable[[str, int], dict[int, int]]) -> Iterable[Said]:
        """Return what is to be said now (``now`` in microseconds; ``ends`` gives a topic's end offsets)."""


class KafkaObserver:
    """Runs an observer on a broker. Its own past records are among what it reads, so it needs no state of its own."""

    look_every = EVERY  # seconds

    def __init__(self, name: str, observer: Observer, bootstrap: str, registry: Registry) -> None:
        self._observer, self._registry, self._bootstrap = observer, registry, bootstrap
        self._group = f"headrace.{name}"
        self._consumer = consumer(bootstrap, self._group, **PATIENT)
        self._stalls = Stalls(self._consumer, Ends(bootstrap), self.look_every)
        self._producer = producer(bootstrap, self._group)
        self._encoder = Encoder(registry)
        self._definitions: dict[str, Definition] = {}
        self._watched = Watched()
        self._behind: set[tuple[str, int]] = set()

    def start(self, going: Going = always, timeout: float = 60.0) -> None:
        """Fence an older observer and begin to read the control topics; give up when ``going`` says no."""
        topics = [t.name() for t in {PIPELINES, *self._observer.controls}]
        if ready(self._consumer, self._producer, topics, going, timeout):
            self._assign([TopicPartition(t, 0, OFFSET_BEGINNING) for t in topics], first=True)

    def pump(self, wait: float) -> None:
        """Read what is new; decide once everything there was at the start has been read."""
        message = self._consumer.poll(wait)
        if message is None:
            self._stalls.look()
        found = [message, *self._consumer.consume(5_000, 0)] if message else []
        records = []
        for m in found:
            self._stalls.polled(m)
            if received(m):
                records.append(incoming(m))
            elif m.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                self._behind.discard((m.topic(), m.partition()))
        self._observe(records)
        reach("after-consume")
        if not self._behind:
            self._say(list(self._observer.decide(time.time_ns() // 1_000, self._ends)))

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _observe(self, records: list[Incoming]) -> None:
        for record, (offset, name, fields) in zip(
            records, decode_plain(records, self._registry), strict=True
        ):
            if record.topic == PIPELINES.name():
                self._add(fields)
            self._observer.observe(record.topic, offset, name, fields)

    def _add(self, fields: Mapping[str, Any]) -> None:
        pipeline = fields["pipeline"]
        if pipeline not in self._definitions:
            self._assign(
                [TopicPartition(t.name(pipeline), 0, OFFSET_BEGINNING) for t in self._observer.streams]
            )
        self._definitions[pipeline] = Definition.model_validate_json(fields["definition"])

    def _assign(self, wanted: list[TopicPartition], *, first: bool = False) -> None:
        (self._consumer.assign if first else self._consumer.incremental_assign)(wanted)
        self._behind |= {(t.topic, t.partition) for t in wanted}

    def _ends(self, topic: str, partitions: int) -> dict[int, int]:
        return {p: end_of(self._consumer, TopicPartition(topic, p), PATIENCE) for p in range(partitions)}

    def _say(self, said: list[Said]) -> None:
        if not said:
            return
        self._producer.begin_transaction()
        reach("after-begin")
        for item in said:
            send(self._producer, encoded(self._encoder, item, self._definitions[item.fields["pipeline"]]))
        reach("mid-produce")
        reach("during-commit")
        self._watched.call(lambda: self._producer.commit_transaction(PATIENCE), 2 * PATIENCE)
        reach("after-commit")


def encoded(encoder: Encoder, said: Said, definition: Definition) -> list[Outgoing]:
    """Return a record of ours as it goes over the wire, for partition 0 of its topic."""
    columns = pa.RecordBatch.from_pylist([dict(said.fields)], schema=arrow_schema(schema(said.record)))
    return encoder.encode(
        said.topic, [Emit(said.record, columns)], None, 0, said.fields.get("tick", 0), definition
    )
