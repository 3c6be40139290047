"""Reading the log without being part of it: spans of topics, by offset or by tick, committed records only."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from headrace.bus.arrivals import Arrivals, Told
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import consumer, fetch_anew, incoming, passed, received
from headrace.bus.records import Incoming, Place
from headrace.bus.schemas import Registry
from headrace.bus.unreadable import Stepping
from headrace.errors import UnreachableError, UsageError

PATIENCE = 10.0
# For single records far apart: nothing is fetched ahead, nothing waited for (measured on 32 probes: 0.2 s for 4.7 s).
_LITTLE = {
    "fetch.message.max.bytes": 65_536,
    "queued.min.messages": 1_000,
    "fetch.wait.max.ms": 10,
    "fetch.queue.backoff.ms": 1,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets ``start`` to ``end`` (exclusive; None: the end now) of a partition."""

    topic: str
    partition: int = 0
    start: int = 0
    end: int | None = None


class Stamped(NamedTuple):
    """A record and when the broker appended it: milliseconds since 1970 UTC, -1 where its batch cannot be read."""

    record: Incoming
    appended: int

    @property
    def place(self) -> Place:
        """Return the topic and the partition."""
        return self.record.topic, self.record.partition


class Log(Protocol):
    """A log that can be read: the broker's, or one in memory."""

    def topics(self) -> list[str]:
        """Return the names of all topics."""

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of every partition; raise UsageError for a topic that is not there."""

    def read(self, spans: Iterable[Span]) -> Iterator[Stamped]:
        """Yield the committed records of the spans; those of one partition in the order of the log."""

    def first(self, span: Span) -> Stamped | None:
        """Return the first committed record of a span."""


class KafkaLog:
    """The broker's log, read by one client of its own; use as a context manager."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client: Consumer = consumer(bootstrap, "headrace.reader")
        self._probe: Consumer = consumer(bootstrap, "headrace.reader", **_LITTLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._probe.close()

    def topics(self) -> list[str]:
        """Return the names of all topics.

        Raises:
            UnreachableError: when the broker does not answer.
        """
        try:
            return sorted(self._client.list_topics(timeout=PATIENCE).topics)
        except KafkaException as error:
            raise UnreachableError(
                f"the broker at {self._bootstrap} does not answer", str(error), "headrace up"
            ) from error

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of every partition; raise UsageError for a topic that is not there."""
        if topic not in self.topics():
            raise UsageError(f"there is no topic {topic}", f"asked {self._bootstrap}", "headrace topic list")
        partitions = self._client.list_topics(topic, PATIENCE).topics[topic].partitions
        asked = (TopicPartition(topic, p) for p in sorted(partitions))
        return {t.partition: self._client.get_watermark_offsets(t, PATIENCE)[1] for t in asked}

    def read(self, spans: Iterable[Span]) -> Iterator[Stamped]:
        """Yield the committed records of the spans; those of one partition in the order of the log."""
        return _read(self._bootstrap, self._client, spans)

    def first(self, span: Span) -> Stamped | None:
        """Return the first committed record of a span."""
        return next(_read(self._bootstrap, self._probe, [span]), None)

    def follow(self, topic: str) -> Iterator[Stamped]:
        """Yield what is appended from now on, for ever."""
        self._client.assign([TopicPartition(topic, p, end) for p, end in self.ends(topic).items()])
        while True:
            yield from (_stamped(message) for message in _some(self._client) if received(message))


def _read(bootstrap: str, client: Consumer, spans: Iterable[Span]) -> Iterator[Stamped]:
    left = {(s.topic, s.partition): s for s in spans if s.end is None or s.end > s.start}
    client.assign([TopicPartition(s.topic, s.partition, s.start or OFFSET_BEGINNING) for s in left.values()])
    stepping = Stepping(
        bootstrap, partial(fetch_anew, client), lambda topic, partition: left[topic, partition].start
    )
    while left:
        for place, found in _sifted(client, stepping, left):
            span = left.get(place)
            if span is None:
                continue
            if found and (span.end is None or found.record.offset < span.end):
                yield found
            if found is None or (span.end is not None and found.record.offset + 1 >= span.end):
                del left[place]
                client.incremental_unassign([TopicPartition(*place)])


def _sifted(
    client: Consumer, stepping: Stepping, left: Container[Place]
) -> Iterator[tuple[Place, Stamped | None]]:
    """Yield the next records of what is left to read, each with its place; None is the end of a partition."""
    for item in stepping.sifted(_items(_some(client), left)):
        if isinstance(item, Stamped):
            yield item.place, item
        elif isinstance(item, Arrivals):
            yield from ((item.place, Stamped(record, -1)) for record in item)
        elif item.is_end:
            yield item.place, None
        else:
            passed(item.error)


def _items(messages: Iterable[Message], left: Container[Place]) -> Iterator[Stamped | Told]:
    for message in messages:
        place = message.topic(), message.partition()
        if place in left:
            error = message.error()
            yield Told(*place, message.offset(), error) if error else _stamped(message)


def _some(client: Consumer) -> list[Any]:
    first = client.poll(0.5)
    return [] if first is None else [first, *client.consume(5_000, 0)]


def _stamped(message: Any) -> Stamped:
    return Stamped(incoming(message), message.timestamp()[1])


def whole(log: Log, *topics: str) -> dict[tuple[str, int], list[Incoming]]:
    """Return every record of topics, by topic and partition."""
    return held(log, [Span(t, p) for t in topics for p in log.ends(t)])


def held(log: Log, spans: Iterable[Span]) -> dict[tuple[str, int], list[Incoming]]:
    """Return the records of spans, by topic and partition; a partition without any has an empty list."""
    wanted = list(spans)
    found: dict[tuple[str, int], list[Incoming]] = {(s.topic, s.partition): [] for s in wanted}
    for record, _ in log.read(wanted):
        found[record.topic, record.partition].append(record)
    return found


def records(
    log: Log, registry: Registry, topic: str, pipeline: str
) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Return (offset, record type, fields) of a pipeline's records on a topic of one partition."""
    found = decode_plain((s.record for s in log.read([Span(topic)])), registry)
    return [item for item in found if item[2]["pipeline"] == pipeline]


def of_ticks(log: Log, registry: Registry, topic: str, ticks: range) -> list[Span]:
    """Return where the records of ticks lie on a topic of one stage, by bisection: their ticks never go back."""
    spans = []
    for partition, end in log.ends(topic).items():
        start = _first(log, registry, Span(topic, partition, 0, end), ticks.start)
        stop = _first(log, registry, Span(topic, partition, start, end), ticks.stop)
        spans.append(Span(topic, partition, start, stop))
    return spans


def _first(log: Log, registry: Registry, span: Span, tick: int) -> int:
    """Return the lowest offset of a span from which all ticks are ``tick`` or later."""
    low, high = span.start, span.end or 0
    while low < high:
        middle = (low + high) // 2
        found = log.first(Span(span.topic, span.partition, middle, high))
        if found is None:  # nothing but transaction markers from here on
            high = middle
            continue
        ((offset, _, fields),) = decode_plain([found.record], registry)
        low, high = (offset + 1, high) if fields["tick"] < tick else (low, middle)
    return low
