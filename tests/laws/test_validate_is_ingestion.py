"""``headrace event validate`` says of every event what ingestion's receipts say: without a broker, the same answer."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from shop import HOUR, SHOP

from headrace.contracts.topics import LEDGER, RECEIPTS, REJECTED, VALIDATED
from headrace.sources.validation import validate
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock
from services.ingestion.service import SERVICE

TOLD = ("event_id", "entity_key", "rule", "severity", "path", "expected", "actual", "hint")
AMOUNTS = st.one_of(st.none(), st.floats(-5, 200, width=32), st.sampled_from([0.0, 90.0, 90.5, float("nan")]))
KEPT = st.one_of(st.floats(0, 1, width=32), st.just(float("inf")))


def orders(amounts):
    return [{"order_id": f"o{n}", "shop": "a", "amount": a, "at": n} for n, a in enumerate(amounts)]


def returns(kept):
    return [
        {"return_id": f"r{n}", "order_id": f"o{n}", "shop": "b", "kept": k, "at": n}
        for n, k in enumerate(kept)
    ]


def by_ingestion(record, rows, definition=SHOP, now=None, max_batch=1_000):
    """Return what the real service says of the same events: refusals and warnings, and the accepted ids."""
    loop = MemoryLoop(definition, [SERVICE], Clock(), max_batch=max_batch)
    if now is not None:
        loop.publish(now, [])
    loop.publish((now or 0) + HOUR, [(record, row) for row in rows])
    receipts = [tuple(fields[name] for name in TOLD) for _, fields in loop.records(RECEIPTS)]
    return sorted(receipts), sorted(fields["event_id"] for _, fields in loop.records(VALIDATED))


def by_command(record, rows, definition=SHOP, now=None):
    answers = validate(definition, record, rows, now)
    told = [tuple(getattr(a, name) for name in TOLD) for a in answers if a.rule]
    return sorted(told), sorted({a.event_id for a in answers if a.verdict != "rejected"})


@given(st.lists(AMOUNTS, max_size=30))
@settings(max_examples=40)
def test_events_get_the_same_answers(amounts):
    assert by_command("Order", orders(amounts)) == by_ingestion("Order", orders(amounts))


@given(st.lists(KEPT, max_size=30))
@settings(max_examples=20)
def test_labels_get_the_same_answers(kept):
    assert by_command("Return", returns(kept)) == by_ingestion("Return", returns(kept))


EVERY_KIND = SHOP.model_validate(
    SHOP.model_dump()
    | {
        "rules": [
            {"name": "given", "record": "Order", "column": "amount", "kind": "required"},
            {"name": "known", "record": "Order", "column": "shop", "kind": "reference", "values": ["a", "b", "d"]},
            {"name": "one-of", "record": "Order", "column": "shop", "kind": "enum", "values": ["a", "c"], "severity": "warn"},
            {"name": "letter", "record": "Order", "column": "shop", "kind": "regex", "pattern": "^[a-c]$"},
            {"name": "small", "record": "Order", "column": "amount", "kind": "range", "maximum": 90, "severity": "warn"},
            {"name": "round", "record": "Order", "column": "amount", "kind": "expression", "sql": "shop <> 'b' OR amount < 50"},
            {"name": "fresh", "record": "Order", "column": "at", "kind": "freshness", "within": "2h", "ahead": "1h"},
            {"name": "once", "record": "Order", "column": "amount", "kind": "unique", "within": "2h"},
            {"name": "shop-once", "record": "Order", "column": "shop", "kind": "unique", "within": "1h", "severity": "warn"},
            {"name": "late", "record": "Order", "column": "at", "kind": "freshness", "within": "1h", "severity": "warn"},
        ]
    }
)  # fmt: skip
MANY = st.lists(st.tuples(st.sampled_from("abcd"), AMOUNTS, st.integers(-3 * HOUR, 3 * HOUR)), max_size=12)


@given(MANY, st.sampled_from([1, 3, 1_000]))
@example(
    [("a", 0.0, 0), ("b", 0.0, 0)], 1
)  # a warning about an event that a rule over several events refuses
@settings(max_examples=20)
def test_every_kind_of_rule_gets_the_same_answers_wherever_batches_are_cut(rows, cut):
    now = 50 * HOUR
    events = [
        {"order_id": f"o{n}", "shop": shop, "amount": amount, "at": now + late}
        for n, (shop, amount, late) in enumerate(rows)
    ]
    assert by_command("Order", events, EVERY_KIND, now) == by_ingestion("Order", events, EVERY_KIND, now, cut)


def test_a_value_is_free_again_after_its_window_and_its_event_may_come_twice():
    now = 50 * HOUR

    def order(name, amount, at):
        return ("Order", {"order_id": name, "shop": "a", "amount": amount, "at": now + at})

    loop = MemoryLoop(EVERY_KIND, [SERVICE], Clock())
    loop.publish(now, [order("o1", 5.0, 0), order("o1", 5.0, 0), order("o2", 5.0, 10), order("o3", 6.0, 10)])
    loop.publish(now + HOUR, [order("o2", 5.0, 20), order("o1", 5.0, 0)])
    loop.publish(now + 3 * HOUR, [order("o4", 5.0, 2 * HOUR)])
    assert [f["event_id"] for _, f in loop.records(VALIDATED)] == ["o1", "o3", "o4"]
    refused = [(f["event_id"], f["rule"], f["actual"]) for _, f in loop.records(REJECTED)]
    assert refused == [("o2", "once", "5.0, which o1 has")] * 2


def test_what_comes_too_late_is_refused_with_its_bounds_and_counted():
    now = 50 * HOUR
    rows = [{"order_id": f"o{h}", "shop": "a", "amount": 1.0 + h, "at": now - h * HOUR} for h in (0, 1, 2, 3)]
    loop = MemoryLoop(EVERY_KIND, [SERVICE], Clock())
    loop.publish(now, [])
    loop.publish(now + HOUR, [("Order", row) for row in rows])
    ((_, letter),) = loop.records(REJECTED)
    assert (letter["event_id"], letter["rule"]) == ("o3", "fresh")
    assert letter["expected"] == "a time at most 2h behind and 1h ahead of the tick before the event"
    warned = [f["event_id"] for _, f in loop.records(RECEIPTS) if f["rule"] == "late"]
    assert warned == ["o2"]
    (entry,) = [f for _, f in loop.records(LEDGER) if f["tick"] == 2]
    assert (entry["records_in"], entry["rejected"]) == (4, 1)
