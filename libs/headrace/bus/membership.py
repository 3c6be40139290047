"""A replica's place in its group: which partitions are its own, and the proof of it that fences a zombie's commits.

A consumer that never fetches: it subscribes to the inputs that partitions of a service are named by, all of them
paused, and its group spreads them over the replicas (``cooperative-sticky``: what stays is not touched). Callbacks come
only within :meth:`Membership.poll`, which is called between two transactions, so nothing is open when a partition goes.

* The proof (group metadata: member and generation) is the one of the last poll. Who was taken for dead meanwhile, or
  joins in the middle of a transaction, commits under an old generation, and the broker refuses it.
* Members are static (``group.instance.id``): a replica that is back within the session timeout finds its partitions,
  and a commit without a generation is refused too. A static member that closes does not leave its group; one that
  unsubscribes does.
"""

import logging
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, TopicPartition

from headrace.bus.kafka import consumer, received
from headrace.bus.records import Place

LOG = logging.getLogger("headrace.bus")
SESSION_MS, HEARTBEAT_MS = 6_000, 500
_LEAVING, _SENT = 3.0, 0.2  # seconds: to hand everything back, and for the last request to go out


class Membership:
    """One member of a group; ``owned`` are its partitions, ``left`` those that went since they were last taken."""

    def __init__(self, bootstrap: str, group: str, instance: str) -> None:
        self._client: Consumer = consumer(
            bootstrap,
            group,
            **{
                "group.instance.id": instance,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "enable.partition.eof": False,
                "queued.min.messages": 1,
            },
        )
        self.owned: set[Place] = set()
        self._left: set[Place] = set()
        self._proof: Any = None

    def subscribe(self, topics: Iterable[str]) -> None:
        """Take part in the topics, and no others."""
        self._client.subscribe(
            sorted(topics), on_assign=self._gained, on_revoke=self._gone, on_lost=self._gone
        )

    def poll(self) -> set[Place]:
        """Take what the group decided; return the partitions that went, though some may be back.

        Raises:
            KafkaException: when another process has taken this replica's name.
        """
        while (message := self._client.poll(0)) is not None:
            error = message.error()
            if error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                LOG.warning("the group waits for a topic: %s", error)
            else:
                received(message)
        self._proof = self._client.consumer_group_metadata()
        left, self._left = self._left, set()
        return left

    def proof(self) -> Any:
        """Return the group metadata of the last poll."""
        return self._proof

    def leave(self) -> None:
        """Hand everything back at once, so that nobody waits for the session to time out."""
        self._client.unsubscribe()
        deadline = time.monotonic() + _LEAVING
        while (self.owned or self._client.memberid()) and time.monotonic() < deadline:
            self._client.poll(0.05)
        time.sleep(_SENT)
        self._client.close()

    def _gained(self, client: Consumer, found: list[TopicPartition]) -> None:
        places = [TopicPartition(p.topic, p.partition, OFFSET_END) for p in found]
        client.incremental_assign(places)
        if places:
            client.pause(places)
            LOG.info("given: %s", _told(found))
        self.owned |= {(p.topic, p.partition) for p in found}

    def _gone(self, client: Consumer, found: list[TopicPartition]) -> None:
        gone = {(p.topic, p.partition) for p in found}
        self.owned -= gone
        self._left |= gone
        client.incremental_unassign(found)
        LOG.info("taken away: %s", _told(found))


def _told(found: Iterable[TopicPartition]) -> str:
    return ", ".join(sorted(f"{p.topic}/{p.partition}" for p in found))
