"""Arrow columns to Avro bodies: a shape's layout as the compiled writer wants it, and the calls to that writer."""

import ctypes
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.kernel import END, LENGTH_MASK, OPTION, REPEAT, Bytes, Ints
from headrace.contracts.program import SCALARS
from headrace.contracts.shape import Shape
from headrace.contracts.writer import (
    DONE,
    FULL,
    JUMP,
    LARGE,
    NODE_WORDS,
    NULL,
    PLACE_WORDS,
    RECORD,
    ROW,
    SYMBOL,
    write,
)

_ROW_BYTES = 64  # of a first batch; later ones get what the last needed and a quarter more
_MOST_ROOM = 1 << 26  # bytes to begin with; where they do not suffice, there are twice as many
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


@dataclass(slots=True)
class _Plan:
    """Instructions of ``(op, node, argument, jump)`` with the shape each is of, nodes, and the symbols of all enums.

    A value and whether it is there are one node, since both lie in one Arrow array. The argument is the branch of
    null (option), the number of symbols (enum) or of bytes (fixed). An option jumps behind its value, a repeat to
    its end, an end to its repeat; an enum's jump is its first symbol.
    """

    code: list[list[int]] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    nodes: list[tuple[int, int, bool]] = field(default_factory=list)
    symbols: list[bytes] = field(default_factory=list)

    def add(self, shape: Shape, parent: int, child: int, *, of_record: bool = True) -> None:
        """Append one value, which is that ``child`` of a node."""
        node = self._node(parent, child, of_record=of_record)
        if shape.null is not None:
            option = self._emit(shape, OPTION, node, shape.null)
            self._add_present(shape, node)
            option[JUMP] = len(self.code)
            return
        if shape.kind == "record":
            self._emit(shape, RECORD, node)
        self._add_present(shape, node)

    def add_members(self, shape: Shape, node: int) -> None:
        """Append the members of a record."""
        for child, member in enumerate(shape.fields):
            self.add(member.shape, node, child)

    def _add_present(self, shape: Shape, node: int) -> None:
        if shape.kind == "record":
            self.add_members(shape, node)
        elif shape.kind in ("array", "map"):
            self._add_repeated(shape, node)
        else:
            self._emit(shape, SCALARS[shape.kind], node, shape.size or len(shape.symbols), len(self.symbols))
            self.symbols += [symbol.encode() for symbol in shape.symbols]

    def _add_repeated(self, shape: Shape, node: int) -> None:
        begin = len(self.code)
        repeat = self._emit(shape, REPEAT, node)
        if shape.kind == "map":  # whose one child is a record of keys and values
            pairs = self._node(node, 0, of_record=False)
            for child, part in enumerate(shape.parts):
                self.add(part, pairs, child)
        else:
            self.add(shape.parts[0], node, 0, of_record=False)
        repeat[JUMP] = len(self.code)
        self._emit(shape, END, node, 0, begin)

    def _node(self, parent: int, child: int, *, of_record: bool) -> int:
        self.nodes.append((parent, child, of_record))
        return len(self.nodes) - 1

    def _emit(self, shape: Shape, op: int, node: int, argument: int = 0, jump: int = 0) -> list[int]:
        self.code.append([op, node, argument, jump])
        self.shapes.append(shape)
        return self.code[-1]


class Packer:
    """Writes the records of one shape."""

    def __init__(self, shape: Shape) -> None:
        plan = _Plan(nodes=[(-1, 0, False)])
        plan.add_members(shape, 0)
        self._shapes, self._depth, self._row_bytes = plan.shapes, 1 + shape.depth, _ROW_BYTES
        self._code = np.array(plan.code, np.int64)
        self._nodes = np.array(plan.nodes, np.int64).reshape(-1, NODE_WORDS)
        self._symbols = np.frombuffer(b"".join(plan.symbols), np.uint8)
        self._ends = np.array([0, *accumulate(map(len, plan.symbols))], np.int64)

    def pack(self, columns: pa.RecordBatch, header: bytes) -> pa.BinaryArray:
        """Return one body a row, each behind ``header``, of columns of the shape's own Arrow types.

        Raises ``ValueError`` when a value does not fit the schema, and for more than 2 GiB at once.
        """
        room = len(columns) * (self._row_bytes + self._row_bytes // 4 + len(header))
        out = np.empty(min(room, _MOST_ROOM) + _ROW_BYTES, np.uint8)
        bounds, told = np.zeros(len(columns) + 1, np.int32), np.zeros(2, np.int64)
        while (ended := self._write(columns, header, bounds, out, told)) == FULL:
            more = np.empty(2 * len(out), np.uint8)
            more[: bounds[told[ROW]]] = out[: bounds[told[ROW]]]
            out = more
        if ended != DONE:
            raise ValueError(self._why(ended, *told.tolist()))
        self._row_bytes = max(_ROW_BYTES, int(bounds[-1]) // max(len(columns), 1) + 1)
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(out[: bounds[-1]])]
        return pa.Array.from_buffers(pa.binary(), len(columns), buffers)

    def _write(
        self, columns: pa.RecordBatch, header: bytes, bounds: npt.NDArray[np.int32], out: Bytes, told: Ints
    ) -> int:
        _, held = columns.__arrow_c_array__()  # the struct lives as long as this
        places = np.empty((len(self._nodes), PLACE_WORDS), np.int64)
        index, left = np.zeros((2, self._depth), np.int64)
        plan = (self._code, self._nodes, places, self._symbols, self._ends)
        head = np.frombuffer(header, np.uint8)
        return int(write(_pointer(held, b"arrow_array"), *plan, head, index, left, bounds, out, told))

    def _why(self, ended: int, row: int, at: int) -> str:
        if ended == LARGE:
            return "more than 2 GiB at once; encode fewer records"
        shape = self._shapes[at]
        if ended == NULL:
            return f"row {row}: null where {shape.name or shape.kind} is required"
        if ended == SYMBOL:
            return f"row {row}: {shape.name} has only the symbols {', '.join(shape.symbols)}"
        return f"row {row}: a text of more than {LENGTH_MASK} bytes; no more fit in a record"
