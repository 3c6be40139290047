"""What an auditor reads of the log: the page of any event, the records of any ticks, a stretch to replay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import HOUR, STEPS
from test_laws import LAW, run
from test_replay import SCORING, orders

from headrace.audit import recording
from headrace.audit.page import Pages, Place
from headrace.audit.replay import replay
from headrace.bus.reading import held, of_ticks
from headrace.contracts.topics import EVENTS, FEATURES, OUTCOMES, PREDICTIONS, RECEIPTS, TICKS, VALIDATED
from headrace.errors import HeadraceError, UsageError
from headrace.testing.reading import HeldLog

RAW = EVENTS.name("shop")


def pages(loop, log=None):
    return Pages(log or HeldLog(loop.log), loop.registry, "shop")


@LAW
@given(steps=STEPS, data=st.data())
def test_the_page_of_any_raw_record_holds_its_end(steps, data):
    loop = run(steps)
    held_raw = loop.log.partitions[RAW, 0]
    if not held_raw:
        return
    offset = data.draw(st.integers(0, len(held_raw) - 1))
    page = pages(loop).at(Place(RAW, 0, offset))
    assert page["raw"]["offset"] == offset
    ends = page["validated"] + [r for r in page["receipts"] if r["severity"] == "reject"]
    accepted = {r["event_id"] for _, r in loop.records(VALIDATED)}
    assert ends or page["event_id"] in accepted  # a dropped duplicate has no record of its own


@LAW
@given(steps=STEPS)
def test_a_page_tells_of_each_accepted_order_what_the_topics_hold(steps):
    loop = run(steps)
    accepted = [r["event_id"] for name, r in loop.records(VALIDATED) if name == "Order"]
    for event_id in accepted[:3]:
        page = pages(loop).by_id(event_id)
        for topic in (FEATURES, PREDICTIONS):
            (told,) = page[topic.stream]
            (expected,) = [r for _, r in loop.records(topic) if r["event_id"] == event_id][:1]
            assert told["tick"] == expected["tick"] == page["tick"]["n"]
        outcomes = [
            r["outcome_id"]
            for _, r in loop.records(OUTCOMES)
            if event_id in (r["event_id"], r["label_event_id"])
            and r["tick"] >= page["tick"]["n"]  # a label that came for a refused event has ended before
        ]
        assert [r["outcome_id"] for r in page["outcomes"]] == outcomes
        assert (page["model"]["status"], page["made_champion_by"]) == ("the declared prior", None)


def test_id_and_place_name_the_same_page():
    loop = run([orders(5)])
    assert pages(loop).by_id("o3") == pages(loop).at(Place.read(f"{RAW}/0@3"))


def test_bytes_that_are_no_record_have_a_page_by_their_place():
    loop = run([[*orders(2), ("!", {"bytes": b"what?"})]])
    page = pages(loop).at(Place(RAW, 0, 2))
    assert page["raw"]["bytes"] == b"what?".hex()
    assert [r["receipt_id"] for r in page["receipts"]] == [r["receipt_id"] for _, r in loop.records(RECEIPTS)]
    assert page["predictions"] == []


def test_a_refused_event_is_found_by_its_id():
    loop = run([[("Order", {"order_id": "o1", "shop": "a", "amount": -1.0, "at": 0})]])
    (receipt,) = pages(loop).by_id("o1")["receipts"]
    assert receipt["rule"] == "amount-positive"


def test_an_id_that_only_begins_alike_is_another_event():
    loop = run([[("Order", {"order_id": "o11", "shop": "a", "amount": 1.0, "at": 0}), *orders(2)]])
    assert pages(loop).by_id("o1")["raw"]["offset"] == 2


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda p: p.by_id("nobody"), HeadraceError),
        (lambda p: p.at(Place(RAW, 0, 99)), HeadraceError),
        (lambda p: p.at(Place(RAW, 7, 0)), HeadraceError),
        (lambda p: p.at(Place("shop.validated.v1", 0, 0)), UsageError),
        (lambda _: Place.read("shop.events.v1"), UsageError),
        (lambda _: Place.read("shop.events.v1/0@-1"), UsageError),
    ],
)
def test_what_is_not_there_is_said(ask, error):
    with pytest.raises(error):
        ask(pages(run([orders(2)])))


@LAW
@given(steps=STEPS, data=st.data())
def test_bisection_finds_the_ticks_that_a_scan_finds(steps, data):
    loop = run(steps)
    last = len(loop.log.read(TICKS.name("shop")))
    first, stop = sorted(data.draw(st.tuples(st.integers(0, last + 2), st.integers(0, last + 2))))
    name = VALIDATED.name("shop")
    spans = of_ticks(HeldLog(loop.log), loop.registry, name, range(first, stop))
    found = [r for records in held(HeldLog(loop.log), spans).values() for r in records]
    ticks = [r["tick"] for _, r in loop.records(VALIDATED)]
    assert found == [r for r, t in zip(loop.log.read(name), ticks, strict=True) if first <= t < stop]


def test_a_replay_of_the_end_leaves_the_beginning_unread():
    loop = run(
        [orders(60), *([[]] * 8), [("Order", {"order_id": "late", "shop": "a", "amount": 1.0, "at": 0})]]
    )
    log = HeldLog(loop.log)
    books = recording.books(log, "shop")
    asked = recording.last_ticks(books, loop.registry, 2)
    part = recording.with_data(books, log, loop.registry, *asked)
    assert [r.offset for r in part.of(RAW)] == [60]
    verdicts = replay(part, SCORING, loop.registry, loop.artifacts, from_tick=asked[0], to_tick=asked[1])
    assert (verdicts.checked, verdicts.mismatch) == (1, 0)


def test_dates_name_ticks():
    loop = run([orders(1)] * 4)
    books = recording.books(HeldLog(loop.log), "shop")
    assert recording.ticks_between(books, loop.registry, HOUR, 3 * HOUR) == (2, 3)
    assert recording.ticks_between(books, loop.registry, None, HOUR) == (1, 1)
    with pytest.raises(HeadraceError):
        recording.ticks_between(books, loop.registry, 99 * HOUR, None)
