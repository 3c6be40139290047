"""A service whose client no longer fetches a partition ends and says so; it is not taken for one that has no work."""

import time
from contextlib import closing

import pytest
from confluent_kafka import TopicPartition
from conformance import orders
from rigs import FEATURE_SERVICE, INGESTION, AbortingRunner, KafkaRig, fresh_name, never

from headrace.bus.observer import KafkaObserver
from headrace.bus.stalls import LOOKS
from headrace.contracts.topics import FEATURES, TICKS, VALIDATED
from headrace.errors import UnreachableError

pytestmark = pytest.mark.broker
LOOK = 0.5  # seconds; an end is told within 0.3


class Looking(AbortingRunner):
    look_every = LOOK


def watched(rig, service):
    return rig.started(Looking(rig.bootstrap, rig.engine(service, 100)), never)


def pumped(runners, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for runner in runners:
            runner.pump(0.05)


@pytest.mark.parametrize("withheld", [VALIDATED, TICKS])
def test_a_partition_that_is_fetched_no_more_ends_the_service(broker, withheld):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        runners = [watched(rig, INGESTION), watched(rig, FEATURE_SERVICE)]
        rig.append(rig.events(orders(0, 30)))
        rig.tick(1, 30)
        rig.settle(runners)
        pumped(runners, (LOOKS + 2) * LOOK)  # behind the last markers of transactions, all is well
        name = withheld.name(rig.definition.name)
        runners[1]._consumer.pause([TopicPartition(name, 0)])
        rig.append(rig.events(orders(30, 30)))
        rig.tick(2, 60)
        with pytest.raises(UnreachableError, match=f"stopped to fetch {name}/0"):
            pumped(runners, 60)
        runners[1] = rig.runner(FEATURE_SERVICE)
        rig.settle(runners)
        assert len(rig.rows(FEATURES)) == 60


class Listener:
    """An observer that has nothing to say."""

    controls, streams = (), (TICKS,)

    def observe(self, *_):
        pass

    def decide(self, *_):
        return []


class LookingObserver(KafkaObserver):
    look_every = 2 * LOOK  # its fetches wait longer


def test_an_observer_ends_too(broker):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        watcher = LookingObserver("listener", Listener(), rig.bootstrap, rig.registry)
        with closing(watcher):
            watcher.start()
            pumped([watcher], 2 * (LOOKS + 2) * LOOK)
            name = TICKS.name(rig.definition.name)
            watcher._consumer.pause([TopicPartition(name, 0)])
            rig.tick(1, 0)
            with pytest.raises(UnreachableError, match=f"stopped to fetch {name}/0"):
                pumped([watcher], 60)


def test_what_is_paused_because_too_much_waits_is_no_stall(broker):
    class Narrow(Looking):
        queued_rows = 5

    with closing(KafkaRig(fresh_name(), broker)) as rig:
        runner = rig.started(Narrow(rig.bootstrap, rig.engine(INGESTION, 7)), never)
        work, runner.engine.work = runner.engine.work, lambda: None
        for start in (0, 30):
            rig.append(rig.events(orders(start, 30)))
            pumped([runner], (LOOKS + 2) * LOOK)
        assert runner._backpressure.paused
        runner.engine.work = work
        rig.settle([runner])
        assert len(rig.rows(VALIDATED)) == 60
