"""Records that are decoded with those of other partitions are what they are alone."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.arrivals import arrivals
from headrace.bus.chunks import SMALL, derived, fitting, joined, raw, together
from headrace.bus.errors import BrokenRecordError
from headrace.bus.records import Incoming
from headrace.bus.schemas import reading_schema
from headrace.contracts.topics import EVENTS, VALIDATED
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock
from services.ingestion.service import SERVICE
from tests.laws.shop import HOUR, SHOP

COUNT = 12


@pytest.fixture(scope="module")
def loop():
    """A loop with records on its topics."""
    made = MemoryLoop(SHOP, [SERVICE], Clock())
    orders = [("Order", {"order_id": f"o{n}", "shop": "a", "amount": 1.0, "at": n}) for n in range(COUNT)]
    labels = [
        ("Return", {"return_id": f"r{n}", "order_id": f"o{n}", "shop": "a", "kept": 0.5, "at": n})
        for n in range(COUNT)
    ]
    made.publish(HOUR, [event for pair in zip(orders, labels, strict=True) for event in pair])
    return made


def values(loop, topic):
    return [record.value for record in loop.log.read(topic.name(SHOP.name))]


def part(topic, partition, held):
    headers = (("ce_id", b"given %d" % partition),)
    return arrivals(
        [Incoming(topic.name(SHOP.name), partition, 7 * n, b"k", v, headers) for n, v in enumerate(held)]
    )


def told(chunk):
    rows = chunk.rows
    return (
        chunk.partition,
        chunk.offsets.tolist(),
        [tuple(h) for h in chunk.headers],
        rows.lineage.to_pylist(),
        {name: (s.rows.tolist(), s.columns.to_pylist()) for name, s in rows.records.items()},
        None if rows.ticks is None else rows.ticks.tolist(),
        None if rows.bodies is None else rows.bodies.to_pylist(),
        dict(rows.broken),
    )


@given(data=st.data())
def test_raw_records_of_several_partitions(loop, data):
    some = st.lists(
        st.sampled_from([*values(loop, EVENTS), b"", b"\0\0\0\0\1?", None]), min_size=1, max_size=6
    )
    parts = [
        part(EVENTS, n, held) for n, held in enumerate(data.draw(st.lists(some, min_size=1, max_size=4)))
    ]
    alone = [told(chunk) for p in parts for chunk in raw(EVENTS, [p], loop.registry, SHOP)]
    assert [told(chunk) for chunk in raw(EVENTS, parts, loop.registry, SHOP)] == alone


@given(data=st.data())
def test_a_services_records_of_several_partitions(loop, data):
    some = st.lists(st.sampled_from(values(loop, VALIDATED)), min_size=1, max_size=6)
    parts = [
        part(VALIDATED, n, held) for n, held in enumerate(data.draw(st.lists(some, min_size=1, max_size=4)))
    ]

    def read(found):
        return derived(VALIDATED, found, loop.registry, lambda name: reading_schema(VALIDATED, name, SHOP))

    assert [told(chunk) for chunk in read(parts)] == [told(chunk) for p in parts for chunk in read([p])]


@given(data=st.data())
def test_what_was_cut_is_joined_again(loop, data):
    some = st.sampled_from([*values(loop, EVENTS), b"", b"\0\0\0\0\1?"])
    (whole,) = raw(
        EVENTS, [part(EVENTS, 3, data.draw(st.lists(some, min_size=1, max_size=9)))], loop.registry, SHOP
    )
    ends = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1)))) if len(whole) > 1 else []
    pieces = [whole.between(*bound) for bound in pairwise([0, *ends, len(whole)])]
    assert list(fitting(pieces)) == pieces
    assert told(joined(pieces)) == told(whole)


def test_one_that_cannot_be_decoded_is_named_by_its_own_place(loop):
    good = values(loop, VALIDATED)
    parts = [part(VALIDATED, 0, good[:3]), part(VALIDATED, 4, [good[0], good[1][:-1]])]
    with pytest.raises(BrokenRecordError, match=r"validated\.v1/4@7"):
        derived(VALIDATED, parts, loop.registry, lambda name: reading_schema(VALIDATED, name, SHOP))


def test_many_are_decoded_alone():
    small, large = part(EVENTS, 0, [b"?"]), part(EVENTS, 1, [bytes(SMALL + 1)])
    groups = [[p.partition for p in group] for group in together([small, large, part(EVENTS, 2, [b"?"])])]
    assert sorted(groups) == [[0, 2], [1]]
    assert not list(together([]))
