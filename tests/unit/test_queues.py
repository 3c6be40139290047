"""A queue gives its rows once each and in order, whatever is joined, cut and put back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.chunks import Chunk, Rows
from headrace.bus.queues import Queue
from headrace.bus.service import Selection
from headrace.contracts.topics import VALIDATED

SCHEMAS = [pa.schema([("n", pa.int64())]), pa.schema([("n", pa.int64()), ("more", pa.string())])]
EACH = 3  # rows of a tick


def chunk(begin, count, schema):
    numbers = np.arange(begin, begin + count)
    columns = pa.RecordBatch.from_pydict({"n": numbers, "more": [""] * count})
    columns = columns.select(schema.names)
    lineage = pa.RecordBatch.from_pydict({"event_id": numbers.astype(str)})
    ticks = numbers // EACH
    return Chunk(VALIDATED, 0, numbers, Rows(lineage, {"R": Selection(np.arange(count), columns)}, ticks))


def queue(sizes, schemas=None):
    made, begin = Queue(VALIDATED, "validated", 0), 0
    for n, size in enumerate(sizes):
        made.add(chunk(begin, size, SCHEMAS[schemas[n] if schemas else 0]))
        begin += size
    return made


def numbers(batch):
    return batch.of("R").columns["n"].to_pylist()


@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(0, 1)), min_size=1, max_size=8),
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["go on", "begin", "commit", "abort"])), max_size=30
    ),
)
def test_rows_come_once_and_in_order(chunks, steps):
    sizes, schemas = zip(*chunks, strict=True)
    held = queue(sizes, schemas)
    at, tick, opened = 0, 0, [0]  # opened: the first row of each open transaction
    for most, what in steps:
        batch = held.take(tick, most)
        if batch is None:
            tick += 1
        else:
            found = numbers(batch)
            assert 0 < len(found) <= most
            assert batch.lineage["event_id"].to_pylist() == [str(n) for n in found]
            assert found == list(range(at, at + len(found)))
            at += len(found)
            assert held.position == at
        if what == "begin":
            held.begin()
            opened.append(at)
        elif what == "commit":
            held.commit()
            opened.pop(0)
        elif what == "abort":
            held.rollback()
            at = opened.pop()
            tick = at // EACH
            assert held.position in {None, at}
        opened = opened or [at]
    assert sum(map(len, held.chunks)) == sum(sizes) - at


def test_short_chunks_are_taken_together():
    assert [len(queue([2, 1, 4, 9]).take(99, most)) for most in (1, 3, 5, 100)] == [1, 3, 5, 16]


def test_chunks_of_another_schema_are_not():
    held = queue([2, 1, 4], schemas=[0, 0, 1])
    assert [len(held.take(99, 100)) for _ in range(2)] == [3, 4]


def test_what_is_large_is_not(monkeypatch):
    monkeypatch.setattr("headrace.bus.queues.JOINED", queue([4]).chunks[0].rows.nbytes)
    assert len(queue([2, 1, 4]).take(99, 100)) == 2 + 1


@pytest.mark.parametrize(("tick", "count"), [(0, 3), (1, 6), (2, 7), (9, 7)])
def test_rows_that_wait_for_a_tick(tick, count):
    held = queue([2, 2, 3])
    assert held.waiting(tick) == count
