"""Dead letters come back under their event id, once, however often the command runs."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.contracts.topics import EVENTS, RECEIPTS, REJECTED, VALIDATED
from headrace.errors import UsageError
from headrace.sources.letters import changed, discarded, letters, replayed, rewritten
from headrace.testing.loop import MemoryLoop
from headrace.testing.reading import HeldLog
from services.clock.handler import Clock
from services.ingestion.service import SERVICE
from tests.laws.shop import HOUR, SHOP


def loop_of(events):
    loop = MemoryLoop(SHOP, [SERVICE], Clock())
    loop.publish(HOUR, events)
    return loop


def order(number, amount):
    return ("Order", {"order_id": f"o{number}", "shop": "a", "amount": amount, "at": number})


def found(loop):
    return letters(HeldLog(loop.log), loop.registry, "shop")


def open_letters(loop):
    return [m for m in found(loop) if m.state == "open"]


def repair(loop, **values):
    """Do what ``headrace dlq repair --set`` does, and give ingestion the result; return what was refused."""
    chosen = open_letters(loop)
    repairs = changed(SHOP, chosen, {m.id: values for m in chosen})
    good = [r for r in repairs if r.answer.verdict == "accepted"]
    sent = rewritten(SHOP, loop.registry, good)
    loop.log.append(
        r._replace(partition=max(r.partition, 0)) for r in sent
    )  # another key: the partitioner's choice
    loop.publish(2 * HOUR, [])
    return [r.answer for r in repairs if r not in good]


def accepted(loop):
    return [fields["event_id"] for _, fields in loop.records(VALIDATED)]


@given(st.lists(st.sampled_from([-1.0, None, 5.0]), max_size=40), st.integers(1, 3))
@settings(max_examples=25)
def test_every_bad_event_is_accepted_once_after_any_number_of_repairs(amounts, times):
    loop = loop_of([order(n, amount) for n, amount in enumerate(amounts)])
    for _ in range(times):
        assert repair(loop, amount=7.0) == []
    assert sorted(accepted(loop)) == sorted(f"o{n}" for n in range(len(amounts)))
    assert not open_letters(loop)


def test_two_repairs_at_once_are_accepted_once():
    loop = loop_of([order(n, -1.0) for n in range(5)])
    chosen = found(loop)
    both = [changed(SHOP, chosen, {m.id: {"amount": 7.0} for m in chosen}) for _ in range(2)]
    for repairs in both:
        loop.log.append(rewritten(SHOP, loop.registry, repairs))
    loop.publish(2 * HOUR, [])
    assert sorted(accepted(loop)) == [f"o{n}" for n in range(5)]


def test_a_repaired_record_says_where_it_comes_from():
    loop = loop_of([order(0, -1.0)])
    (letter,) = found(loop)
    repair(loop, amount=7.0)
    headers = dict(loop.log.read(EVENTS.name("shop"))[-1].headers)
    assert headers["repaired_from"] == letter.place.encode() == b"shop.events.v1/0@0"
    assert headers["ce_id"] == b"o0"


def test_a_repair_that_the_contract_refuses_is_not_sent():
    loop = loop_of([order(0, -1.0)])
    (refused,) = repair(loop, amount=-2.0)
    assert (refused.rule, refused.path) == ("amount-positive", "amount")
    assert len(open_letters(loop)) == 1


def test_a_repair_keeps_the_event_id():
    loop = loop_of([order(0, -1.0)])
    with pytest.raises(UsageError, match="keeps order_id"):
        repair(loop, order_id="o1", amount=7.0)


def test_replayed_bytes_are_judged_again_and_attempts_are_counted():
    """The contract did not change, so the letter comes back: a new one, of the second attempt."""
    loop = loop_of([order(0, -1.0)])
    for attempt in (1, 2, 3):
        (letter,) = open_letters(loop)
        assert letter.fields["attempts"] == attempt
        loop.log.append(replayed([letter]))
        loop.publish((1 + attempt) * HOUR, [])
    assert {m.state for m in found(loop)} == {"resubmitted", "open"}


def test_bytes_that_cannot_be_read_are_repaired_with_a_whole_event():
    loop = loop_of([("!", {"bytes": b"\x00nonsense"})])
    assert [a.rule for a in repair(loop, amount=7.0)] == ["decode"]
    assert repair(loop, order_id="o9", shop="a", amount=7.0, at=5) == []
    assert accepted(loop) == ["o9"]


def test_a_discarded_letter_is_put_away_by_an_event():
    loop = loop_of([order(n, -1.0) for n in range(3)])
    loop.say(discarded("shop", found(loop)[:2], "test data", by="ada"))
    assert [m.state for m in found(loop)] == ["discarded", "discarded", "open"]
    with pytest.raises(UsageError, match="reason is empty"):
        discarded("shop", found(loop), " ", by="ada")


def test_another_body_under_an_accepted_id_is_a_conflict_that_consumers_can_find():
    loop = loop_of([order(0, 5.0), order(0, 6.0), order(0, 5.0)])
    assert accepted(loop) == ["o0"]
    for topic in (RECEIPTS, REJECTED):
        ((_, told),) = loop.records(topic)
        assert (told["rule"], told["event_id"], told["origin"]["offset"]) == ("conflict", "o0", 1)


def test_a_duplicate_is_dropped_by_a_replica_that_was_started_later():
    loop = loop_of([order(0, 5.0)])
    loop.runners = [loop._runner(replace(SERVICE))]
    loop.publish(2 * HOUR, [order(0, 5.0), order(1, 5.0)])
    assert accepted(loop) == ["o0", "o1"]
