"""Status on a real broker: committed ledger entries only, and pipelines that come later."""

import time
from contextlib import closing

import pytest
from test_drift_on_faust import HOUR, Stage, hour

from headrace.bus.kafka import send
from headrace.contracts.topics import CONTROL_TOPICS
from headrace.telemetry.status import Follower, pipelines

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def stage(broker):
    stage = Stage(broker)
    stage.create(t.name() for t in CONTROL_TOPICS)
    return stage


def test_an_aborted_entry_counts_for_nothing(stage):
    stage.register("counted")
    upstream = stage.upstreams["counted"]
    stage.transact(upstream.tick(1, HOUR))
    stage.out.begin_transaction()
    send(stage.out, upstream.entries(1, HOUR, hour(1)))
    stage.out.flush(10)
    stage.out.abort_transaction(15)
    with closing(Follower(stage.settings)) as follower:
        follower.catch_up()
        (told,) = follower.report()
    assert sum(s["records_out"] for s in told["services"]) == 0
    stage.transact(upstream.entries(1, HOUR, hour(1)))
    (told,) = pipelines(stage.settings)
    assert (told["name"], told["tick"], told["champion"]) == ("counted", 1, None)


def test_a_follower_takes_in_pipelines_that_come_later(stage):
    ended = []
    with closing(Follower(stage.settings)) as follower:
        follower.start(lambda: ended.append(True))
        stage.register("later")
        stage.transact(stage.upstreams["later"].tick(1, HOUR))
        deadline = time.monotonic() + 30
        while {p["name"]: p["tick"] for p in follower.report()}.get("later") != 1:
            assert time.monotonic() < deadline
            assert follower.alive
            time.sleep(0.05)
    assert ended == [True]
