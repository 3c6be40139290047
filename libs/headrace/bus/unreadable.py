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
from typing import NamedTuple

from aiokafka import TopicPartition as Place
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from headrace.bus.records import Incoming
from headrace.bus.refusals import UNREADABLE
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


class Extent(NamedTuple):
    """The offsets of a batch, first and last."""

    first: int
    last: int


class Stepping:
    """Sifts what a consumer gives: unreadable batches of raw topics are tried again, then replaced by their places."""

    def __init__(self, bootstrap: str, client: Consumer, begin: Callable[[str, int], int]) -> None:
        """Take a consumer, and who knows from which offset on a partition is wanted."""
        self._bootstrap, self._client, self._begin = bootstrap, client, begin
        self._tries: Counter[tuple[str, int, int]] = Counter()
        self._aims: dict[tuple[str, int], tuple[TopicPartition, int]] = {}

    def sifted(self, found: Iterable[Message]) -> Iterator[Message | Incoming]:
        """Yield the messages, and a record without bytes for each place of a batch that is given up.

        What the client gives of a partition behind such an error is not to be trusted (it takes bytes of the batch
        for the next header), so it is dropped and fetched again.

        Raises:
            KafkaException: the client's error, when the batch's header makes no sense either.
        """
        spoilt: set[tuple[str, int]] = set()
        for message in found:
            error = message.error()
            if error is None:
                if not spoilt or _place(message) not in spoilt:
                    yield message
            elif _place(message) in spoilt or self._is_aftermath(message):
                spoilt.add(_place(message))
            elif _steppable(message):
                spoilt.add(_place(message))
                yield from self._met(message)
            else:
                yield message

    def _is_aftermath(self, message: Message) -> bool:
        """Tell whether an error comes from an offset that never was, and go back to the one that is wanted."""
        spot, left = self._aims.get(_place(message), (None, 0))
        if spot is None or not left or message.error().code() not in _AFTERMATH:
            return False
        self._fetch_from(spot, left - 1)
        return True

    def _met(self, message: Message) -> Iterator[Incoming]:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        error = message.error()
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
        for lost in range(max(batch.first, self._begin(topic, partition)), batch.last + 1):
            yield Incoming(topic, partition, lost, None, None, why)

    def _fetch_from(self, spot: TopicPartition, patience: int) -> None:
        """Assign a partition anew: the client may have gone on to fetch it at an offset that never was."""
        self._aims[spot.topic, spot.partition] = (spot, patience)
        self._client.incremental_unassign([spot])
        self._client.incremental_assign([spot])


def _place(message: Message) -> tuple[str, int]:
    return message.topic(), message.partition()


def _steppable(message: Message) -> bool:
    """Tell whether an error is one of a raw topic's bytes; what our own services wrote is never passed over."""
    return message.error().code() in _BAD and str(message.topic()).endswith(EVENTS.name(""))


async def extent(bootstrap: str, topic: str, partition: int, offset: int) -> Extent | None:
    """Return the extent of the batch that holds an offset, by its header; None when that makes no sense."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        client.add_topic(topic)
        await client.force_metadata_update()
        leader = client.cluster.leader_for_partition(Place(topic, partition))
        asked = FetchRequest(
            100, 1, 1, 0, [(topic, [(partition, offset, 1)])]
        )  # 1 byte: the first batch, whole
        ((_, ((_, code, end, *_, batch),)),) = (await client.send(leader, asked)).topics
    finally:
        await client.close()
    return None if code else _extent(batch, offset, end)


def _extent(batch: bytes, offset: int, end: int) -> Extent | None:
    if len(batch) < _HEADER.size:
        return None
    first, _, _, magic, _, attributes, delta, *_, count = _HEADER.unpack_from(batch)
    sound = magic == _MAGIC and not attributes & _CONTROL and count == delta + 1 <= _MOST_RECORDS
    return Extent(first, first + delta) if sound and first <= offset <= first + delta < end else None
