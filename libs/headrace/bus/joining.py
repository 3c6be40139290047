"""Texts of several columns as one text a row, with what stands between them: Arrow's own join is several times slower."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.bus.foreign import call, plain
from headrace.contracts.arrow import spans
from headrace.contracts.kernel import kernel

Words = npt.NDArray[np.int64]
MOST = np.iinfo(np.int32).max  # bytes of a column of texts


def joined(parts: Sequence[pa.Array | str], separator: str) -> pa.StringArray:
    """Return the texts of each row of the parts, a column or what all rows share, one behind the other.

    At least one part is a column; a null counts as an empty text.

    Raises:
        ArrowCapacityError: when the texts are more than a column holds.
    """
    columns = [part for part in parts if not isinstance(part, str)]
    between = _between(parts, separator)
    found = [spans(column) for column in columns]
    bounds = np.stack([b for _, b in found])
    fixed = np.cumsum([0, *map(len, between)])
    sizes = np.diff(bounds.astype(np.int64), axis=1).sum(axis=0) + fixed[-1]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    if offsets[-1] > MOST:
        raise pa.ArrowCapacityError("the joined texts take more than 2 GiB")
    out = np.empty(max(int(offsets[-1]), 1), np.uint8)
    places = np.array([data.ctypes.data for data, _ in found], np.int64)
    _join(plain("memcpy"), places, bounds, np.frombuffer(b"".join(between) or b"\0", np.uint8), fixed, out)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.string(), len(columns[0]), buffers)


def _between(parts: Sequence[pa.Array | str], separator: str) -> list[bytes]:
    """Return what stands before each column, and behind the last."""
    found = [""]
    for n, part in enumerate(parts):
        found[-1] += separator if n else ""
        if isinstance(part, str):
            found[-1] += part
        else:
            found.append("")
    return [text.encode() for text in found]


@kernel
def _join(
    copy: Any, places: Words, bounds: Any, between: npt.NDArray[np.uint8], fixed: Words, out: npt.NDArray[np.uint8]
) -> None:  # fmt: skip
    at: Any = out.ctypes.data
    last = len(places)
    for n in range(bounds.shape[1] - 1):
        for column in range(last + 1):
            size = fixed[column + 1] - fixed[column]
            if size:
                call(copy, at, between.ctypes.data + fixed[column], size)
                at += size
            if column < last:
                begin, end = np.int64(bounds[column, n]), np.int64(bounds[column, n + 1])
                if end > begin:
                    call(copy, at, places[column] + begin, end - begin)
                    at += end - begin


def warm() -> None:
    """Compile the kernel and leave it in the cache on disk."""
    joined([pa.array(["a"])], "/")
