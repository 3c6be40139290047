"""The Kafka client: consumers and producers with the settings that exactly once needs, and plain reading."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from headrace.bus import native
from headrace.bus.blocks import Block
from headrace.bus.records import Incoming, Outgoing
from headrace.bus.watched import Watched
from headrace.errors import UnreachableError

LOG = logging.getLogger("headrace.bus")
CLIENT = logging.getLogger("headrace.kafka")  # what the client says of its connections
CLIENT.addHandler(logging.NullHandler())  # unless a service sends its logs somewhere, nobody wants to read it
_PARTS = (Message.topic, Message.partition, Message.offset, Message.key, Message.value)
Answer = TypeVar("Answer")
Going = Callable[[], bool]
Delivered = Callable[[KafkaError | None, Message], None]
SLICE = 1.0  # seconds a call of the client may hold back a signal


def always() -> bool:
    """Go on whatever happens: the default of what can be told to stop."""
    return True


# The end of a transaction sends what is left without lingering. To wait for it makes full batches: an event takes less CPU,
# and comes no later.
TRANSACTIONAL = {"transaction.timeout.ms": 10_000, "linger.ms": 500}
# For a client that waits for records only, not for the end of a partition: an idle broker answers every fetch when its
# wait is over, which is what most of an idle platform's CPU goes to.
PATIENT = {"fetch.wait.max.ms": 500}
PART = 10_000  # records taken from the client at once


def consumer(bootstrap: str, group: str, **extra: Any) -> Consumer:
    """Return a consumer that sees committed records only and never jumps over lost ones."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "check.crcs": True,
            "fetch.wait.max.ms": 300,  # the end of a partition is told that late
            "fetch.queue.backoff.ms": 5,
            "reconnect.backoff.max.ms": 500,
            "broker.address.family": "v4",
            **extra,
        },
        logger=CLIENT,
    )


def producer(bootstrap: str, transactional_id: str | None = None, **extra: Any) -> Producer:
    """Return an idempotent producer with Java's partitioner, transactional when it has an id."""
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 2,
        "queue.buffering.max.messages": 1_000_000,
        "reconnect.backoff.max.ms": 500,
        "retry.backoff.ms": 10,
        "broker.address.family": "v4",
    }
    if transactional_id:
        settings |= TRANSACTIONAL | {"transactional.id": transactional_id}
    return Producer(settings | extra, logger=CLIENT)


_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 -- the client reconnects by itself
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._DESTROY_BROKER,  # noqa: SLF001 -- the metadata of a cluster that comes back names no broker at first
}

TIMEOUTS = {
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TIMED_OUT,  # noqa: SLF001 -- the client's own names
    KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001 -- an earlier question holds this one up
}

# What a broker says while its partitions and coordinators move; the client marks none of it as worth another try.
_MOVED = TIMEOUTS | {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError._WAIT_COORD,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 -- it has no leader while its only broker is away
}


def received(message: Message) -> bool:
    """Tell whether a consumer gave a record; the end of a partition and passing troubles are none.

    Raises:
        KafkaException: for any other error.
    """
    error = message.error()
    if error is None:
        return True
    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
        passed(error)
    return False


def passed(error: KafkaError) -> None:
    """Take note of an error that a consumer told in place of a record, when it is one that passes.

    Raises:
        KafkaException: for any other error.
    """
    if error.fatal() or (not error.retriable() and error.code() not in _PASSING):
        raise KafkaException(error)
    LOG.warning("broker: %s", error)


def send_block(client: Producer, block: Block) -> None:
    """Hand a block to a producer, waiting where its queue is full."""
    if len(block):
        (native.send if native.library() else send)(client, block)


def send(client: Producer, records: Iterable[Outgoing], delivered: Delivered | None = None) -> None:
    """Hand records to a producer, waiting where its queue is full; ``delivered`` hears of each delivery."""
    produce = client.produce  # keyword arguments that say nothing cost a third of the call
    for r in records:
        extra: dict[str, Any] = {"headers": list(r.headers)} if r.headers else {}
        if delivered:
            extra["on_delivery"] = delivered
        while True:
            try:
                produce(r.topic, r.value, r.key, r.partition, **extra)
                break
            except BufferError:
                client.poll(0.1)


def incoming(message: Message) -> Incoming:
    """Return a client's message as a plain record."""
    return all_incoming([message])[0]


