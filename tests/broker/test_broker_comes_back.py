"""A broker that is killed or stands still, and comes back, is asked again, whatever the client calls its absence."""

import threading
from contextlib import closing

import pytest
from confluent_kafka import TopicPartition

from headrace.bus.kafka import consumer, end_of
from headrace.chaos.ground import Ground
from headrace.chaos.shop import definition
from headrace.contracts.topics import EVENTS

pytestmark = pytest.mark.broker
ASKING, KILLS, STILL, PATIENCE = 8, 3, 6.0, 120.0


@pytest.fixture
def ground(tmp_path):
    found = Ground(tmp_path / "home")
    try:
        found.start(definition(1), [])
        yield found
    finally:
        found.stop()


def test_the_end_of_a_partition_is_told_across_kills_and_a_stop(ground):
    """It was called ``_UNKNOWN_PARTITION`` for as long as there was no broker, and ``_DESTROY_BROKER`` at times.

    Of a broker that stood still it was said that a question ``_TIMED_OUT_QUEUE`` behind the one before.
    """
    place, over, told = TopicPartition(EVENTS.name(definition(1).name), 0), threading.Event(), []

    def ask():
        with closing(consumer(ground.settings.bootstrap, "asking")) as client:
            while not over.is_set():
                end_of(client, place, PATIENCE)
            told.append(end_of(client, place, PATIENCE))

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(ASKING)]
    for thread in asking:
        thread.start()
    for _ in range(KILLS):
        ground.kill_broker()
        with closing(consumer(ground.settings.bootstrap, "back")) as client:
            assert end_of(client, place, PATIENCE) == 0
    ground.stop_broker(STILL)
    over.set()
    for thread in asking:
        thread.join(PATIENCE)
    assert told == [0] * ASKING
