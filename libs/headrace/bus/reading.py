"""Reading the log without being part of it: spans of topics, by offset or by tick, committed records only."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from headrace.bus.arrivals import Arrivals, Told
from headrace.bus.engine import decode_plain
from headrace.bus.held import Held
from headrace.bus.inbox import Inbox
from headrace.bus.kafka import consumer, end_of, fetch_anew, incoming, passed, received
from headrace.bus.records import Incoming, Place
from headrace.bus.schemas import Registry
from headrace.bus.unreadable import Placed, Stepping
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

    @property
    def last(self) -> int:
        """Return the record's offset."""
        return self.record.offset

    def between(self, start: int, end: int | None) -> Self | None:
        """Return the record if its offset is from ``start`` to ``end`` (exclusive; None: any)."""
        return self if start <= self.last and (end is None or self.last < end) else None


class _Part(Placed, Protocol):
    """Some records of one partition."""

    @property
    def last(self) -> int:
        """Return the last offset."""

    def between(self, start: int, end: int | None) -> Self | None:
        """Return the records of offsets ``start`` to ``end`` (exclusive; None: to the last), None or empty if none is."""


Part = TypeVar("Part", bound=_Part)


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
    """The broker's log, read by clients of its own; use as a context manager."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _open(self, settings: Mapping[str, Any]) -> Consumer:
        client = consumer(self._bootstrap, "headrace.reader", **settings)
        self._opened.callback(client.close)
        return client

    @cached_property
    def _client(self) -> Consumer:
        return self._open(_SOON)

    @cached_property
    def _probe(self) -> Consumer:
        return self._open(_LITTLE)

    @cached_property
    def _columnar(self) -> Consumer:
        """The one that inboxes read from: it gives its messages to nobody else for a while."""
        return self._open(_SOON)

    def topics(self) -> list[str]:
        """Return the names of all topics.

        Raises:
            UnreachableError: when the broker does not answer.
        """
        return sorted(self._told(self._client).topics)

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of every partition; raise UsageError for a topic that is not there."""
        told = self._told(self._client, topic).topics[topic]
        if told.error is not None:
            raise UsageError(f"there is no topic {topic}", f"asked {self._bootstrap}", "headrace topic list")
        places = (TopicPartition(topic, p) for p in sorted(told.partitions))
        return {place.partition: end_of(self._client, place, PATIENCE) for place in places}

    def read(self, spans: Iterable[Span]) -> Iterator[Stamped]:
        """Yield the committed records of the spans; those of one partition in the order of the log."""
        return self._stamped(self._client, spans)

    def columns(self, spans: Iterable[Span]) -> Iterator[Arrivals]:
        """Yield the same records as columns, with headers on raw topics alone."""
        client = self._columnar
        left, inbox = self._assigned(client, spans), Inbox(client)
        inbox.assigned(TopicPartition(*place) for place in left)
        try:
            yield from self._wanted(client, left, partial(inbox.take, _WAIT), inbox.fetch_from)
        finally:
            client.unassign()
            inbox.close()

    def firsts(self, spans: Iterable[Span]) -> Mapping[Place, Stamped]:
        """Return the first committed record of each span that has any, by place."""
        found: dict[Place, Stamped] = {}
        for stamped in self._stamped(self._probe, spans, first=True):
            found.setdefault(stamped.place, stamped)
        return found

    def follow(self, topic: str) -> Iterator[Stamped]:
        """Yield what is appended from now on, for ever."""
        self._client.assign([TopicPartition(topic, p, end) for p, end in self.ends(topic).items()])
        while True:
            yield from (_stamped(message) for message in _some(self._client) if received(message))

    def _told(self, client: Consumer, *topic: str) -> Any:
        """Return what the broker tells a client of all topics, or of one."""
        try:
            return client.list_topics(*topic, timeout=PATIENCE)
        except KafkaException as error:
            raise UnreachableError(
                f"the broker at {self._bootstrap} does not answer", str(error), "headrace up"
            ) from error

    def _assigned(self, client: Consumer, spans: Iterable[Span]) -> dict[Place, Span]:
        """Let a client fetch what spans hold; return them by place."""
        left = {s.place: s for s in spans if s.end is None or s.end > s.start}
        for topic in {s.topic for s in left.values()}:
            self._told(client, topic)  # a client looks but once a second for the leaders of what is new to it
        client.assign([TopicPartition(*p, s.start or OFFSET_BEGINNING) for p, s in left.items()])
        return left

    def _stamped(self, client: Consumer, spans: Iterable[Span], *, first: bool = False) -> Iterator[Stamped]:
        left, again = self._assigned(client, spans), partial(fetch_anew, client)
        for item in self._wanted(client, left, partial(_items, client), again, first=first):
            if isinstance(item, Stamped):
                yield item
            else:
                yield from (Stamped(record, -1) for record in item)

    def _wanted(
        self,
        client: Consumer,
        left: dict[Place, Span],
        take: Callable[[], Iterable[Part | Told]],
        fetch_from: Callable[[TopicPartition], None],
        *,
        first: bool = False,
    ) -> Iterator[Part | Arrivals]:
        """Yield what a client that is assigned the spans gives of them, or the first part of each, until none is left."""
        stepping = Stepping(self._bootstrap, fetch_from, lambda *place: left[place].start)
        while left:
            for item in stepping.sifted(item for item in take() if item.place in left):
                span = left.get(item.place)
                if span is None:
                    continue
                if not isinstance(item, Told):
                    if found := item.between(span.start, span.end):
                        yield found
                elif not item.is_end:
                    passed(item.error)
                    continue
                if first or isinstance(item, Told) or (span.end is not None and item.last + 1 >= span.end):
                    del left[item.place]
                    client.incremental_unassign([TopicPartition(*item.place)])


def _items(client: Consumer) -> Iterator[Stamped | Told]:
    for message in _some(client):
        error = message.error()
        if error is None:
            yield _stamped(message)
        else:
            yield Told(message.topic(), message.partition(), message.offset(), error)


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
