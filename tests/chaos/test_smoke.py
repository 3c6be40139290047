"""Every failpoint of the data plane is hit once, and the oracle finds nothing; it finds a planted fault."""

import pytest

from headrace.chaos.run import SERVICES, Order, run
from headrace.chaos.schedule import CONTROL, MUTANTS, POINTS, schedule


def silent(_progress):
    pass


def test_one_seed_is_one_schedule():
    assert schedule(7, SERVICES, 60, 2, 30) == schedule(7, SERVICES, 60, 2, 30)
    assert schedule(7, SERVICES, 60, 2, 30) != schedule(8, SERVICES, 60, 2, 30)


def test_a_full_schedule_has_the_zombies_and_every_point():
    trouble = schedule(1, SERVICES, 500, 10, 250)
    faults = [fault for found in trouble.faults.values() for fault in found]
    assert sum(fault.kills for fault in faults) == 500
    assert sum(fault.successor for fault in faults) >= 40
    assert {(f.service, f.point) for f in faults if f.kills} == {(s, p) for s in SERVICES for p in POINTS}
    assert len(trouble.broker) == 10


@pytest.mark.broker
def test_every_failpoint_is_hit_and_nothing_shows():
    report = run(Order(events=5_000, kills=len(POINTS) * len(SERVICES), seed=1), silent)
    assert (report["lost"], report["duplicated"], report["reordered"]) == (0, 0, 0)
    assert report["objections"] == []
    assert {s: set(POINTS) - set(hits) for s, hits in report["failpoints"].items()} == {
        s: set() for s in SERVICES
    }
    assert report["zombies"] >= report["fenced"] >= 1


@pytest.mark.broker
def test_records_lost_by_an_early_commit_are_found():
    assert run(Order(events=3_000, mutant="commit-first"), silent)["lost"]


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m != "commit-first"])
def test_every_mutant_is_caught(mutant):
    report = run(Order(events=3_000, mutant=mutant), silent)
    assert report["lost"] + report["duplicated"]


@pytest.mark.slow
@pytest.mark.broker
def test_a_late_end_harms_nobody_who_replaces_the_producer():
    report = run(Order(events=3_000, mutant=CONTROL), silent)
    assert (report["kills"], report["objections"]) == (1, [])
