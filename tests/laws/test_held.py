"""Records kept as columns are the same records."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.arrivals import arrivals
from headrace.bus.blocks import Block, arrived
from headrace.bus.held import Held
from headrace.bus.records import Incoming

BYTES = st.binary(max_size=3)
TOLD = st.lists(st.tuples(st.sampled_from(["ce_id", "x"]), BYTES), max_size=2)
RECORD = st.tuples(st.none() | BYTES, st.none() | BYTES, TOLD.map(tuple))
PARTS = st.lists(st.lists(RECORD, max_size=4), max_size=4)
PLACE = st.none() | st.integers(-9, 9)


def kept(parts, gap=2):
    """Return the same records as a list and as parts of columns, with offsets that leave some out."""
    records = [[Incoming("t", 3, 0, *told) for told in part] for part in parts]
    offsets = iter(range(0, 1_000, gap))
    records = [[r._replace(offset=next(offsets)) for r in part] for part in records]
    held = Held()
    for part in records:
        if part:
            held.add(arrivals(part))
    return [r for part in records for r in part], held


@given(parts=PARTS, start=PLACE, stop=PLACE)
def test_it_is_read_as_a_list_is(parts, start, stop):
    records, held = kept(parts)
    assert (list(held), len(held)) == (records, len(records))
    assert list(held[start:stop]) == records[start:stop]
    assert [held[n] for n in range(-len(records), len(records))] == records * 2
    if records:
        assert list(held.columns()) == records


@given(parts=PARTS, start=st.integers(0, 40), end=st.integers(0, 40))
def test_a_stretch_holds_the_offsets_that_were_asked_for(parts, start, end):
    records, held = kept(parts)
    assert list(held.between(start, end)) == [r for r in records if start <= r.offset < end]


@given(rows=st.lists(st.tuples(BYTES, BYTES, BYTES), max_size=5), constant=BYTES, tombstones=st.booleans())
def test_a_block_arrives_as_it_was_written(rows, constant, tombstones):
    keys, values, told = (pa.array([r[n] for r in rows], pa.binary()) for n in range(3))
    block = Block("t", 1, keys, None if tombstones else values, (("a", constant), ("b", told)))
    found = arrived(block, 7)
    assert [(r.key, r.value, r.headers) for r in found] == [(r.key, r.value, r.headers) for r in block]
    assert np.array_equal(found.offsets, np.arange(7, 7 + len(rows)))
