"""The Confluent frame: five bytes before the body, and a value, not an exception, for what is not framed."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.arrow import spans
from headrace.contracts.frame import UNFRAMED, frame, unframe, unframed


@given(st.integers(0, (1 << 32) - 1), st.lists(st.binary()))
def test_frames_come_off_as_they_went_on(schema_id, bodies):
    assert [unframe(v) for v in frame(schema_id, bodies)] == [(schema_id, b) for b in bodies]


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\1", b"\1\0\0\0\1body"])
def test_an_unframed_value_is_told_by_its_id(value):
    assert unframe(value) == (UNFRAMED, value or b"")


@given(values=st.lists(st.binary(max_size=9), max_size=6), start=st.integers(0, 6))
def test_many_values_lose_their_headers_as_one_does(values, start):
    data, bounds = unframed(*spans(pa.array(values, pa.binary())[start:]))
    found = [data[a:b].tobytes() for a, b in pairwise(bounds.tolist())]
    assert found == [value[5:] for value in values[start:]]
