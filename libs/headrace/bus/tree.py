"""The Merkle tree of what a service wrote to one topic in one tick: RFC 6962's, over the bodies of the records.

A running one is its peaks, the roots of the perfect trees it falls into, the largest first; how many leaves it has tells
how high they are. :mod:`headrace.audit.merkle` has the same tree leaf by leaf.
"""

import hashlib
from functools import reduce

import numpy as np
import pyarrow as pa

from headrace.bus.multibuffer import grown

_WIDTH = 32  # bytes of a hash


def extended(peaks: bytes, size: int, leaves: pa.Array, skip: int = 0) -> bytes:
    """Return the peaks of a tree with more ``leaves``, each without its first ``skip`` bytes; it has ``size`` by now.

    Cutting the leaves anywhere gives the same tree.
    """
    rows = np.zeros(((size + len(leaves)).bit_length(), _WIDTH), np.uint8)
    rows[_heights(size)] = np.frombuffer(peaks, np.uint8).reshape(-1, _WIDTH)
    grown(rows, size, leaves, skip)
    return rows[_heights(size + len(leaves))].tobytes()


def root(peaks: bytes) -> bytes:
    """Return the 32 bytes that stand for all leaves and their order; of no leaf, the hash of nothing."""
    found = [peaks[n : n + _WIDTH] for n in range(0, len(peaks), _WIDTH)] or [hashlib.sha256().digest()]
    return reduce(lambda right, left: hashlib.sha256(b"\1" + left + right).digest(), reversed(found))


def _heights(size: int) -> list[int]:
    """Return the heights of a tree's peaks, the largest first."""
    return [height for height in reversed(range(size.bit_length())) if size >> height & 1]


def warm() -> None:
    """Compile the kernel and leave it in the cache on disk."""
    extended(b"", 0, pa.array(["a"]))
