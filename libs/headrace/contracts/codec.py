"""Avro bodies to Arrow columns and back, compiled once for all schemas (``plain`` is the same in plain Python)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.contracts.arrow import arrow_schema, fit, spans
from headrace.contracts.columns import build
from headrace.contracts.decoded import Budget, Decoded
from headrace.contracts.kernel import FRAME, REASONS, Ints, read
from headrace.contracts.packing import Packer
from headrace.contracts.program import compile_shape
from headrace.contracts.shape import record_shape

__all__ = ["Budget", "Codec", "Decoded", "warm"]
_SPARE = 64  # cells for repeated values before the first growth
_LARGEST = 1 << 31  # Arrow's texts have 32-bit offsets


class Codec:
    """Decode and encode the records of one schema, a batch at a time."""

    def __init__(self, schema: Mapping[str, Any], budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.shape = record_shape(schema)
        if self.shape.depth > self.budget.depth:
            raise ValueError(f"nested {self.shape.depth} deep; the budget is {self.budget.depth}")
        self.arrow = arrow_schema(schema)
        self._program = compile_shape(self.shape)
        self._packer = Packer(self.shape)
        self._room = 0  # values of the longest column of the last batch

    def decode(self, bodies: Sequence[bytes], skip: int = 0) -> Decoded:
        """Return the columns of the good bodies and a reason for each other; a bad one never harms a neighbour.

        A body begins ``skip`` bytes into its value (``frame.SIZE`` for framed values, whose header was checked).
        Raises ``ValueError`` only for more than 2 GiB at once.
        """
        size = sum(map(len, bodies))
        if size >= _LARGEST:
            raise ValueError(f"{size} bytes at once; decode fewer records")
        return self.unpacked(pa.array(bodies, pa.binary()), skip)

    def unpacked(self, bodies: pa.BinaryArray, skip: int = 0) -> Decoded:
        """Return what :meth:`decode` does; a null body is an empty one."""
        data, ends = spans(bodies)
        bounds = ends.astype(np.int64)
        codes, cells = self._read(data, bounds, skip)
        good = np.flatnonzero(codes == 0)
        member_columns = iter(cells)
        arrays = [build(f.shape, member_columns, data, len(good)) for f in self.shape.fields]
        errors = {int(i): REASONS[codes[i]] for i in np.flatnonzero(codes)}
        return Decoded(pa.RecordBatch.from_arrays(arrays, schema=self.arrow), good, errors)

    def _read(self, data: Any, bounds: Ints, skip: int) -> tuple[Ints, Ints]:
        """Run the reader, with twice the room whenever a batch holds more repeated values than expected."""
        codes = np.zeros(len(bounds) - 1, dtype=np.int64)
        used, before = np.zeros((2, self._program.columns), dtype=np.int64)
        frames = np.zeros((self._program.depth, FRAME), dtype=np.int64)
        cells = np.empty((len(used), max(self._room, len(codes)) + _SPARE), dtype=np.int64)
        fixed = (self._program.code, data, bounds, skip, self.budget.size, self.budget.items)
        at = 0
        while (at := read(*fixed, at, codes, cells, used, before, frames)) < len(codes):
            more = np.empty((len(used), 2 * cells.shape[1]), dtype=np.int64)
            more[:, : used.max()] = cells[:, : used.max()]
            cells = more
        self._room = int(used.max())
        return codes, cells

    def fitted(self, columns: pa.RecordBatch) -> pa.RecordBatch:
        """Return columns of an older or newer writer as this schema has them; see :func:`headrace.contracts.arrow.fit`."""
        return fit(columns, self.shape, self.arrow)

    def encode(self, columns: pa.RecordBatch, header: bytes = b"") -> list[bytes]:
        """Return what :meth:`packed` does as Python bytes."""
        return list(self.packed(columns, header).to_pylist())

    def packed(self, columns: pa.RecordBatch, header: bytes = b"") -> pa.BinaryArray:
        """Return one body a row, each behind ``header``; missing fields take their default, others fall away.

        Raises ``ValueError`` when a value does not fit the schema, and for more than 2 GiB at once.
        """
        return self._packer.pack(self.fitted(columns), header)


def warm() -> None:
    """Compile the kernels, or load them from numba's cache, so that the first batch does not wait for it."""
    schema = {"type": "record", "name": "Warm", "fields": [{"name": "text", "type": "string"}]}
    codec = Codec(schema)
    codec.encode(codec.decode([b"\x02a"]).columns)
