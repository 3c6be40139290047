"""Reading the log without being part of it: spans of topics, by offset or by tick, committed records only."""

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from headrace.bus.arrivals import Arrivals, Told
from headrace.bus.engine import decode_plain
from headrace.bus.held import Held
from headrace.bus.inbox import Inbox
from headrace.bus.kafka import consumer, fetch_anew, incoming, passed, received
from headrace.bus.records import Incoming, Place
from headrace.bus.schemas import Registry
from headrace.bus.unreadable import Stepping
from headrace.errors import UnreachableError, UsageError

PATIENCE = 10.0
_WAIT = 0.5
_NEAR = 20_000  # records, about what a fetch brings anyway: a stretch as short is read whole
# The end of a partition is told when a fetch has waited: whoever asks looks on.
_SOON = {"fetch.wait.max.ms": 20}
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

    @property
    def place(self) -> Place:
        """Return the topic and the partition."""
        return self.topic, self.partition


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

    def columns(self, spans: Iterable[Span]) -> Iterator[Arrivals]:
        """Yield the same records as columns, with headers on raw topics alone."""

    def firsts(self, spans: Iterable[Span]) -> Mapping[Place, Stamped]:
        """Return the first committed record of each span that has any, by place."""


class KafkaLog:
    """The broker's log, read by one client of its own; use as a context manager."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client: Consumer = consumer(bootstrap, "headrace.reader", **_SOON)
        self._probe: Consumer = consumer(bootstrap, "headrace.reader", **_LITTLE)
        # One that an inbox has read from gives its messages to nobody else for a while.
        self._columnar: Consumer = consumer(bootstrap, "headrace.reader", **_SOON)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in (self._client, self._probe, self._columnar):
            client.close()

    def topics(self) -> list[str]:
        """Return the names of all topics.

        Raises:
            UnreachableError: when the broker does not answer.
        """
        return sorted(self._listed().topics)

    def _listed(self, *topic: str) -> Any:
        """Return what the broker tells of all topics, or of one."""
        try:
            return self._client.list_topics(*topic, timeout=PATIENCE)
        except KafkaException as error:
            raise UnreachableError(
                f"the broker at {self._bootstrap} does not answer", str(error), "headrace up"
            ) from error

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of every partition; raise UsageError for a topic that is not there."""
        told = self._listed(topic).topics[topic]
        if told.error is not None:
            raise UsageError(f"there is no topic {topic}", f"asked {self._bootstrap}", "headrace topic list")
        asked = (TopicPartition(topic, p) for p in sorted(told.partitions))
        return {t.partition: self._client.get_watermark_offsets(t, PATIENCE)[1] for t in asked}

    def read(self, spans: Iterable[Span]) -> Iterator[Stamped]:
        """Yield the committed records of the spans; those of one partition in the order of the log."""
        return _read(self._bootstrap, self._client, spans)

    def columns(self, spans: Iterable[Span]) -> Iterator[Arrivals]:
        """Yield the same records as columns, with headers on raw topics alone."""
        inbox = Inbox(self._columnar)
        try:
            yield from _columns(self._bootstrap, self._columnar, inbox, _assigned(self._columnar, spans))
        finally:
            self._columnar.unassign()
            inbox.close()

    def firsts(self, spans: Iterable[Span]) -> Mapping[Place, Stamped]:
        """Return the first committed record of each span that has any, by place."""
        return {found.place: found for found in _read(self._bootstrap, self._probe, spans, first=True)}

    def follow(self, topic: str) -> Iterator[Stamped]:
        """Yield what is appended from now on, for ever."""
        self._client.assign([TopicPartition(topic, p, end) for p, end in self.ends(topic).items()])
        while True:
            yield from (_stamped(message) for message in _some(self._client) if received(message))


def _assigned(client: Consumer, spans: Iterable[Span]) -> dict[Place, Span]:
    """Let a client fetch what spans hold; return them by place."""
    left = {s.place: s for s in spans if s.end is None or s.end > s.start}
    client.assign([TopicPartition(s.topic, s.partition, s.start or OFFSET_BEGINNING) for s in left.values()])
    return left


