"""Hashes of many byte strings at once, without Python between them, and what is written of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.bus.multibuffer import SHA1, SHA256, digests
from headrace.contracts.kernel import kernel

Bytes = npt.NDArray[np.uint8]
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
# Where the bytes of a UUID stand in its text.
_UUID = np.array([0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34], np.uint8)


def sha256(texts: pa.Array, prefix: bytes = b"", skip: int = 0) -> Bytes:
    """Return the SHA-256 of ``prefix`` and each text behind its first ``skip`` bytes, a row of 32 bytes each."""
    return digests(SHA256, texts, prefix, skip)


def sha1(texts: pa.Array, prefix: bytes = b"") -> Bytes:
    """Return the SHA-1 of ``prefix`` and each text, a row of 20 bytes each."""
    return digests(SHA1, texts, prefix)


@kernel
def _hex(digests: Bytes, digits: Bytes, places: Bytes, out: Bytes) -> None:
    """Write the digits of each byte to its place in the row."""
    for n in range(digests.shape[0]):
        for byte in range(len(places)):
            out[n, places[byte]] = digits[digests[n, byte] >> 4]
            out[n, places[byte] + 1] = digits[digests[n, byte] & 15]


def hexed(digests: Bytes) -> Bytes:
    """Return digests in hexadecimal, a row each."""
    rows, size = digests.shape
    out = np.empty((rows, 2 * size), np.uint8)
    _hex(digests, _HEX, np.arange(0, 2 * size, 2, dtype=np.uint8), out)
    return out


def uuids(digests: Bytes) -> Bytes:
    """Return SHA-1 digests as texts of UUIDv5 (RFC 9562, 5.5), a row of 36 characters each."""
    kept = digests[:, :16].copy()
    kept[:, 6] = (kept[:, 6] & 0x0F) | 0x50
    kept[:, 8] = (kept[:, 8] & 0x3F) | 0x80
    out = np.full((len(kept), 36), ord("-"), np.uint8)
    _hex(kept, _HEX, _UUID, out)
    return out


def texts(rows: Bytes, kind: pa.DataType | None = None) -> pa.Array:
    """Return rows of characters as texts of equal length."""
    count, width = rows.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    buffers: Sequence[Any] = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.Array.from_buffers(kind or pa.string(), count, buffers)


def warm() -> None:
    """Compile the kernels and leave them in the cache on disk."""
    hexed(sha256(pa.array(["a"])))
