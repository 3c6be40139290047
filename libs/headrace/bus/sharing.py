"""One of several replicas of a service: lanes come and go with the partitions that the group gives it.

A lane is taken over when nothing of its former owner can come any more, in this order:

1. its committed offsets are stable: every transaction commits an offset of each of its owner's lanes, so an open one
   that was still accepted is seen here, and one that comes later bears an old generation and is refused;
2. its changelog holds no open transaction: the last stable offset is the end. The broker writes a transaction's
   markers after it has answered, and ends what a killed replica left open (``transaction.timeout.ms``).

Until then the lane is asked for again between two transactions; the other lanes go on.
"""

import logging
import time

from confluent_kafka import KafkaException, TopicPartition

from headrace.bus.engine import Engine
from headrace.bus.failpoints import reach
from headrace.bus.membership import Membership
from headrace.bus.runner import KafkaRunner
from headrace.bus.transaction import Transaction
from headrace.errors import ConfigurationError

LOG = logging.getLogger("headrace.bus")
AGAIN = 0.1  # seconds between two attempts to take over a lane
_ASK = 1.0  # seconds to wait for an answer on the way
Key = tuple[str, int]


class SharingRunner(KafkaRunner):
    """Runs the lanes of one replica; the group says which."""

    def __init__(self, bootstrap: str, engine: Engine, *, replica: int = 0) -> None:
        """Join nothing yet: the first pipeline does.

        Raises:
            ConfigurationError: when the service has one lane for all partitions.
        """
        if engine.service.single:
            raise only_one(engine.service.name)
        super().__init__(bootstrap, engine, replica=replica)
        self._shared = engine
        engine.shares = True
        self.membership = Membership(bootstrap, self._group, f"{self._group}.{replica}")
        self._next = 0.0

    def pump(self, wait: float = 0.2) -> bool:
        """Follow the group, then read what is new and do one transaction; return whether anything happened."""
        moved = self._follow()
        coming = self._coming()
        return super().pump(min(wait, AGAIN) if coming else wait) or moved

    def close(self) -> None:
        """Leave the group; nothing is open between two calls of :meth:`pump`."""
        self.membership.leave()
        super().close()

    # -- lanes that come and go ---------------------------------------------------------------------

    def _open(self, pipeline: str) -> None:
        self._shared.admit(pipeline)
        self._assign(self._books(pipeline))
        self.membership.subscribe(self._named_by(p) for p in self._shared.books)

    def _named_by(self, pipeline: str) -> str:
        """Return the topic whose partitions stand for the lanes of a pipeline."""
        inputs = self._shared.service.inputs(self._shared.definition(pipeline))
        topics = [i.topic for i in inputs if i.topic.scope == "pipeline"]
        return topics[0].name(pipeline)

    def _follow(self) -> bool:
        """Drop the lanes that went and take over those that came; return whether there were any."""
        left = {_key(place) for place in self.membership.poll()} & self._shared.lanes.keys()
        for key in left:
            reach("during-rebalance")
            self._drop(key)
        taken = []
        if time.monotonic() >= self._next:
            taken = [key for key in self._coming() if self._take_over(key)]
            self._next = time.monotonic() + (AGAIN if self._coming() else 0.0)
        return bool(left or taken)

    def _coming(self) -> list[Key]:
        return sorted({_key(place) for place in self.membership.owned} - self._shared.lanes.keys())

    def _drop(self, key: Key) -> None:
        lane = self._shared.close_lane(*key)
        places = [(q.name, q.partition) for q in lane.queues]
        self._consumer.incremental_unassign([TopicPartition(*place) for place in places])
        self._backpressure.forget(places)
        self._inbox.forget(places)

    def _take_over(self, key: Key) -> bool:
        """Open a lane where its former owner left it; return False while that is not settled."""
        lane = self._shared.open_lane(*key)
        try:
            starts = self._inputs(lane, _ASK) if self._settled(lane) else None
        except KafkaException as error:
            LOG.debug("%s/%d is not settled: %s", *key, error)
            starts = None
        if starts is None or not self._settled(lane):
            self._shared.close_lane(*key)
            return False
        reach("during-rebalance")
        began = time.perf_counter()
        self._restore(lane)
        LOG.info("took over %s/%d in %.2f s", *key, time.perf_counter() - began)
        self._assign(starts)
        return True

    # -- writing ------------------------------------------------------------------------------------

    def _metadata(self, service: str) -> object:
        del service  # only one runs here
        return self.membership.proof()

    def _carry_out(self, transaction: Transaction) -> None:
        super()._carry_out(self._fenced(transaction))

    def _fenced(self, transaction: Transaction) -> Transaction:
        """Let a transaction commit an offset of every lane, so that no part of it escapes the group's judgement."""
        for queue in (q for lane in self._shared.lanes.values() for q in lane.queues):
            if queue.position is not None:
                transaction.offsets.setdefault(
                    (self._shared.service.name, queue.name, queue.partition), queue.position
                )
        return transaction


def only_one(service: str) -> ConfigurationError:
    """Return the refusal of a second replica."""
    return ConfigurationError(
        f"{service} cannot have several replicas",
        "it does its work for all partitions together, in one place",
        "unset HEADRACE_REPLICAS",
    )


def _key(place: Key) -> Key:
    return place[0].partition(".")[0], place[1]