def _columns(bootstrap: str, client: Consumer, inbox: Inbox, left: dict[Place, Span]) -> Iterator[Arrivals]:
    inbox.assigned(TopicPartition(*place) for place in left)
    stepping = Stepping(bootstrap, inbox.fetch_from, lambda *place: left[place].start)
    while left:
        for item in stepping.sifted(inbox.take(_WAIT)):
            span = left.get(item.place)
            if span is None:
                continue
            if isinstance(item, Arrivals):
                yield item.between(span.start, span.end)
            elif not item.is_end:
                passed(item.error)
                continue
            if isinstance(item, Told) or (span.end is not None and item.offsets[-1] + 1 >= span.end):
                del left[item.place]
                client.incremental_unassign([TopicPartition(*item.place)])


def _read(
    bootstrap: str, client: Consumer, spans: Iterable[Span], *, first: bool = False
) -> Iterator[Stamped]:
    """Yield the records of spans, or the first of each."""
    left = _assigned(client, spans)
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
            if found is None or first or (span.end is not None and found.record.offset + 1 >= span.end):
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
    first = client.poll(_WAIT)
    return [] if first is None else [first, *client.consume(5_000, 0)]


def _stamped(message: Any) -> Stamped:
    return Stamped(incoming(message), message.timestamp()[1])


def whole(log: Log, *topics: str) -> dict[Place, Held]:
    """Return every record of topics, by topic and partition."""
    return held(log, [Span(t, p) for t in topics for p in log.ends(t)])


def held(log: Log, spans: Iterable[Span]) -> dict[Place, Held]:
    """Return the records of spans, by topic and partition; a partition without any has none."""
    wanted = list(spans)
    found = {s.place: Held() for s in wanted}
    for part in log.columns(wanted):
        found[part.place].add(part)
    return found


def records(
    log: Log, registry: Registry, topic: str, pipeline: str
) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Return (offset, record type, fields) of a pipeline's records on a topic of one partition."""
    found = decode_plain((s.record for s in log.read([Span(topic)])), registry)
    return [item for item in found if item[2]["pipeline"] == pipeline]


def of_ticks(log: Log, registry: Registry, topic: str, ticks: range) -> list[Span]:
    """Return where the records of ticks lie on a topic of one stage, by bisection: their ticks never go back."""
    whole = [Span(topic, p, 0, end) for p, end in log.ends(topic).items()]
    starts = _bisected(log, registry, whole, ticks.start)
    stops = _bisected(log, registry, [replace(s, start=starts[s.place]) for s in whole], ticks.stop)
    return [Span(*place, start, stops[place]) for place, start in starts.items()]


def _bisected(log: Log, registry: Registry, spans: Iterable[Span], tick: int) -> dict[Place, int]:
    """Return an offset in each span before which all ticks are earlier, and from which none is; all are asked at once."""
    left = {s.place: (s.start, s.end or 0) for s in spans}
    while far := {
        p: Span(*p, (low + high) // 2, high) for p, (low, high) in left.items() if high - low > _NEAR
    }:
        found = log.firsts(far.values())
        for place, span in far.items():
            left[place] = _halved(left[place], span.start, found.get(place), registry, tick)
    near = held(log, [Span(*place, *bounds) for place, bounds in left.items()])
    places = {place: first_of(records, registry, tick) for place, records in near.items()}
    return {p: near[p][n].offset if n < len(near[p]) else left[p][1] for p, n in places.items()}


def _halved(
    bounds: tuple[int, int], middle: int, found: Stamped | None, registry: Registry, tick: int
) -> tuple[int, int]:
    """Return the half of the bounds to go on with, by the first record behind their middle."""
    low, high = bounds
    if found is None:  # nothing but transaction markers from here on
        return low, middle
    ((offset, _, fields),) = decode_plain([found.record], registry)
    return (offset + 1, high) if fields["tick"] < tick else (low, middle)


def first_of(records: Held, registry: Registry, tick: int) -> int:
    """Return the place of the first record of a tick or a later one, in records whose ticks never go back."""

    def told(place: int) -> int:
        ((_, _, fields),) = decode_plain([records[place]], registry)
        return int(fields["tick"])

    return bisect_left(range(len(records)), tick, key=told)
