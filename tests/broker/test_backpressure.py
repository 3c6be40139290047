"""A service that cannot work reads no more than its budget, and loses nothing by it."""

import time
from contextlib import closing

import pytest
from conformance import orders
from rigs import INGESTION, PATIENCE, AbortingRunner, KafkaRig, fresh_name, never

from headrace.bus.backpressure import rows_waiting
from headrace.contracts.topics import EVENTS, REJECTED, VALIDATED

pytestmark = pytest.mark.broker


class Small(AbortingRunner):
    queued_rows = 20


class Unbounded(AbortingRunner):
    queued_rows = 1_000_000


def waiting_during_a_stall(kind, rig, least):
    """Let 5 appends of 30 rows come in while no transaction can be done; return the most rows that waited.

    The second append is made when the first has come in, and the stall ends when ``least`` rows have waited.
    """
    runner = rig.started(kind(rig.bootstrap, rig.engine(INGESTION, 7)), never)
    work, runner.engine.work = runner.engine.work, lambda: None
    most = 0
    for n in range(5):
        rig.append(rig.events(orders(n * 30, 30)))
        turns, deadline = 3, time.monotonic() + PATIENCE
        while turns or most < (least if n == 4 else 1):
            assert time.monotonic() < deadline, f"no more than {most} rows have come in"
            turns = max(0, turns - 1)
            runner.pump(0.1)
            queues = [q for lane in runner.engine.lanes.values() for q in lane.queues]
            most = max([most, *map(rows_waiting, queues)])
    runner.engine.work = work
    rig.settle([runner])
    ends = [r["origin"]["offset"] for topic in (VALIDATED, REJECTED) for r in rig.rows(topic)]
    assert sorted(ends) == list(range(150))
    assert rig.committed(INGESTION, EVENTS) == 150
    return most


def test_a_stalled_service_reads_little_more_than_its_budget(broker):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        assert waiting_during_a_stall(Small, rig, 20) <= 60


@pytest.mark.slow
def test_without_a_budget_it_reads_all_there_is(broker):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        assert waiting_during_a_stall(Unbounded, rig, 150) == 150
