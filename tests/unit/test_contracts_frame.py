"""The Confluent frame: five bytes before the body, and a value, not an exception, for what is not framed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.frame import UNFRAMED, frame, unframe


@given(st.integers(0, (1 << 32) - 1), st.lists(st.binary()))
def test_frames_come_off_as_they_went_on(schema_id, bodies):
    assert [unframe(v) for v in frame(schema_id, bodies)] == [(schema_id, b) for b in bodies]


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\1", b"\1\0\0\0\1body"])
def test_an_unframed_value_is_told_by_its_id(value):
    assert unframe(value) == (UNFRAMED, value or b"")
