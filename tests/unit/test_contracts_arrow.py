import math

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.arrow import as_type, filtered, in_turn, same, taken
from headrace.contracts.shape import MICROS

VALUES = st.lists(st.integers(-9, 9), max_size=12)


@given(VALUES, st.data())
def test_rows_are_taken_in_the_order_given(values, data):
    rows = data.draw(st.lists(st.sampled_from(range(len(values))), max_size=12) if values else st.just([]))
    for chosen in (rows, list(range(len(values)))):
        found = taken(pa.array(values, pa.int64()), np.array(chosen, np.int64))
        assert found.to_pylist() == [values[row] for row in chosen]


@given(VALUES, st.data())
def test_what_is_kept_stays(values, data):
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), bool)
    found = filtered(pa.RecordBatch.from_pydict({"x": pa.array(values, pa.int64())}), keep)
    assert found["x"].to_pylist() == [v for v, kept in zip(values, keep, strict=True) if kept]


def test_values_that_are_equal_and_not_the_same_are_kept_apart():
    told = [same(value, 1)[0].as_py() for value in (0, 0.0, -0.0, False, 1, True, 1.0)]
    assert [type(value) for value in told] == [int, float, float, bool, int, bool, float]
    assert math.copysign(1, told[2]) == -1
    assert same(None, 2, pa.string()).to_pylist() == [None, None]
    assert same([1], 2, pa.list_(pa.int64())).to_pylist() == [[1], [1]]


def test_texts_become_bytes_and_times_numbers():
    assert as_type(pa.array(["a", None]), pa.binary()).to_pylist() == [b"a", None]
    assert as_type(pa.array([7], MICROS), pa.int64()).to_pylist() == [7]
    assert as_type(pa.array([7]), pa.string()).to_pylist() == ["7"]


@given(st.lists(st.text(max_size=2), min_size=1, max_size=4).map(tuple), st.integers(0, 20))
def test_texts_take_turns(texts, count):
    assert in_turn(texts, count).to_pylist() == [texts[n % len(texts)] for n in range(count)]
