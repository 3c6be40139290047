"""Blocks are records; woven ones are in the order of their places."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus import trace
from headrace.bus.blocks import Block, woven
from headrace.bus.records import Outgoing


def block(values, source):
    column = pa.array(values, pa.binary())
    return Block("t", 3, column, column, (("id", column), ("source", source)))


def record(value, source):
    return Outgoing("t", 3, value, value, (("id", value), ("source", source)))


def test_a_block_is_its_records():
    assert list(block([b"a", b"b", b"c"], b"s").cut(1, 3)) == [record(b"b", b"s"), record(b"c", b"s")]


def test_a_block_without_values_is_tombstones():
    assert list(Block("t", 0, pa.array([b"k"]))) == [Outgoing("t", 0, b"k", None, ())]


def test_woven_records_stand_at_their_places():
    one, other = block([b"a", b"c"], b"1"), block([b"b", b"d"], b"2")
    found = list(woven([one, other], [np.array([0, 2]), np.array([1, 3])]))
    assert found == [record(b"a", b"1"), record(b"b", b"2"), record(b"c", b"1"), record(b"d", b"2")]


def test_instants_are_in_utc_with_microseconds_whatever_the_year():
    micros = pa.array([0, 1_700_000_000_123_456, -(10**17)])
    assert trace.instants(micros).to_pylist() == [
        b"1970-01-01T00:00:00.000000Z",
        b"2023-11-14T22:13:20.123456Z",
        b"-1199-02-15T14:13:20.000000Z",
    ]
    assert trace.instants(micros[:2]).to_pylist() == trace.instants(micros).to_pylist()[:2]
    assert trace.instants(micros[:0]).to_pylist() == []


@given(micros=st.lists(st.integers(-(2**60), 2**60) | st.integers(-(10**13), 10**13)))
def test_instants_are_those_of_numpy(micros):
    told = np.datetime_as_string(np.array(micros, "datetime64[us]"))
    assert trace.instants(pa.array(micros, pa.int64())).to_pylist() == [f"{t}Z".encode() for t in told]
