"""Cells as Arrow arrays, by walking the shape in the order in which the program numbers its columns."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.arrow import repeated, validity
from headrace.contracts.kernel import LENGTH_MASK, Bytes, Ints, gather
from headrace.contracts.shape import Shape

# A column's cells as Arrow holds them. A float's bits are the low half of its cell.
_NUMBERS: dict[str, tuple[Any, Any]] = {
    "long": (np.int64, np.int64), "int": (np.int32, np.int32), "double": (np.int64, np.float64),
    "float": (np.int32, np.float32),
}  # fmt: skip


def build(shape: Shape, columns: Iterator[Ints], data: Bytes, length: int) -> pa.Array:
    """Return the Arrow array of ``length`` values whose cells ``columns`` yields next, texts lying in ``data``."""
    there = None if shape.null is None else next(columns)[:length].astype(bool)
    target = shape.arrow
    if shape.kind == "record":
        members = [build(f.shape, columns, data, length) for f in shape.fields]
        mask = None if there is None else pa.array(~there)
        return pa.StructArray.from_arrays(members, fields=list(target), mask=mask)
    cells = next(columns)[:length]
    if shape.kind in ("array", "map"):
        offsets = _offsets(cells)
        members = [build(part, columns, data, int(offsets[-1])) for part in shape.parts]
        return repeated(target, offsets, members, there)
    if shape.kind == "enum":
        mask = None if there is None else ~there
        return shape.values.take(pa.array(cells, mask=mask))
    return pa.Array.from_buffers(target, length, [validity(there), *_buffers(shape, cells, data)])


def _offsets(lengths: Ints) -> npt.NDArray[np.int32]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _buffers(shape: Shape, cells: Ints, data: Bytes) -> list[pa.Buffer]:
    if shape.kind in _NUMBERS:
        return [pa.py_buffer(cells.astype(_NUMBERS[shape.kind][0]))]
    if shape.kind == "boolean":
        return [pa.py_buffer(np.packbits(cells.astype(bool), bitorder="little"))]
    lengths = np.full_like(cells, shape.size) if shape.kind == "fixed" else cells & LENGTH_MASK
    offsets = _offsets(lengths)
    text = np.zeros(offsets[-1], dtype=np.uint8)
    gather(data, cells, offsets, text)
    return [pa.py_buffer(text)] if shape.kind == "fixed" else [pa.py_buffer(offsets), pa.py_buffer(text)]
