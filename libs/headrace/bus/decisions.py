"""What transaction coordinators have decided, as it lies on Kafka's own topic ``__transaction_state``."""

from collections.abc import Collection, Iterator
from enum import IntEnum
from io import BytesIO
from typing import NamedTuple

from aiokafka.protocol.types import (
    Array,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)
from confluent_kafka.admin import AdminClient

from headrace.bus.kafka import read_all
from headrace.bus.records import Incoming, Place
from headrace.errors import HeadraceError

TOPIC = "__transaction_state"
_PRODUCER = slice(2, 10)  # of a value: behind its version, in both of them


class Status(IntEnum):
    """The state of a transaction, under the numbers that Kafka's ``TransactionState`` gives it."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7


DECIDED = {Status.PREPARE_COMMIT, Status.PREPARE_ABORT}
GOING = {*DECIDED, Status.ONGOING, Status.PREPARE_EPOCH_FENCE}


class Step(NamedTuple):
    """One record of a coordinator: the state of a producer's transaction from a time on, in ms since 1970."""

    owner: str
    producer: int
    epoch: int
    status: Status
    places: frozenset[Place]
    at: int


def _schema(text: type[String], array: type[Array], *tags: tuple[str, type[TaggedFields]]) -> Schema:
    """Return a value's fields; what follows them in later versions is tagged, and not asked for."""
    return Schema(
        ("producer", Int64), ("epoch", Int16), ("timeout", Int32), ("status", Int8),
        ("places", array(("topic", text("utf-8")), ("partitions", array(Int32)), *tags)),
        ("updated", Int64),
    )  # fmt: skip


_VALUES = {0: _schema(String, Array), 1: _schema(CompactString, CompactArray, ("tags", TaggedFields))}
_KEY = Schema(("version", Int16), ("owner", String("utf-8")))


def steps(bootstrap: str, client: AdminClient, producers: Collection[int]) -> dict[int, list[Step]]:
    """Return what coordinators wrote of producers, by their ids, oldest first.

    Raises:
        HeadraceError: when a record is of a version that is not known.
        KafkaException: when the topic cannot be read.
    """
    wanted = {producer.to_bytes(8, "big", signed=True) for producer in producers}
    found: dict[int, list[Step]] = {producer: [] for producer in producers}
    metadata = client.list_topics(TOPIC, timeout=10).topics[TOPIC]
    for partition in metadata.partitions:
        for step in _steps(read_all(bootstrap, TOPIC, partition), wanted):
            found[step.producer].append(step)
    return found


def _steps(records: list[Incoming], wanted: Collection[bytes]) -> Iterator[Step]:
    for record in records:
        if record.key and record.value and record.value[_PRODUCER] in wanted:
            yield step(record.key, record.value)


def step(key: bytes, value: bytes) -> Step:
    """Decode one record of the topic.

    Raises:
        HeadraceError: when it is of a version that is not known.
    """
    rest = BytesIO(value)
    version = Int16.decode(rest)
    if version not in _VALUES:
        raise HeadraceError(f"{TOPIC} is written in a version that is not known", f"a value's is {version}")
    _, owner = _KEY.decode(BytesIO(key))
    producer, epoch, _, status, places, at = _VALUES[version].decode(rest)
    named = frozenset(
        (topic, partition) for topic, partitions, *_ in places or () for partition in partitions
    )
    return Step(owner, producer, epoch, Status(status), named, at)
