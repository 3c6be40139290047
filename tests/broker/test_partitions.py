"""A topic keeps its number of partitions: a changed pipeline file is refused, and so is a widened topic."""

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from headrace.bus.provision import create_topics
from headrace.contracts.topics import EVENTS
from headrace.errors import ConfigurationError
from headrace.sources import pipelines

pytestmark = pytest.mark.broker
FLIGHTS = pipelines.find("flights", Path("pipelines")).model_copy(update={"name": "steady"})


def test_another_number_of_partitions_is_refused_with_the_reason(broker):
    create_topics(broker, [FLIGHTS], [])
    create_topics(broker, [FLIGHTS], [])
    with pytest.raises(ConfigurationError, match=r"steady\.events\.v1 has 1 partitions and should have 2"):
        create_topics(broker, [FLIGHTS.model_copy(update={"partitions": 2})], [])

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for done in admin.create_partitions([NewPartitions(EVENTS.name("steady"), 3)]).values():
        done.result(120)
    while len(admin.list_topics(timeout=10).topics[EVENTS.name("steady")].partitions) < 3:
        time.sleep(0.05)
    with pytest.raises(ConfigurationError, match="keys move"):
        create_topics(broker, [FLIGHTS], [])
