"""Status on a real broker: committed ledger entries only, and pipelines that come later."""

import time
from contextlib import closing

import pytest
from test_drift_on_faust import HOUR, Stage, hour

from headrace.bus.kafka import send
from headrace.contracts.topics import CONTROL_TOPICS
from headrace.telemetry.status import Follower, pipelines
from headrace.testing.broker import running_broker

pytestmark = pytest.mark.broker
broker = pytest.fixture(scope="module")(running_broker)  # of its own: it makes the control topics


@pytest.fixture(scope="module")
def stage(broker):
    stage = Stage(broker)
    stage.create(t.name() for t in CONTROL_TOPICS)
    return stage


def test_an_aborted_entry_counts_for_nothing(stage):
    stage.register("counted")
    upstream = stage.upstreams["counted"]
    stage.transact(upstream.tick(1, HOUR))
    entries = upstream.entries(1, HOUR, hour(1))
    stage.out.begin_transaction()
    send(stage.out, entries)
    stage.out.flush(10)
    stage.out.abort_transaction(15)
    assert given_out(stage, "counted") == 0
    stage.transact(entries)
    assert given_out(stage, "counted") == 2


def given_out(stage, name):
    """Return how many records the ledger counts for a pipeline."""
    with closing(Follower(stage.settings)) as follower:
        follower.catch_up()
        told = {p["name"]: p for p in follower.report()}[name]
    return sum(s["records_out"] for s in told["services"])


def test_status_is_one_flat_row_a_pipeline(stage):
    stage.register("flat")
    stage.transact(stage.upstreams["flat"].tick(1, HOUR))
    told = {p["name"]: p for p in pipelines(stage.settings)}["flat"]
    assert (told["tick"], told["time"], told["champion"]) == (1, HOUR, None)
    assert told["lag"]["ticks"] == 1


def test_a_follower_takes_in_pipelines_that_come_later(stage):
    ended = []
    with closing(Follower(stage.settings)) as follower:
        follower.start(lambda: ended.append(True))
        stage.register("later")
        stage.transact(stage.upstreams["later"].tick(1, HOUR))
        deadline = time.monotonic() + 240
        while {p["name"]: p["tick"] for p in follower.report()}.get("later") != 1:
            assert time.monotonic() < deadline
            assert follower.alive
            time.sleep(0.05)
    assert ended == [True]
