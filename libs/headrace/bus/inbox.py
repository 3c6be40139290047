"""What a consumer gives, as columns: from the client's C library where that can be asked, else message by message.

Every assigned partition has a queue of its own in the library. It is led into one queue of ours, from which records
come without a Python object each. The client undoes that when it stops to fetch a partition, which it does some time
after it was told to, so a partition is led again until it is heard of. What it had put into its common queue before is
older than anything in ours, and taken first.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from headrace.bus import native
from headrace.bus.arrivals import Arrivals, Told, arrivals
from headrace.bus.kafka import all_incoming, fetch_anew, passed, reader
from headrace.bus.pulled import pull
from headrace.bus.records import Place
from headrace.contracts.topics import EVENTS

MOST = 50_000  # records taken at once
_SOON = 0.01  # seconds after which a silent partition is led again


class Inbox:
    """The records of one consumer, in the order of each partition."""

    def __init__(self, client: Consumer, *, plain: bool = False) -> None:
        """Take a consumer; ``plain`` never asks the C library."""
        self._client, self._opened = client, None if plain else native.library()
        self._queue = None
        if self._opened is not None:
            self._queue = self._opened.rd_kafka_queue_new(native.handle(client))
            # A client never ends while somebody holds a queue of it, so an inbox that is just dropped lets go too.
            self._let_go = weakref.finalize(self, self._opened.rd_kafka_queue_destroy, self._queue)
        self._silent: set[Place] = set()
        self._ahead: list[Arrivals | Told] = []

    def assigned(self, spots: Iterable[TopicPartition]) -> None:
        """Take note that the client was told to fetch partitions."""
        if self._queue is not None:
            self._silent |= {(s.topic, s.partition) for s in spots}

    def fetch_from(self, spot: TopicPartition) -> None:
        """Let the client fetch a partition anew, from an offset on."""
        fetch_anew(self._client, spot)
        self.assigned([spot])

    def forget(self, places: Iterable[Place]) -> None:
        """Drop what was taken of partitions that are no longer read here."""
        gone = set(places)
        self._silent -= gone
        self._ahead = [item for item in self._ahead if item.place not in gone]

    def look_ahead(self) -> None:
        """Take what has come by now, for the next :meth:`take`."""
        self._ahead += self._taken(0.0)

    def take(self, wait: float) -> list[Arrivals | Told]:
        """Return what has come; wait up to ``wait`` seconds for the first of it."""
        found, self._ahead = self._ahead, []
        return found + self._taken(0.0 if found else wait)

    def close(self) -> None:
        """Give the queue back, before the consumer is closed."""
        if self._queue is not None:
            self._let_go()
            self._queue = None

    def _taken(self, wait: float) -> list[Arrivals | Told]:
        if self._queue is None:
            return self._messages(wait)
        for place in self._silent:
            self._lead(*place)
        found = self._messages(0.0)
        patience = 0.0 if found else min(wait, _SOON) if self._silent else wait
        found += pull(self._opened, self._queue, patience, MOST, headed=_headed)
        self._silent.difference_update(item.place for item in found)
        return found

    def _lead(self, topic: str, partition: int) -> None:
        opened: Any = self._opened
        own = opened.rd_kafka_queue_get_partition(native.handle(self._client), topic.encode(), partition)
        opened.rd_kafka_queue_forward(own, self._queue)
        opened.rd_kafka_queue_destroy(own)

    def _messages(self, wait: float) -> list[Arrivals | Told]:
        first = self._client.poll(wait)
        if first is None:
            return []
        return list(_items([first, *self._client.consume(MOST, 0)]))


def read_columns(bootstrap: str, topic: str, partition: int) -> Iterator[Arrivals]:
    """Yield the committed records of a partition as columns, from its beginning to its end now.

    Raises:
        KafkaException: when the topic does not exist.
    """
    spot = TopicPartition(topic, partition, OFFSET_BEGINNING)
    with reader(bootstrap, spot) as client, closing(Inbox(client)) as inbox:
        inbox.assigned([spot])
        while True:
            for item in inbox.take(1.0):
                if isinstance(item, Arrivals):
                    yield item
                elif item.is_end:
                    return
                else:
                    passed(item.error)


def _items(messages: Sequence[Message]) -> Iterator[Arrivals | Told]:
    """Return messages as columns, those of one partition that follow each other together."""
    for (topic, partition, good), run in groupby(messages, _kind):
        if good:
            yield arrivals(all_incoming(list(run)))
        else:
            yield from (Told(topic, partition, m.offset(), m.error()) for m in run)


def _kind(message: Message) -> tuple[str, int, bool]:
    return message.topic(), message.partition(), message.error() is None


def _headed(topic: str) -> bool:
    """Tell whether the headers of a topic's records are of interest: what a service wrote says all in its value."""
    return topic.endswith(EVENTS.name(""))
