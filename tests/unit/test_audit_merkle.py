import hashlib
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.audit.merkle import Frontier

LEAVES = st.lists(st.binary(max_size=8), max_size=40)


def tree(leaves):
    return reduce(Frontier.append, leaves, Frontier())


def plain(leaves):
    """Return the root as section 2.1 of RFC 6962 defines it: split at the largest power of two below the size."""
    if len(leaves) < 2:
        return hashlib.sha256(b"".join(b"\0" + leaf for leaf in leaves)).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + plain(leaves[:split]) + plain(leaves[split:])).digest()


@given(LEAVES)
def test_the_frontier_gives_the_root_of_the_rfc(leaves):
    assert tree(leaves).root == plain(leaves)
    assert tree(leaves).size == len(leaves)
    assert len(tree(leaves).peaks) == len(leaves).bit_count()


@given(LEAVES, LEAVES)
def test_a_tree_goes_on_from_its_frontier_alone(before, after):
    held = tree(before)
    kept = Frontier(held.size, tuple(held.peaks))
    assert reduce(Frontier.append, after, kept) == tree(before + after)


@given(LEAVES.filter(len), st.data())
def test_a_leaf_changed_moved_left_out_or_slipped_in_gives_another_root(leaves, data):
    place = data.draw(st.integers(0, len(leaves) - 1))
    before, leaf, after = leaves[:place], leaves[place], leaves[place + 1 :]
    others = [[*before, leaf + b"!", *after], before + after, [*before, leaf, leaf, *after]]
    others += [moved for moved in [[*after, leaf, *before]] if moved != leaves]
    assert all(tree(other).root != tree(leaves).root for other in others)


@pytest.mark.parametrize(
    ("leaves", "root"),
    [
        ([], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ([b""], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        ([b"", b"\x00"], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ],
)
def test_the_roots_published_with_certificate_transparency(leaves, root):
    assert tree(leaves).root.hex() == root
