"""The tree over many leaves at once is the one that grows leaf by leaf."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.audit.merkle import Frontier
from headrace.bus import tree
from headrace.bus.multibuffer import LANES

LEAVES = st.lists(st.binary(max_size=150), max_size=5 * LANES)


def one_by_one(leaves):
    found = Frontier()
    for leaf in leaves:
        found = found.append(leaf)
    return found


@given(before=LEAVES, more=LEAVES, skip=st.integers(0, 5))
def test_a_tree_may_be_cut_anywhere(before, more, skip):
    wanted, size, peaks = one_by_one(before + more), 0, b""
    for part in (before, more):
        leaves = pa.array([b"first", *(b"_" * skip + leaf for leaf in part)], pa.binary())[1:]
        peaks, size = tree.extended(peaks, size, leaves, skip), size + len(part)
    assert peaks == b"".join(wanted.peaks)
    assert tree.root(peaks) == wanted.root
