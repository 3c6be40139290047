"""The Kafka adapter: one consumer, one transactional producer, and the engine between them."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from headrace.bus import metering
from headrace.bus.engine import Engine
from headrace.bus.lane import Lane
from headrace.bus.records import Incoming, Outgoing, Transaction
from headrace.errors import UnreachableError

LOG = logging.getLogger("headrace.bus")
CLIENT = logging.getLogger("headrace.kafka")  # what the client says of its connections
CLIENT.addHandler(logging.NullHandler())  # unless a service sends its logs somewhere, nobody wants to read it
Going = Callable[[], bool]
_SLICE = 1.0  # seconds a call of the client may hold back a signal


def always() -> bool:
    """Go on whatever happens: the default of what can be told to stop."""
    return True


TRANSACTION_TIMEOUT_MS = 10_000


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
            "fetch.wait.max.ms": 100,
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
        **extra,
    }
    if transactional_id:
        settings |= {"transactional.id": transactional_id, "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS}
    return Producer(settings, logger=CLIENT)


class KafkaRunner:
    """Runs one engine on a broker: every transaction of the engine is one transaction of Kafka."""

    def __init__(self, bootstrap: str, engine: Engine, *, replica: int = 0) -> None:
        self.engine = engine
        self._bootstrap = bootstrap
        self._group = f"headrace.{engine.service.name}"
        self._consumer = consumer(bootstrap, self._group)
        self._producer = producer(bootstrap, f"{self._group}.{replica}")
        self._assigned = False

    def start(self, going: Going = always, timeout: float = 60.0) -> None:
        """Fence older replicas and begin to read the control topics; give up quietly when ``going`` says no.

        Raises:
            UnreachableError: when the broker does not answer, or has no Headrace topics, within ``timeout`` s.
        """
        topics = self.engine.control_topics
        if ready(self._consumer, self._producer, topics, going, timeout):
            self._assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in topics])

    def pump(self, wait: float = 0.2) -> bool:
        """Read what is new, do one transaction; return whether anything happened."""
        moved = self._read(wait)
        began = time.perf_counter()
        transaction = self.engine.work()
        if transaction is None:
            return moved
        self._carry_out(transaction)
        metering.took(self.engine.service.name, time.perf_counter() - began)
        return True

    def close(self) -> None:
        """Leave: nothing is open between two calls of :meth:`pump`, so there is nothing to finish."""
        self._consumer.close()

    # -- reading ------------------------------------------------------------------------------------

    def _read(self, wait: float) -> bool:
        first = self._consumer.poll(wait)
        if first is None:
            return False
        messages = self._taken([first, *self._consumer.consume(5_000, 0)])
        for pipeline in self.engine.receive(messages):
            self._open(pipeline)
        return bool(messages)

    def _taken(self, found: Iterable[Message]) -> list[Incoming]:
        messages = []
        for message in found:
            if received(message):
                messages.append(incoming(message))
            elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                self.engine.reached(message.topic(), message.partition(), message.offset())
        return messages

    # -- a new pipeline -----------------------------------------------------------------------------

    def _open(self, pipeline: str) -> None:
        """Restore the lanes of a pipeline and begin to read it where its state was left."""
        wanted = [TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in self.engine.book_topics(pipeline)]
        for lane in self.engine.open_pipeline(pipeline):
            self.engine.restore(lane, read_all(self._bootstrap, lane.changelog, lane.partition))
            wanted += self._inputs(lane)
        self._assign(wanted)

    def _inputs(self, lane: Lane) -> list[TopicPartition]:
        asked = [TopicPartition(q.name, q.partition) for q in lane.queues]
        starts = []
        for found in self._consumer.committed(asked, 30) if asked else []:
            start = max(found.offset, 0)
            lane.resume(found.topic, found.partition, start)
            starts.append(TopicPartition(found.topic, found.partition, start or OFFSET_BEGINNING))
        return starts

    def _assign(self, wanted: Sequence[TopicPartition]) -> None:
        if self._assigned:
            self._consumer.incremental_assign(list(wanted))
        else:
            self._consumer.assign(list(wanted))
            self._assigned = True

    # -- writing ------------------------------------------------------------------------------------

    def _carry_out(self, transaction: Transaction) -> None:
        """Commit a transaction; an abortable failure undoes it, anything else ends the process.

        A restarted process fences the old producer and reads committed offsets and state again, which is the
        cure for every failure whose outcome is unknown.
        """
        self._producer.begin_transaction()
        try:
            send(self._producer, transaction.produced)
            offsets = [TopicPartition(t, p, offset) for (t, p), offset in transaction.offsets.items()]
            if offsets:
                group = self._consumer.consumer_group_metadata()
                self._producer.send_offsets_to_transaction(offsets, group, 10)
            self._producer.commit_transaction(15)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            LOG.warning("transaction aborted and done again: %s", error)
            self._producer.abort_transaction(15)
            self.engine.rollback()
            metering.aborted(self.engine.service.name)
        else:
            self.engine.commit()
            metering.committed(self.engine.service.name, transaction)


_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 -- the client reconnects by itself
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
}


def received(message: Message) -> bool:
    """Tell whether a consumer gave a record; the end of a partition and passing troubles are none.

    Raises:
        KafkaException: for any other error.
    """
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        return False
    if error.fatal() or (not error.retriable() and error.code() not in _PASSING):
        raise KafkaException(error)
    LOG.warning("broker: %s", error)
    return False


def send(client: Producer, records: Iterable[Outgoing]) -> None:
    """Hand records to a producer, waiting where its queue is full."""
    for r in records:
        while True:
            try:
                client.produce(r.topic, r.value, r.key, r.partition, headers=list(r.headers))
                break
            except BufferError:
                client.poll(0.1)


def incoming(message: Message) -> Incoming:
    """Return a client's message as a plain record."""
    return Incoming(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.headers() or (),
    )


def ready(client: Consumer, writer: Producer, topics: Sequence[str], going: Going, timeout: float) -> bool:
    """Wait for the topics and fence older transactional producers; return False when told to stop meanwhile.

    Raises:
        UnreachableError: after ``timeout`` seconds without.
    """
    return wait_for_topics(client, topics, timeout, going) and _fence(writer, timeout, going)


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
        known = client.list_topics(timeout=_SLICE).topics
    except KafkaException as error:
        LOG.debug("waiting for the broker: %s", error)
        return list(topics)
    return [t for t in topics if t not in known]


def _fence(writer: Producer, timeout: float, going: Going) -> bool:
    """Call ``init_transactions`` in slices, since it holds back signals for as long as it may take."""
    deadline = time.monotonic() + timeout
    while going():
        try:
            writer.init_transactions(_SLICE)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
        else:
            return True
    return False


def read_all(bootstrap: str, topic: str, partition: int) -> list[Incoming]:
    """Return every committed record of a partition, from its beginning to its end now."""
    return read_from(bootstrap, topic, partition, 0)[0]


def read_from(bootstrap: str, topic: str, partition: int, offset: int) -> tuple[list[Incoming], int]:
    """Return the committed records of a partition from an offset to its end now, and that end.

    Raises:
        KafkaException: when the topic does not exist or the offset is gone.
    """
    client = consumer(bootstrap, "headrace.reader")
    client.assign([TopicPartition(topic, partition, offset or OFFSET_BEGINNING)])
    found: list[Incoming] = []
    try:
        while True:
            for message in client.consume(10_000, 1.0):
                if received(message):
                    found.append(incoming(message))
                elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    return found, message.offset()
    finally:
        client.close()
