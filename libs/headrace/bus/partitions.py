"""Which partition a key belongs to: what Java's default partitioner says, on whole columns.

murmur2 of the key with seed 0x9747b28c, without its sign bit, modulo the number of partitions
(``org.apache.kafka.common.utils.Utils.murmur2``; librdkafka calls it ``murmur2``).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.arrow import spans
from headrace.contracts.kernel import kernel

Ints = npt.NDArray[np.int64]
_SEED, _M, _R = 0x9747B28C, 0x5BD1E995, 24
_LOW, _POSITIVE = 0xFFFFFFFF, 0x7FFFFFFF


@kernel
def _hashes(data: Any, bounds: Any, out: Any) -> None:
    for n in range(len(out)):
        begin, length = np.int64(bounds[n]), np.int64(bounds[n + 1]) - np.int64(bounds[n])
        h = (_SEED ^ length) & _LOW
        whole = length - length % 4
        for at in range(begin, begin + whole, 4):
            k = np.int64(0)
            for byte in range(4):
                k |= np.int64(data[at + byte]) << (8 * byte)
            k = (k * _M) & _LOW
            k = ((k ^ (k >> _R)) * _M) & _LOW
            h = ((h * _M) & _LOW) ^ k
        for byte in range(length - whole - 1, -1, -1):
            h ^= np.int64(data[begin + whole + byte]) << (8 * byte)
        if whole < length:
            h = (h * _M) & _LOW
        h = ((h ^ (h >> 13)) * _M) & _LOW
        out[n] = h ^ (h >> 15)


def murmur2(keys: pa.Array) -> Ints:
    """Return the murmur2 hashes of texts or byte strings, unsigned; a null is hashed as the empty one."""
    found = np.empty(len(keys), np.int64)
    _hashes(*spans(keys), found)
    return found


def partitions_of(keys: pa.Array, count: int) -> Ints:
    """Return the partition, of ``count``, of each key."""
    return (murmur2(keys) & _POSITIVE) % count


def warm() -> None:
    """Compile the kernel and leave it in the cache on disk."""
    murmur2(pa.array(["a"]))
