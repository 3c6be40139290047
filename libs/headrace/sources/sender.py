"""An idempotent producer that knows the end of every raw partition, and what is there already."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from headrace.bus.kafka import consumer, producer, send, span_of, wait_for_topics
from headrace.bus.records import Outgoing
from headrace.bus.schemas import Registry
from headrace.errors import UnreachableError

FLUSH_SECONDS = 60.0
PAUSES_PER_SECOND = 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where to publish, how fast (events a second; None: as fast as rest allows), how long to wait for rest (s)."""

    bootstrap: str
    registry: Registry
    rate: float | None = None
    patience: float = 600.0


class Sender:
    """Sends records to one topic; ``ends`` holds the end offset of each partition, as the broker told it."""

    def __init__(self, topic: str, target: Target) -> None:
        self.topic, self.target = topic, target
        self._client = producer(target.bootstrap, on_delivery=self._delivered)
        self.ends: dict[int, int] = {}
        self.events = 0
        self._sent: set[bytes] = set()
        self._lost: list[KafkaError] = []

    def look(self, raw: Mapping[int, int]) -> None:
        """Read where the partitions end, and the ids that lie beyond the offsets ``raw``: they are not sent again."""
        with closing(consumer(self.target.bootstrap, f"headrace.publisher.{self.topic}")) as client:
            wait_for_topics(client, [self.topic], self.target.patience)
            tails = list(self._tails(client, raw))
            client.assign(tails)
            self._sent = set(_ids(client, len(tails)))

    def send(self, records: Sequence[Outgoing]) -> None:
        """Send records, without those that are there already, at the rate asked for."""
        new = [r for r in records if dict(r.headers)["ce_id"] not in self._sent] if self._sent else records
        self._sent.clear()
        for part in _paced(new, self.target.rate):
            self.deliver(part)
        self.events += len(records)

    def deliver(self, records: Sequence[Outgoing]) -> None:
        """Send records and return when the broker has acknowledged every one.

        Raises ``UnreachableError`` when it did not.
        """
        send(self._client, records)
        left = self._client.flush(FLUSH_SECONDS)
        if left or self._lost:
            why = (
                str(self._lost[0])
                if self._lost
                else f"{left} records without an answer in {FLUSH_SECONDS:g} s"
            )
            raise UnreachableError(
                f"the broker did not take every record for {self.topic}", why, "headrace status"
            )

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._lost.append(error)
        elif message.topic() == self.topic:
            self.ends[message.partition()] = message.offset() + 1

    def _tails(self, client: Consumer, raw: Mapping[int, int]) -> Iterator[TopicPartition]:
        for partition in client.list_topics(self.topic, FLUSH_SECONDS).topics[self.topic].partitions:
            low, high = span_of(client, TopicPartition(self.topic, partition), FLUSH_SECONDS)
            self.ends[partition] = high
            start = max(low, raw.get(partition, 0))
            if start < high:
                yield TopicPartition(self.topic, partition, start)


def _ids(client: Consumer, partitions: int) -> Iterator[bytes]:
    """Yield the event ids up to the end of each assigned partition."""
    while partitions:
        first = client.poll(1.0)  # consume(n, timeout) would wait out its timeout for the n-th
        for message in [] if first is None else [first, *client.consume(5_000, 0)]:
            error = message.error()
            if error is None:
                yield dict(message.headers() or ()).get("ce_id", b"")
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's own name for it
                partitions -= 1
            elif not error.retriable():
                raise KafkaException(error)


def _paced(records: Sequence[Outgoing], rate: float | None) -> Iterator[Sequence[Outgoing]]:
    """Yield slices of ``records``, each when its turn has come; all at once without a rate."""
    if rate is None:
        yield records
        return
    size, began = max(1, int(rate / PAUSES_PER_SECOND)), time.monotonic()
    for start in range(0, len(records), size):
        time.sleep(max(0.0, began + start / rate - time.monotonic()))
        yield records[start : start + size]
