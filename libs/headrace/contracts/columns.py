"""Cells as Arrow arrays and back, by walking the shape in the order in which the program numbers its columns."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.contracts.arrow import Mask, absent, filled, refuse_nulls, repeated, validity
from headrace.contracts.kernel import LENGTH_BITS, LENGTH_MASK, Bytes, Ints, gather
from headrace.contracts.shape import Shape

# A column's cells as Arrow holds them. A float's bits are the low half of its cell.
_NUMBERS: dict[str, tuple[Any, Any]] = {
    "long": (np.int64, np.int64), "int": (np.int32, np.int32), "double": (np.int64, np.float64),
    "float": (np.int32, np.float32),
}  # fmt: skip
# The most bytes that a cell takes, a text's own aside: its length is below 2^27. Of an array: its count and its end.
_WIDTHS = {"long": 10, "int": 5, "enum": 5, "double": 8, "float": 4, "boolean": 1, "array": 11, "map": 11}
_OPTION_WIDTH, _TEXT_WIDTH = 1, 4


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


class Flat:
    """Columns taken apart for the writer: the cells of each, and the texts they point into."""

    def __init__(self) -> None:
        self.cells: list[Ints] = []
        self.texts: list[Bytes] = []
        self._size = 0
        self._room = 0

    @property
    def room(self) -> int:
        """Return how many bytes the rows take at most."""
        return self._room + self._size

    def add(self, shape: Shape, column: pa.Array, hidden: Mask = None) -> None:
        """Take a column apart; under a null parent (``hidden``) a required value may be null.

        Raises ``ValueError`` for any other null of a required value, and for a symbol that an enum has not.
        """
        refuse_nulls(column, shape, hidden)
        if shape.null is not None:
            gone = absent(column) if column.null_count else None
            there = np.ones(len(column), np.int64) if gone is None else (~gone).astype(np.int64)
            self._keep(there, _OPTION_WIDTH)
            hidden = gone if hidden is None else hidden if gone is None else gone | hidden
        if shape.kind == "record":
            for i, member in enumerate(shape.fields):
                self.add(member.shape, column.field(i), hidden)
        elif shape.kind in ("array", "map"):
            self._add_repeated(shape, column, hidden)
        else:
            self._keep(self._scalars(shape, column), _WIDTHS.get(shape.kind, _TEXT_WIDTH))

    def _keep(self, cells: Ints, width: int) -> None:
        self.cells.append(cells)
        self._room += width * len(cells)

    def _add_repeated(self, shape: Shape, column: pa.Array, hidden: Mask) -> None:
        if shape.kind == "map":
            column = _as_list(column)
        if hidden is not None and hidden.any():
            # What lies under a null is not written, so it must not be there either.
            column = pc.if_else(pa.array(hidden), pa.scalar(None, column.type), column)
        self._keep(_ints(filled(pc.list_value_length(column), 0)), _WIDTHS[shape.kind])
        inner = column.flatten()
        members = [inner.field(0), inner.field(1)] if shape.kind == "map" else [inner]
        for part, member in zip(shape.parts, members, strict=True):
            self.add(part, member)

    def _scalars(self, shape: Shape, column: pa.Array) -> Ints:
        if shape.kind == "enum":
            return _indices(shape, column)
        if shape.kind == "boolean":
            return _ints(filled(column, value=False))
        if shape.kind in _NUMBERS:
            return _slice(column, _NUMBERS[shape.kind][0], len(column))
        if shape.kind == "fixed":
            width, begin = shape.size, column.offset * shape.size
            ends = begin + width * np.arange(len(column) + 1)
        else:
            ends = _slice(column, np.int32, len(column) + 1)
        return self._texts(ends, column.buffers()[-1])

    def _texts(self, ends: Ints, text: pa.Buffer | None) -> Ints:
        """Keep the bytes between the ends; return the cells that point at them."""
        lengths, first, last = ends[1:] - ends[:-1], int(ends[0]), int(ends[-1])
        if last - first > LENGTH_MASK and lengths.max() > LENGTH_MASK:
            raise ValueError(f"a text of {lengths.max()} bytes; at most {LENGTH_MASK} fit in a record")
        cells: Ints = ((ends[:-1] + (self._size - first)) << LENGTH_BITS) | lengths
        if text is not None:
            self.texts.append(np.frombuffer(text, np.uint8)[first:last])
        self._size += last - first
        return cells


def _slice(column: pa.Array, kind: Any, count: int) -> Ints:
    """Return ``count`` numbers of the column's buffer behind the bitmap, as cells."""
    found = column.buffers()[1]
    if found is None:
        return np.zeros(count, np.int64)
    cells: Ints = np.frombuffer(found, kind)[column.offset : column.offset + count].astype(np.int64)
    return cells


def _as_list(column: pa.MapArray) -> pa.ListArray:
    """Return a map as the list of pairs that it is, so that null maps can be flattened away."""
    pairs = pa.StructArray.from_arrays([column.keys, column.items], names=["key", "value"])
    return pa.Array.from_buffers(
        pa.list_(pairs.type), len(column), column.buffers()[:2], offset=column.offset, children=[pairs]
    )


def _indices(shape: Shape, column: pa.Array) -> Ints:
    found = pc.index_in(column, value_set=shape.values)
    if found.null_count > column.null_count:
        raise ValueError(f"{shape.name} has only the symbols {', '.join(shape.symbols)}")
    return _ints(filled(found, 0))


def _ints(column: pa.Array) -> Ints:
    cells: Ints = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return cells
