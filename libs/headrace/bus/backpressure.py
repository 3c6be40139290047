"""Bounded memory: an input whose rows wait in numbers is not fetched until they have been handled."""

from collections.abc import Iterable

from confluent_kafka import Consumer, TopicPartition

from headrace.bus.lane import Lane
from headrace.bus.queues import Queue
from headrace.bus.records import Place


class Backpressure:
    """Pauses and resumes the partitions of one consumer; ``most`` rows of each may wait, plus one fetch."""

    def __init__(self, client: Consumer, most: int) -> None:
        self._client, self._most = client, most
        self.paused: set[Place] = set()

    def apply(self, lanes: Iterable[Lane]) -> None:
        """Pause what holds too much, resume what has come down to half of it."""
        waiting = {
            (q.name, q.partition): rows_waiting(q)
            for lane in lanes
            for q in lane.queues
            if _may_wait(lane, q)
        }
        full = {place for place, rows in waiting.items() if rows > self._most} - self.paused
        free = {place for place in self.paused if waiting.get(place, 0) <= self._most // 2}
        if full:
            self._client.pause([TopicPartition(*place) for place in full])
        if free:
            self._client.resume([TopicPartition(*place) for place in free])
        self.paused = (self.paused | full) - free

    def forget(self, places: Iterable[Place]) -> None:
        """Take note that partitions are no longer read here."""
        self.paused -= set(places)


def rows_waiting(queue: Queue) -> int:
    """Return how many decoded rows of a queue nobody has taken yet."""
    return sum(map(len, queue.chunks))


def _may_wait(lane: Lane, queue: Queue) -> bool:
    """Tell whether a lane can go on without more of an input: one that works by the tick needs all of the open one."""
    if lane.service.pace == "stream" or not queue.chunks:
        return True
    ticks = queue.chunks[-1].rows.ticks
    return ticks is not None and len(ticks) > 0 and int(ticks[-1]) > lane.progress.tick
