"""A Merkle tree that only grows, as RFC 6962 hashes it; what is kept of it is its frontier, not its leaves.

Leaves and nodes are hashed under different first bytes, so that no node passes for a leaf.
"""

import hashlib
from dataclasses import dataclass
from functools import reduce
from typing import Self


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of ``size`` leaves: the roots of the perfect trees it falls into, the largest (leftmost) first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> Self:
        """Return the tree with one more leaf; perfect trees of one height join as digits carry in a counter."""
        peaks, node, height = self.peaks, leaf_hash(leaf), self.size
        while height & 1:
            peaks, node, height = peaks[:-1], node_hash(peaks[-1], node), height >> 1
        return type(self)(self.size + 1, (*peaks, node))

    @property
    def root(self) -> bytes:
        """Return the 32 bytes that stand for all leaves and their order; of no leaf, the hash of nothing."""
        if not self.peaks:
            return hashlib.sha256().digest()
        return reduce(lambda right, left: node_hash(left, right), reversed(self.peaks))


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node above two hashes (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()
