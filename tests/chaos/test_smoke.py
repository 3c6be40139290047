"""Every failpoint of the data plane is hit once, and the oracle finds nothing; it finds a planted fault."""

import pytest

from headrace.chaos.run import ALL, EVERYBODY, SERVICES, Order, run
from headrace.chaos.schedule import CONTROL, MUTANTS, POINTS, REBALANCE, points, schedule


def silent(_progress):
    pass


def silent_about(report):
    return (report["lost"], report["duplicated"], report["reordered"], report["objections"]) == (0, 0, 0, [])


def missed(report, order):
    known = points(order.cast, tuple(order.shared))
    return {(s, p) for s, expected in known.items() for p in expected if p not in report["failpoints"][s]}


def hits(trouble):
    return {(f.service, f.point) for found in trouble.faults.values() for f in found if f.kills}


def test_one_seed_is_one_schedule():
    assert schedule(7, points(SERVICES), 60, 2, 30) == schedule(7, points(SERVICES), 60, 2, 30)
    assert schedule(7, points(SERVICES), 60, 2, 30) != schedule(8, points(SERVICES), 60, 2, 30)


def test_a_full_schedule_has_the_zombies_and_every_point():
    trouble = schedule(1, points(SERVICES), 500, 10, 250)
    faults = [fault for found in trouble.faults.values() for fault in found]
    assert sum(fault.kills for fault in faults) == 500
    assert sum(fault.successor for fault in faults) >= 40
    assert hits(trouble) == {(s, p) for s in SERVICES for p in POINTS}
    assert len(trouble.broker) == 10


def test_a_schedule_for_all_has_every_point_of_everybody():
    trouble = Order(kills=100, services=ALL).schedule()
    assert hits(trouble) == {(s, p) for s, known in points(EVERYBODY).items() for p in known}
    assert {s for s, found in trouble.faults.items() if any(f.successor for f in found)} == {
        s for s in EVERYBODY if s != "drift"
    }


def test_replicas_share_the_faults_of_their_service_and_have_one_point_more():
    trouble = Order(kills=30, partitions=6, replicas=3).schedule()
    assert trouble.faults.keys() == {f"{s}{r}" for s in SERVICES for r in ("", "-1", "-2")}
    assert sum(f.kills for found in trouble.faults.values() for f in found) == 30
    assert hits(trouble) == {(s, p) for s in SERVICES for p in (*POINTS, REBALANCE)}


@pytest.mark.broker
def test_every_failpoint_is_hit_and_nothing_shows():
    order = Order(events=5_000, kills=len(POINTS) * len(SERVICES), seed=1)
    report = run(order, silent)
    assert silent_about(report), report["objections"]
    assert missed(report, order) == set()
    assert report["zombies"] >= report["fenced"] >= 1
    assert report["states"]


@pytest.mark.broker
def test_a_fused_chain_is_killed_and_writes_what_its_members_write():
    order = Order(events=20_000, kills=2 * len(POINTS), broker_kills=2, seed=1, fused=True)
    report = run(order, silent)
    assert silent_about(report), report["objections"]
    assert missed(report, order) == set()
    assert report["states"]


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


@pytest.mark.slow
@pytest.mark.broker
def test_whoever_writes_is_killed_and_nothing_shows():
    order = Order(events=8_000, kills=90, seed=1, services=ALL)
    report = run(order, silent)
    assert silent_about(report), report["objections"]
    assert missed(report, order) == set()
    assert report["states"]


@pytest.mark.slow
@pytest.mark.broker
def test_replicas_that_are_killed_and_taken_for_dead_leave_no_trace():
    order = Order(events=10_000, kills=30, partitions=6, replicas=3)
    report = run(order, silent)
    assert silent_about(report), report["objections"]
    assert all(report["failpoints"][s].get(REBALANCE) for s in SERVICES)
