"""The laws of the runtime, on every stage at once: what may vary must not show in a single byte."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop import HOUR, SHOP, STEPS, timed

from headrace.bus.provision import stages
from headrace.contracts.topics import (
    FEATURES,
    LEDGER,
    OUTCOMES,
    PREDICTIONS,
    PROFILES,
    RECEIPTS,
    REJECTED,
    SHADOW_PREDICTIONS,
    VALIDATED,
)
from headrace.local.settings import Settings
from headrace.testing.loop import MemoryLoop, Mischief
from services.clock.handler import Clock

PUBLIC = (VALIDATED, REJECTED, RECEIPTS, FEATURES, PREDICTIONS, SHADOW_PREDICTIONS, PROFILES, OUTCOMES)
DATA_PLANE = [s for s in stages(Settings().root / "services") if s.name in
              {"ingestion", "features", "serving", "monitoring"}]  # fmt: skip
LAW = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])


def run(steps, *, definition=SHOP, max_batch=1_000, mischief=None):
    loop = MemoryLoop(definition, DATA_PLANE, Clock(), max_batch=max_batch, mischief=mischief)
    for number, events in enumerate(steps):
        loop.publish((number + 1) * HOUR, timed(number, events))
    loop.publish((len(steps) + 4) * HOUR, [], final=True)
    return loop


def story(loop):
    """Return all that a run said: every public topic, and the ledger as a set (its order is a race)."""
    ledger = sorted(loop.bodies([LEDGER])[LEDGER.name("shop")])
    return loop.bodies(PUBLIC), ledger


@LAW
@given(steps=STEPS, max_batch=st.integers(1, 9), reads=st.integers(1, 9))
def test_cutting_a_batch_anywhere_changes_nothing(steps, max_batch, reads):
    whole = run(steps)
    cut = run(steps, max_batch=max_batch, mischief=Mischief(0, reads=reads))
    assert story(cut) == story(whole)


@LAW
@given(steps=STEPS, seed=st.integers(1, 2**32))
def test_the_order_in_which_services_work_changes_nothing(steps, seed):
    assert story(run(steps, mischief=Mischief(seed, reads=5))) == story(run(steps))


@LAW
@given(steps=STEPS, seed=st.integers(1, 2**32))
def test_an_aborted_transaction_leaves_no_trace(steps, seed):
    troubled = run(steps, max_batch=4, mischief=Mischief(seed, reads=7, abort=0.4))
    assert story(troubled) == story(run(steps))


@LAW
@given(steps=STEPS, seed=st.integers(1, 2**32))
def test_a_replica_that_takes_over_goes_on_where_the_lost_one_was(steps, seed):
    troubled = run(steps, max_batch=4, mischief=Mischief(seed, reads=7, abort=0.2, replace=0.2))
    assert story(troubled) == story(run(steps))


@LAW
@given(steps=STEPS)
def test_every_record_has_one_end(steps):
    loop = run(steps)
    raw = sum(len(events) for events in steps)
    entries = [e for _, e in loop.records(LEDGER)]
    ingested = [e for e in entries if e["service"] == "ingestion"]
    accepted, rejected = len(loop.records(VALIDATED)), len(loop.records(REJECTED))
    assert sum(e["records_in"] for e in ingested) == raw
    assert accepted + rejected + sum(e["absorbed"] for e in ingested) == raw
    refusing = [r for _, r in loop.records(RECEIPTS) if r["severity"] == "reject"]
    assert len(refusing) == rejected
    orders = Counter(r["event_id"] for name, r in loop.records(VALIDATED) if name == "Order")
    predicted = Counter(r["event_id"] for _, r in loop.records(PREDICTIONS))
    assert predicted == orders
    outcomes = [o for _, o in loop.records(OUTCOMES)]
    ended = Counter(o["event_id"] for o in outcomes if o["status"] in ("labelled", "unlabelled"))
    assert ended == orders


@LAW
@given(steps=STEPS)
def test_ids_never_repeat_on_a_topic(steps):
    loop = run(steps)
    for topic, field in ((PREDICTIONS, "prediction_id"), (OUTCOMES, "outcome_id"), (RECEIPTS, "receipt_id")):
        ids = [r[field] for _, r in loop.records(topic)]
        assert len(ids) == len(set(ids))


@LAW
@given(steps=STEPS)
def test_state_is_gone_when_its_time_is_up(steps):
    loop = run(steps)
    for runner in loop.runners:
        for lane in runner.engine.lanes.values():
            held = {name: len(state.all()) for name, state in lane.states.items() if state.table.due}
            assert not any(held.values()) or runner.engine.service.name == "features", (
                runner.engine.service.name,
                held,
            )


@pytest.mark.parametrize("service", DATA_PLANE, ids=lambda s: s.name)
def test_a_handler_is_pure(service):
    """Called twice with the same batch and state, a handler says the same and changes neither."""
    calls = []

    def twice(batch, rows, view):
        before = {name: table.all() for name, table in rows.items()}
        first = service.handle(batch, rows, view)
        after = {name: table.all() for name, table in rows.items()}
        again = type(rows)({name: _state(table, before[name]) for name, table in states[0].items()})
        second = service.handle(batch, again, view)
        assert repr(first) == repr(second)
        assert after == {name: table.all() for name, table in again.items()}
        calls.append(len(batch))
        return first

    from dataclasses import replace  # noqa: PLC0415

    from headrace.bus.rows import State  # noqa: PLC0415

    states = [{t.name: t for t in service.tables}]

    def _state(table, rows):
        state = State(table)
        state.restore(dict(rows))
        return state

    watched = [replace(s, handle=twice) if s.name == service.name else s for s in DATA_PLANE]
    loop = MemoryLoop(SHOP, watched, Clock())
    rows = [
        ("Order", {"order_id": f"o{n}", "shop": "a", "amount": float(n), "at": n * 1000}) for n in range(9)
    ]
    answers = [
        ("Return", {"return_id": f"r{n}", "order_id": f"o{n}", "shop": "a", "kept": n % 2.0, "at": n * 2000})
        for n in range(9)
    ]
    loop.publish(HOUR, rows + answers + rows[:2])
    assert calls


def test_a_label_that_came_before_its_event_answers_it():
    order = ("Order", {"order_id": "o1", "shop": "a", "amount": 5.0, "at": HOUR + 5})
    label = {"return_id": "r1", "order_id": "o1", "shop": "a", "kept": 1.0, "at": 5}
    loop = MemoryLoop(SHOP, DATA_PLANE, Clock())
    loop.publish(HOUR, [("Return", label), ("Return", label | {"return_id": "r2"})])
    loop.publish(2 * HOUR, [order])
    loop.publish(9 * HOUR, [], final=True)
    ends = [(o["status"], o["label_event_id"]) for _, o in loop.records(OUTCOMES)]
    assert ends == [("late", "r2"), ("labelled", "r1")]
