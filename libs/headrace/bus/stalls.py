"""Whether a consumer still gets what its partitions hold: a client can stop to fetch one and never say so.

Seen with librdkafka 2.16 after its only broker had been stopped for 20 s: the next record of one partition did not come
in ten minutes, without an error and without a line of the client's log. What it holds back cannot be had from it, so the
process ends, and whoever supervises it starts it anew.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable

from confluent_kafka import Consumer, KafkaError, Message

from headrace.bus.arrivals import Arrivals, Told
from headrace.bus.ends import Asked, Ends
from headrace.bus.records import Place
from headrace.errors import UnreachableError

EVERY = 10.0  # seconds between two looks
LOOKS = 3  # in a row that find the same partition behind


class Stalls:
    """Compares what a consumer has read of its partitions with what they held a look ago."""

    def __init__(self, client: Consumer, ends: Ends, every: float = EVERY) -> None:
        """Take the consumer and who asks the broker; ``every`` is in seconds."""
        self._client, self._ends, self._every = client, ends, every
        self._asked: Asked = {}
        self._read: dict[Place, int] = {}
        self._behind: Counter[Place] = Counter()
        self._next = time.monotonic() + every

    def heard(self, found: Iterable[Arrivals | Told]) -> None:
        """Take note of how far partitions have been read."""
        for item in found:
            if isinstance(item, Arrivals):
                self._read[item.place] = item.last + 1
            elif item.is_end:
                self._read[item.place] = item.offset

    def polled(self, message: Message) -> None:
        """Take note of a message: a record, or the end of a partition."""
        if message.error() is None:
            self._read[message.topic(), message.partition()] = message.offset() + 1
        elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name
            self._read[message.topic(), message.partition()] = message.offset()

    def look(self, paused: Collection[Place] = ()) -> None:
        """Find out, now that the client has nothing for us, whether it withholds records of what is not ``paused``.

        Raises:
            UnreachableError: when a partition was behind in ``LOOKS`` looks, each one at what the broker held before.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        ends = self._ends.told(self._asked)
        behind = {p for p, end in ends.items() if self._read.get(p, 0) < end} - set(paused)
        self._behind = Counter({place: self._behind[place] + 1 for place in behind})
        for place in (place for place, looks in self._behind.items() if looks >= LOOKS):
            raise self._stalled(place, ends[place])
        self._asked = self._ends.ask(self._client.assignment())

    def _stalled(self, place: Place, end: int) -> UnreachableError:
        return UnreachableError(
            f"the Kafka client has stopped to fetch {place[0]}/{place[1]}",
            f"it is read up to offset {self._read.get(place, 0)}, and the broker holds records up to {end}",
            "start the service again: it goes on where it was",
        )
