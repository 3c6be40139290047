"""Hashes of columns are those of hashlib, whichever way they are made."""

import hashlib
import uuid

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus import hashes
from headrace.bus.multibuffer import LANES

# More than one round of lanes, and the lengths around the ends of a block.
MANY = st.lists(st.binary(max_size=200) | st.sampled_from(range(52, 66)).map(bytes), max_size=3 * LANES)


def column(texts):
    """Return texts as a slice of a longer column, so that it does not begin at its buffers' beginning."""
    return pa.array([b"before", *texts, b"behind"], pa.binary())[1:-1]


@given(texts=MANY, prefix=st.binary(max_size=150), skip=st.integers(0, 5))
def test_each_text_has_its_digest(texts, prefix, skip):
    longer = [b"_" * skip + text for text in texts]
    found = hashes.sha256(column(longer), prefix, skip)
    assert [bytes(row) for row in found] == [hashlib.sha256(prefix + text).digest() for text in texts]
    assert hashes.texts(hashes.hexed(found)).to_pylist() == [
        hashlib.sha256(prefix + t).hexdigest() for t in texts
    ]
    assert [bytes(row) for row in hashes.sha1(column(texts), prefix)] == [
        hashlib.sha1(prefix + text, usedforsecurity=False).digest() for text in texts
    ]


def test_a_text_with_less_than_what_is_skipped_is_empty():
    found = hashes.sha256(column([b"ab", b"abcd"]), skip=3)
    assert [bytes(row) for row in found] == [hashlib.sha256(text).digest() for text in (b"", b"d")]


@given(names=st.lists(st.text(max_size=40), max_size=20))
def test_uuids_are_those_of_the_standard_library(names):
    found = hashes.uuids(hashes.sha1(pa.array(names, pa.string()), uuid.NAMESPACE_URL.bytes + b"a/"))
    assert hashes.texts(found).to_pylist() == [
        str(uuid.uuid5(uuid.NAMESPACE_URL, "a/" + name)) for name in names
    ]
