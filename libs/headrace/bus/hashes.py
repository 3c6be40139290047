"""Hashes of many byte strings at once, without Python between them.

In a chain each waits for the one before, so it is OpenSSL's functions that are called from compiled code. Where
Python's own OpenSSL is not a library that can be asked (it may be built in), ``hashlib`` gives the same digests.
"""

import _hashlib
import ctypes
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.bus.foreign import call
from headrace.bus.multibuffer import SHA1, SHA256, digests
from headrace.contracts.arrow import spans
from headrace.contracts.kernel import kernel

Bytes = npt.NDArray[np.uint8]
_CONTEXT = 128  # bytes; more than any of OpenSSL's hash states takes
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
# Where the bytes of a UUID stand in its text.
_UUID = np.array([0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34], np.uint8)


@dataclass(frozen=True, slots=True)
class _Functions:
    """Addresses of the three functions of SHA-256."""

    init: int
    update: int
    final: int


@cache
def _found() -> _Functions | None:
    try:
        library = ctypes.CDLL(_hashlib.__file__)
        found = [
            ctypes.cast(getattr(library, f"SHA256_{step}"), ctypes.c_void_p).value
            for step in ("Init", "Update", "Final")
        ]
    except (AttributeError, OSError):
        return None
    return _Functions(*(address or 0 for address in found))


@kernel
def _chain(
    init: Any, update: Any, final: Any, data: Bytes, bounds: Any, skip: Any, context: Bytes, digest: Bytes, size: Any
) -> None:  # fmt: skip
    for n in range(len(bounds) - 1):
        begin = bounds[n] + skip
        call(init, context.ctypes.data, 0, 0)
        call(update, context.ctypes.data, digest.ctypes.data, size)
        call(update, context.ctypes.data, data.ctypes.data + begin, bounds[n + 1] - begin)
        call(final, digest.ctypes.data, context.ctypes.data, 0)
        size = len(digest)


def sha256(texts: pa.Array, prefix: bytes = b"", skip: int = 0) -> Bytes:
    """Return the SHA-256 of ``prefix`` and each text behind its first ``skip`` bytes, a row of 32 bytes each."""
    return digests(SHA256, texts, prefix, skip)


def sha1(texts: pa.Array, prefix: bytes = b"") -> Bytes:
    """Return the SHA-1 of ``prefix`` and each text, a row of 20 bytes each."""
    return digests(SHA1, texts, prefix)


def chain(digest: bytes, texts: pa.Array, skip: int = 0) -> bytes:
    """Extend a running SHA-256 by each text in order; cutting the sequence anywhere gives the same bytes."""
    functions, (data, bounds) = _found(), spans(texts)
    if functions is None:
        view = data.data
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            digest = hashlib.sha256(digest + view[begin + skip : end]).digest()
        return digest
    if not len(texts):
        return digest
    held = np.zeros(32, np.uint8)
    held[: len(digest)] = np.frombuffer(digest, np.uint8)
    context = np.empty(_CONTEXT, np.uint8)
    _chain(functions.init, functions.update, functions.final, data, bounds, skip, context, held, len(digest))
    return held.tobytes()


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
    chain(b"", pa.array(["a"]))