def all_incoming(messages: Sequence[Message]) -> list[Incoming]:
    """Return a client's messages as plain records, without a call of Python's for each."""
    parts = [map(part, messages) for part in _PARTS]
    headers = [tuple(told or ()) for told in map(Message.headers, messages)]
    return list(map(tuple.__new__, repeat(Incoming), zip(*parts, headers, strict=True)))


def ready(client: Consumer, writer: Producer, topics: Sequence[str], going: Going, timeout: float) -> bool:
    """Wait for the topics and fence older transactional producers; return False when told to stop meanwhile.

    Raises:
        UnreachableError: after ``timeout`` seconds without.
    """
    return wait_for_topics(client, topics, timeout, going) and fence(writer, timeout, going)


def wait_for_topics(client: Consumer, topics: Sequence[str], timeout: float, going: Going = always) -> bool:
    """Wait until the broker answers and has the topics; return False when told to stop meanwhile.

    Raises:
        UnreachableError: after ``timeout`` seconds without.
    """
    deadline = time.monotonic() + timeout
    while going():
        missing = _missing(client, topics)
        if not missing:
            return True
        if time.monotonic() > deadline:
            raise UnreachableError(
                "the broker does not answer or has no Headrace topics",
                f"missing: {missing[0]}",
                "headrace up",
            )
        time.sleep(0.1)
    return False


def _missing(client: Consumer, topics: Sequence[str]) -> list[str]:
    try:
        known = client.list_topics(timeout=SLICE).topics
    except KafkaException as error:
        LOG.debug("waiting for the broker: %s", error)
        return list(topics)
    return [t for t in topics if t not in known]


def fence(writer: Producer, timeout: float, going: Going) -> bool:
    """Fence older producers of the same transactional id; return False when told to stop meanwhile.

    ``init_transactions`` is called in slices, since it holds back signals for as long as it may take.

    Raises:
        KafkaException: after ``timeout`` seconds without, or when another call would not help.
        StuckError: when a call has not returned for so long.
    """
    deadline = time.monotonic() + timeout
    watched = Watched()
    while going():
        try:
            watched.call(lambda: writer.init_transactions(SLICE), timeout)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
        else:
            return True
    return False


def fetch_anew(client: Consumer, spot: TopicPartition) -> None:
    """Let a consumer fetch a partition from an offset on, whatever it has fetched ahead of it."""
    client.incremental_unassign([spot])
    client.incremental_assign([spot])


def answered(ask: Callable[[], Answer], patience: float) -> Answer:
    """Ask until the broker answers: a coordinator that has moved, or a leader that has, asks for another try.

    Raises:
        KafkaException: after ``patience`` seconds without an answer, or when asking again would not help.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _MOVED | _PASSING or time.monotonic() > deadline:
                raise
            LOG.info("asking again: %s", error)
            time.sleep(0.1)


def span_of(client: Consumer, place: TopicPartition, patience: float) -> tuple[int, int]:
    """Return the first offset of a partition and the one after its last record.

    Raises:
        KafkaException: as :func:`answered`.
    """
    first, end = answered(lambda: client.get_watermark_offsets(place, SLICE), patience)
    return int(first), int(end)


def end_of(client: Consumer, place: TopicPartition, patience: float) -> int:
    """Return the offset after the last record of a partition.

    Raises:
        KafkaException: as :func:`answered`.
    """
    return span_of(client, place, patience)[1]


def read_all(bootstrap: str, topic: str, partition: int) -> list[Incoming]:
    """Return every committed record of a partition, from its beginning to its end now."""
    return read_from(bootstrap, topic, partition, 0)[0]


def read_from(bootstrap: str, topic: str, partition: int, offset: int) -> tuple[list[Incoming], int]:
    """Return the committed records of a partition from an offset to its end now, and that end.

    Raises:
        KafkaException: when the topic does not exist or the offset is gone.
    """
    found: list[Incoming] = []
    with reader(bootstrap, TopicPartition(topic, partition, offset or OFFSET_BEGINNING)) as client:
        while True:
            first = client.poll(1.0)
            for message in [] if first is None else [first, *client.consume(PART, 0)]:
                if received(message):
                    found.append(incoming(message))
                elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    return found, message.offset()


@contextmanager
def reader(bootstrap: str, spot: TopicPartition) -> Iterator[Consumer]:
    """Lend a consumer of one partition from an offset on; a broker that is away is waited for."""
    client = consumer(bootstrap, "headrace.reader", **{"fetch.wait.max.ms": 10})
    with suppress(KafkaException):  # an answer saves half a second of waiting for the leader's name
        client.list_topics(spot.topic, SLICE)
    client.assign([spot])
    try:
        yield client
    finally:
        client.close()
