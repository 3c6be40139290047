"""``headrace event validate`` says of every event what ingestion's receipts say: without a broker, the same answer."""

from hypothesis import given, settings
from hypothesis import strategies as st
from shop import HOUR, SHOP

from headrace.contracts.topics import RECEIPTS, VALIDATED
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


def by_ingestion(record, rows):
    """Return what the real service says of the same events: refusals and warnings, and the accepted ids."""
    loop = MemoryLoop(SHOP, [SERVICE], Clock())
    loop.publish(HOUR, [(record, row) for row in rows])
    receipts = [tuple(fields[name] for name in TOLD) for _, fields in loop.records(RECEIPTS)]
    return sorted(receipts), sorted(fields["event_id"] for _, fields in loop.records(VALIDATED))


def by_command(record, rows):
    answers = validate(SHOP, record, rows)
    told = [tuple(getattr(a, name) for name in TOLD) for a in answers if a.rule]
    return sorted(told), sorted({a.event_id for a in answers if a.verdict == "accepted"})


@given(st.lists(AMOUNTS, max_size=30))
@settings(max_examples=40, deadline=None)
def test_events_get_the_same_answers(amounts):
    assert by_command("Order", orders(amounts)) == by_ingestion("Order", orders(amounts))


@given(st.lists(KEPT, max_size=30))
@settings(max_examples=20, deadline=None)
def test_labels_get_the_same_answers(kept):
    assert by_command("Return", returns(kept)) == by_ingestion("Return", returns(kept))
