"""Where partitions end, as the broker says."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from headrace.bus.kafka import CLIENT
from headrace.bus.records import Place

STABLE, LAST = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED
Asked = Mapping[TopicPartition, "Future[Any]"]


class Ends:
    """Asks a broker for the ends of partitions; an answer that fails replaces the client.

    A client goes on asking under the leader epoch it knew before a broker's restart.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.client = self._new()

    def of(self, place: TopicPartition, level: IsolationLevel) -> int:
        """Return the offset after the last record, or after the last one that no open transaction may undo (``STABLE``).

        Raises:
            KafkaException: when the broker does not tell within 10 s.
        """
        return self._told(self.ask([place], level)[place], 10)

    def ask(self, places: Iterable[TopicPartition], level: IsolationLevel = STABLE) -> Asked:
        """Ask for the ends of partitions, without waiting."""
        latest = {place: OffsetSpec.latest() for place in places}
        return self.client.list_offsets(latest, isolation_level=level) if latest else {}

    def told(self, asked: Asked) -> dict[Place, int]:
        """Return the ends that were asked for, or none at all while one is missing."""
        if not all(future.done() for future in asked.values()):
            return {}
        try:
            return {(p.topic, p.partition): self._told(future, 0) for p, future in asked.items()}
        except KafkaException:
            return {}

    def _told(self, future: "Future[Any]", wait: float) -> int:
        try:
            return int(future.result(wait).offset)
        except KafkaException:
            self.client = self._new()
            raise

    def _new(self) -> AdminClient:
        return AdminClient(
            {"bootstrap.servers": self._bootstrap, "broker.address.family": "v4"}, logger=CLIENT
        )
