"""A shape as a program: the few instructions that the compiled reader follows.

Every value of a record has a column of 64-bit cells: a number's bits, an index of an enum, the place and length of
a text. An optional value has one more for whether it is there, and so has a repeated one for how many there are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.contracts.kernel import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    FLOAT,
    INT,
    JUMP,
    LONG,
    OPTION,
    REPEAT,
    STRING,
)
from headrace.contracts.shape import Shape

SCALARS = {
    "long": LONG, "string": STRING, "double": DOUBLE, "enum": ENUM, "int": INT, "boolean": BOOLEAN, "bytes": BYTES,
    "float": FLOAT, "fixed": FIXED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions, one a row of ``(op, column, argument, jump)``, and how many columns of cells they fill.

    The argument is the branch of null (option), the fewest bytes of an item (repeat), the last column of the items
    (end), the number of symbols (enum) or of bytes (fixed). An option jumps behind its value, a repeat to its end,
    an end to its repeat.
    """

    code: npt.NDArray[np.int64]
    columns: int
    depth: int


def compile_shape(shape: Shape) -> Program:
    """Return the program for a record."""
    rows: list[list[int]] = []
    columns = _emit(shape, rows, 0)
    return Program(np.array(rows, dtype=np.int64), columns, shape.depth)


def _emit(shape: Shape, rows: list[list[int]], column: int) -> int:
    """Append the instructions of one value; return the next free column."""
    if shape.null is None:
        return _emit_present(shape, rows, column)
    option = [OPTION, column, shape.null, 0]
    rows.append(option)
    column = _emit_present(shape, rows, column + 1)
    option[JUMP] = len(rows)
    return column


def _emit_present(shape: Shape, rows: list[list[int]], column: int) -> int:
    if shape.kind == "record":
        for member in shape.fields:
            column = _emit(member.shape, rows, column)
        return column
    if shape.kind in ("array", "map"):
        return _emit_repeat(shape, rows, column)
    rows.append([SCALARS[shape.kind], column, shape.size or len(shape.symbols), 0])
    return column + 1


def _emit_repeat(shape: Shape, rows: list[list[int]], column: int) -> int:
    begin, length = len(rows), column
    repeat = [REPEAT, length, shape.item_bytes, 0]
    rows.append(repeat)
    for part in shape.parts:
        column = _emit(part, rows, column + 1) - 1
    repeat[JUMP] = len(rows)
    rows.append([END, length, column, begin])
    return column + 1
