"""Requests to brokers by Kafka's own protocol, for what the client has no call of."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition as Spot
from aiokafka.client import AIOKafkaClient

from headrace.bus.records import Place


@asynccontextmanager
async def connected(bootstrap: str, topics: Iterable[str]) -> AsyncIterator[AIOKafkaClient]:
    """Lend a client that knows where topics lie.

    Raises:
        aiokafka.errors.KafkaError: when no broker answers.
    """
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        await client.set_topics(topics)
        yield client
    finally:
        await client.close()


def leader(client: AIOKafkaClient, place: Place) -> Any:
    """Return the id of the broker that leads a partition; None or -1 when none does."""
    return client.cluster.leader_for_partition(Spot(*place))
