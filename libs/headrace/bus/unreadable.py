"""Batches of a raw topic that no client can read: a compression bomb, or bytes that rotted on the broker's disk.

The client says such an error again and again and never moves on. After some tries the place of each record of the
batch is taken for a record without bytes, so that ingestion refuses it and nothing behind it is held up. Which
records there are is read from the batch's header, as it lies in the log: a replay comes to the same places.
"""

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from aiokafka.protocol.fetch import FetchRequest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headrace.bus.arrivals import Arrivals, Told, arrivals
from headrace.bus.records import Incoming, Place
from headrace.bus.refusals import UNREADABLE
from headrace.bus.wire import connected, leader
from headrace.contracts.topics import EVENTS

LOG = logging.getLogger("headrace.bus")
TRIES = 3
_BAD = {
    KafkaError._BAD_COMPRESSION: "its compressed batch cannot be unpacked",  # noqa: SLF001 -- the client's own names
    KafkaError._BAD_MSG: "its batch is damaged (the checksum is wrong)",  # noqa: SLF001
}
_AFTERMATH = {KafkaError._NOT_IMPLEMENTED, KafkaError._AUTO_OFFSET_RESET}  # noqa: SLF001
PATIENCE = 5
# A v2 batch (KIP-98): base offset, length, leader epoch, magic, checksum, attributes, last offset's delta, two
# times, producer's id and epoch, base sequence, count of records.
_HEADER = struct.Struct(">qiibIhiqqqhii")
_MAGIC, _CONTROL = 2, 0x20
_MOST_RECORDS = 10_000_000


class Placed(Protocol):
    """Records of one partition."""

    @property
    def place(self) -> Place:
        """Return the topic and the partition."""


Good = TypeVar("Good", bound=Placed)


class Extent(NamedTuple):
    """The offsets of a batch, first and last."""

    first: int
    last: int


class Stepping:
    """Sifts what a consumer gives: unreadable batches of raw topics are tried again, then replaced by their places."""

    def __init__(
        self,
        bootstrap: str,
        fetch_from: Callable[[TopicPartition], None],
        begin: Callable[[str, int], int],
    ) -> None:
        """Take who fetches a partition anew, and who knows from which offset on one is wanted."""
        self._bootstrap, self._again, self._begin = bootstrap, fetch_from, begin
        self._tries: Counter[tuple[str, int, int]] = Counter()
        self._aims: dict[tuple[str, int], tuple[TopicPartition, int]] = {}

    def sifted(self, found: Iterable[Good | Told]) -> Iterator[Good | Told | Arrivals]:
        """Yield what was found, and records without bytes for the places of a batch that is given up.

        What the client gives of a partition behind such an error is not to be trusted (it takes bytes of the batch
        for the next header), so it is dropped and fetched again.

        Raises:
            KafkaException: the client's error, when the batch's header makes no sense either.
        """
        spoilt: set[Place] = set()
        for item in found:
            if not isinstance(item, Told) or item.is_end:
                if item.place not in spoilt:
                    yield item
            elif item.place in spoilt or self._is_aftermath(item):
                spoilt.add(item.place)
            elif _steppable(item):
                spoilt.add(item.place)
                yield from self._met(item)
            else:
                yield item

    def _is_aftermath(self, told: Told) -> bool:
        """Tell whether an error comes from an offset that never was, and go back to the one that is wanted."""
        spot, left = self._aims.get(told.place, (None, 0))
        if spot is None or not left or told.error.code() not in _AFTERMATH:
            return False
        self._fetch_from(spot, left - 1)
        return True

    def _met(self, told: Told) -> Iterator[Arrivals]:
        topic, partition, offset, error = told
        self._tries[topic, partition, offset] += 1
        if self._tries[topic, partition, offset] < TRIES:
            self._fetch_from(TopicPartition(topic, partition, offset), PATIENCE)
            return
        batch = asyncio.run(extent(self._bootstrap, topic, partition, offset))
        if batch is None:
            raise KafkaException(error)
        del self._tries[topic, partition, offset]
        LOG.error(
            "%s/%d: offsets %d to %d cannot be read and are refused: %s",
            topic,
            partition,
            *batch,
            error.str(),
        )
        self._fetch_from(TopicPartition(topic, partition, batch.last + 1), PATIENCE)
        why = ((UNREADABLE, _BAD[error.code()].encode()),)
        lost = range(max(batch.first, self._begin(topic, partition)), batch.last + 1)
        if lost:
            yield arrivals([Incoming(topic, partition, n, None, None, why) for n in lost])

    def _fetch_from(self, spot: TopicPartition, patience: int) -> None:
        """Assign a partition anew: the client may have gone on to fetch it at an offset that never was."""
        self._aims[spot.topic, spot.partition] = (spot, patience)
        self._again(spot)


def _steppable(told: Told) -> bool:
    """Tell whether an error is one of a raw topic's bytes; what our own services wrote is never passed over."""
    return told.error.code() in _BAD and told.topic.endswith(EVENTS.name(""))


async def extent(bootstrap: str, topic: str, partition: int, offset: int) -> Extent | None:
    """Return the extent of the batch that holds an offset, by its header; None when that makes no sense."""
    async with connected(bootstrap, [topic]) as client:
        asked = FetchRequest(
            100, 1, 1, 0, [(topic, [(partition, offset, 1)])]
        )  # 1 byte: the first batch, whole
        ((_, ((_, code, end, *_, batch),)),) = (
            await client.send(leader(client, (topic, partition)), asked)
        ).topics
    return None if code else _extent(batch, offset, end)


def _extent(batch: bytes, offset: int, end: int) -> Extent | None:
    if len(batch) < _HEADER.size:
        return None
    first, _, _, magic, _, attributes, delta, *_, count = _HEADER.unpack_from(batch)
    sound = magic == _MAGIC and not attributes & _CONTROL and count == delta + 1 <= _MOST_RECORDS
    return Extent(first, first + delta) if sound and first <= offset <= first + delta < end else None
