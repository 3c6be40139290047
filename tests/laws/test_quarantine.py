"""Rules of the severity ``quarantine``: the event is answered, and no other record can tell that it was there."""

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from shop import HOUR, MINUTE, SHOP
from test_laws import DATA_PLANE, LAW, story

from headrace.contracts.topics import (
    FEATURES,
    LEDGER,
    OUTCOMES,
    PREDICTIONS,
    PROFILES,
    RECEIPTS,
    REJECTED,
    VALIDATED,
)
from headrace.sources.validation import validate
from headrace.testing.loop import MemoryLoop, Mischief
from services.clock.handler import Clock

BIG, SURE = 90, 0.9
QUARANTINING = SHOP.model_validate(
    SHOP.model_dump()
    | {
        "rules": [
            {"name": "given", "record": "Order", "column": "amount", "kind": "required"},
            {"name": "odd", "record": "Order", "column": "amount", "kind": "range", "maximum": 99, "severity": "warn"},
            {"name": "big", "record": "Order", "column": "amount", "kind": "range", "maximum": BIG, "severity": "quarantine"},
            {"name": "sure", "record": "Return", "column": "kept", "kind": "range", "maximum": SURE, "severity": "quarantine"},
        ],
    }
)  # fmt: skip
CHAIN = [s for name in ("ingestion", "features", "serving") for s in DATA_PLANE if s.name == name]
FEW = settings(LAW, max_examples=5)
STORY = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(st.none(), st.floats(0, 200, width=32)),
        st.one_of(st.none(), st.floats(0, 1, width=32)),
        st.integers(0, 59),
        st.integers(-30, 100),
    ),
    max_size=30,
)

_CHANCE = random.Random(1)
RICH = [
    (
        _CHANCE.choice("abc"),
        _CHANCE.uniform(0, 150),
        _CHANCE.uniform(0.4, 1),
        n % 60,
        _CHANCE.randint(-30, 100),
    )
    for n in range(60)
]


def events(found):
    """Return the steps of orders, most with an answer that may come in another hour, or before the order does."""
    steps = [[] for _ in range(4)]
    for n, (shop, amount, kept, minute, wait) in enumerate(found):
        at = (HOUR if n % 2 else 0) + minute * MINUTE
        steps[at // HOUR].append(("Order", {"order_id": f"o{n}", "shop": shop, "amount": amount, "at": at}))
        if kept is not None:
            told = max(0, at + wait * MINUTE)
            answer = {"return_id": f"r{n}", "order_id": f"o{n}", "shop": shop, "kept": kept, "at": told}
            steps[told // HOUR].append(("Return", answer))
    return [sorted(step, key=lambda event: (event[1]["at"], event[0] == "Order")) for step in steps]


def run(steps, *, max_batch=1_000, mischief=None, fused=()):
    loop = MemoryLoop(QUARANTINING, DATA_PLANE, Clock(), max_batch=max_batch, mischief=mischief, fused=fused)
    for number, step in enumerate(steps):
        loop.publish((number + 1) * HOUR, step)
    loop.publish((len(steps) + 4) * HOUR, [], final=True)
    return loop


def suspect(record, row):
    return (row["amount"] or 0) > BIG if record == "Order" else row["kept"] > SURE


def of(loop, topic, *names):
    return [tuple(fields[name] for name in names) for _, fields in loop.records(topic)]


@FEW
@given(found=STORY, max_batch=st.integers(1, 9), seed=st.integers(0, 2**32))
@example(found=RICH, max_batch=7, seed=1)
def test_cutting_aborting_and_fusing_change_nothing(found, max_batch, seed):
    steps = events(found)
    whole = story(run(steps))
    assert (
        story(run(steps, max_batch=max_batch, mischief=Mischief(seed, reads=7, abort=0.3, replace=0.1)))
        == whole
    )
    assert story(run(steps, max_batch=max_batch, fused=CHAIN)) == whole


@LAW
@given(found=STORY)
def test_what_is_quarantined_is_answered_and_marked_to_the_end(found):
    steps = events(found)
    loop = run(steps)
    doubted = {
        row["order_id"] for step in steps for name, row in step if name == "Order" and suspect(name, row)
    }
    answers = {
        row["order_id"] for step in steps for name, row in step if name == "Return" and suspect(name, row)
    }
    for topic in (FEATURES, PREDICTIONS):
        assert {i for i, by in of(loop, topic, "event_id", "quarantined_by") if by == "big"} == doubted
    outcomes = {
        (i, by)
        for i, by, status in of(loop, OUTCOMES, "event_id", "quarantined_by", "status")
        if by and status != "late"
    }
    accepted = {i for (i,) in of(loop, PREDICTIONS, "event_id")}
    assert {i for i, by in outcomes if by == "big"} == doubted
    assert {i for i, by in outcomes if by == "sure"} <= answers - doubted
    labelled = {i for i, status in of(loop, OUTCOMES, "event_id", "status") if status == "labelled"}
    assert {i for i, by in outcomes if by == "sure"} == (answers - doubted) & accepted & labelled
    told = {
        (i, rule)
        for i, rule, severity in of(loop, RECEIPTS, "event_id", "rule", "severity")
        if severity == "quarantine"
    }
    assert {i for i, rule in told if rule == "big"} == doubted
    assert not doubted & {i for (i,) in of(loop, REJECTED, "event_id")}


@FEW
@given(found=STORY)
@example(found=RICH)
def test_no_other_record_can_tell_that_it_was_there(found):
    """Windows, profiles of the inputs and quality are those of a world in which nobody sent it."""
    steps = events(found)
    without = [[(name, row) for name, row in step if not suspect(name, row)] for step in steps]
    whole, rest = run(steps), run(without)
    sound = {row["order_id"] for step in without for name, row in step if name == "Order"}
    vectors = {i: values for i, values in of(whole, FEATURES, "event_id", "values") if i in sound}
    assert vectors == dict(of(rest, FEATURES, "event_id", "values"))
    assert whole.records(PROFILES) == rest.records(PROFILES)


@LAW
@given(found=STORY)
def test_the_command_says_what_the_service_does(found):
    orders = [row for step in events(found) for name, row in step if name == "Order"]
    if not orders:
        return
    verdicts = {a.event_id: a.verdict for a in validate(QUARANTINING, "Order", orders)}
    loop = run([[("Order", row) for row in orders]])
    marks = {
        i: "quarantined" if by else "accepted" for i, by in of(loop, VALIDATED, "event_id", "quarantined_by")
    }
    assert verdicts == marks | {i: "rejected" for (i,) in of(loop, REJECTED, "event_id")}


def test_a_pipeline_without_such_a_rule_writes_what_it_always_wrote():
    loop = MemoryLoop(SHOP, DATA_PLANE, Clock())
    loop.publish(HOUR, [("Order", {"order_id": "o", "shop": "a", "amount": 95.0, "at": 1})])
    for topic in (VALIDATED, FEATURES, PREDICTIONS):
        assert all("quarantined_by" not in fields for _, fields in loop.records(topic))
    assert len(loop.records(PREDICTIONS)) == 1
    assert loop.records(LEDGER)
