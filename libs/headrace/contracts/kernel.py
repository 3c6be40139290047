"""The compiled reader and writer: two small interpreters of a ``Program``, one compile for all schemas.

They work on flat arrays only. ``cells[column, k]`` is the k-th value of a column as 64 bits; a text or byte string
is its place in the bytes, shifted by ``LENGTH_BITS``, and its length. A place below zero is an error: the negated
code of ``decoded``.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

from headrace.contracts.decoded import (
    BAD_BLOCK,
    BAD_BOOLEAN,
    BAD_INDEX,
    BAD_LENGTH,
    BAD_UTF8,
    BAD_VARINT,
    BUDGET,
    GOOD,
    OUT_OF_RANGE,
    TRAILING,
    TRUNCATED,
)
from headrace.contracts.program import (
    ARGUMENT,
    BOOLEAN,
    BYTES,
    COLUMN,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    FLOAT,
    INT,
    JUMP,
    LONG,
    OP,
    OPTION,
    REPEAT,
    STRING,
)

F = TypeVar("F", bound=Callable[..., Any])
Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
LENGTH_BITS = 27
LENGTH_MASK = (1 << LENGTH_BITS) - 1
# The most bytes a number takes, with one more for a union's branch or the end of an array.
WIDEST = 11
# The reader needs more room in ``cells``; not an error of the record.
FULL = 99
_MORE = 0x80
_SIGNLESS = (1 << 63) - 1
_LAST_SHIFT = 63
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1
# A frame of the reader: items of the block still to begin, where the block must end (or -1), items of all blocks.
_LEFT, _UNTIL, _TOTAL = range(3)


def compiled(function: F) -> F:
    """Compile ``function``, kept on disk beside its file, in the user's cache or in ``NUMBA_CACHE_DIR``.

    Where none of them can be written the function is compiled anew in each process (some seconds). No shared folder
    such as /tmp is tried: numba's cache is a pickle, and we load none that others can write.
    """
    try:
        kept: F = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        kept = njit(nogil=True)(function)
    return kept


@compiled
def _long(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Read a zigzag varint: at most ten bytes, no more than it needs, no bit beyond the 64th."""
    value = 0
    shift = 0
    while at < end:
        byte = np.int64(data[at])
        if shift == _LAST_SHIFT and byte > 1:
            return 0, -BAD_VARINT
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < _MORE:
            if byte == 0 and shift:
                return 0, -BAD_VARINT
            return ((value >> 1) & _SIGNLESS) ^ -(value & 1), at
        shift += 7
    return 0, -TRUNCATED


@compiled
def _bits(data: Bytes, at: int, end: int, width: int) -> tuple[int, int]:
    """Read a little-endian number of ``width`` bytes as bits."""
    if width > end - at:
        return 0, -TRUNCATED
    value = 0
    for place in range(width):
        value |= np.int64(data[at + place]) << (8 * place)
    return value, at + width


@compiled
def _utf8(data: Bytes, at: int, end: int) -> bool:
    """Say whether bytes are well-formed UTF-8 (Unicode 16, table 3-7)."""
    union = np.uint8(0)
    for place in range(at, end):
        union |= data[place]
    if union < _MORE:
        return True
    while at < end:
        lead = data[at]
        low, high, follow = 0x80, 0xBF, 0
        if lead < 0x80:
            follow = 0
        elif 0xC2 <= lead <= 0xDF:
            follow = 1
        elif 0xE0 <= lead <= 0xEF:
            follow = 2
            low = 0xA0 if lead == 0xE0 else 0x80  # no form longer than needed
            high = 0x9F if lead == 0xED else 0xBF  # no surrogates
        elif 0xF0 <= lead <= 0xF4:
            follow = 3
            low = 0x90 if lead == 0xF0 else 0x80
            high = 0x8F if lead == 0xF4 else 0xBF  # nothing beyond U+10FFFF
        else:
            return False
        if follow >= end - at:
            return False
        for place in range(at + 1, at + 1 + follow):
            if not low <= data[place] <= high:
                return False
            low, high = 0x80, 0xBF
        at += 1 + follow
    return True


@compiled
def _span(data: Bytes, at: int, end: int, length: int) -> tuple[int, int]:
    """Pass ``length`` bytes; the cell says where they are."""
    if length < 0:
        return 0, -BAD_LENGTH
    if length > end - at:
        return 0, -TRUNCATED
    return (at << LENGTH_BITS) | length, at + length


@compiled
def _scalar(op: int, argument: int, data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Read one scalar; return its cell and the place behind it."""
    if op == DOUBLE:
        return _bits(data, at, end, 8)
    if op == FLOAT:
        return _bits(data, at, end, 4)
    if op == FIXED:
        return _span(data, at, end, argument)
    if op == BOOLEAN:
        value, at = _bits(data, at, end, 1)
        return value, (at if value in (0, 1) else -BAD_BOOLEAN)
    value, at = _long(data, at, end)
    if at < 0 or op == LONG:
        return value, at
    if op == ENUM:
        return value, (at if 0 <= value < argument else -BAD_INDEX)
    if op == INT:
        return value, (at if _INT_MIN <= value <= _INT_MAX else -OUT_OF_RANGE)
    cell, after = _span(data, at, end, value)
    if op == STRING and after > 0 and not _utf8(data, at, after):
        return 0, -BAD_UTF8
    return cell, after


@compiled
def _absent(code: Ints, pc: int, stop: int, cells: Ints, used: Ints) -> None:
    """Fill the columns of an absent value, so that members stay as long as what holds them."""
    while pc < stop:
        column = code[pc, COLUMN]
        cells[column, used[column]] = 0
        used[column] += 1
        pc = code[pc, JUMP] + 1 if code[pc, OP] == REPEAT else pc + 1


@compiled
def _block(data: Bytes, at: int, end: int, width: int, frame: Ints) -> int:
    """Read the header of an array's next block into ``frame``; return the place of its first item."""
    if frame[_UNTIL] >= 0 and at != frame[_UNTIL]:
        return -BAD_BLOCK
    frame[_UNTIL] = -1
    count, at = _long(data, at, end)
    if at < 0:
        return at
    if count < 0:
        size, at = _long(data, at, end)
        if at < 0:
            return at
        if size < 0:
            return -BAD_BLOCK
        if size > end - at:
            return -TRUNCATED
        count = -count
        frame[_UNTIL] = at + size
    # The least 64-bit number is its own negation.
    if count < 0 or count > (end - at) // width:
        return -TRUNCATED
    frame[_LEFT] = count
    frame[_TOTAL] += count
    return at


@compiled
def _roomy(first: int, last: int, count: int, cells: Ints, used: Ints) -> bool:
    """Say whether ``count`` more values fit in each of the columns."""
    for column in range(first, last + 1):
        if used[column] + count > cells.shape[1]:
            return False
    return True


@compiled
def _read_record(
    code: Ints, data: Bytes, at: int, end: int, items: int, cells: Ints, used: Ints, frames: Ints
) -> int:
    """Read one body into ``cells``; return its code. A body that is refused may leave cells behind."""
    pc = 0
    deep = -1
    while pc < len(code):
        op, column, argument = code[pc, OP], code[pc, COLUMN], code[pc, ARGUMENT]
        if op < OPTION:
            value, at = _scalar(op, argument, data, at, end)
            if at < 0:
                return -at
        elif op == OPTION:
            branch, at = _long(data, at, end)
            if at < 0:
                return -at
            if branch not in (0, 1):
                return BAD_INDEX
            value = np.int64(branch != argument)
            if not value:
                _absent(code, pc + 1, code[pc, JUMP], cells, used)
                pc = code[pc, JUMP] - 1
        elif op == REPEAT:
            deep += 1
            frames[deep, _LEFT], frames[deep, _UNTIL], frames[deep, _TOTAL] = 0, -1, 0
            pc = code[pc, JUMP]
            continue
        else:
            frame = frames[deep]
            if not frame[_LEFT]:
                at = _block(data, at, end, code[code[pc, JUMP], ARGUMENT], frame)
                if at < 0:
                    return -at
                items -= frame[_LEFT]
                if items < 0:
                    return BUDGET
                if not _roomy(column + 1, argument, frame[_LEFT], cells, used):
                    return FULL
            if frame[_LEFT]:
                frame[_LEFT] -= 1
                pc = code[pc, JUMP] + 1
                continue
            value = frame[_TOTAL]
            deep -= 1
        cells[column, used[column]] = value
        used[column] += 1
        pc += 1
    return GOOD if at == end else TRAILING


@compiled
def read(
    code: Ints, data: Bytes, bounds: Ints, skip: int, size: int, items: int,
    first: int, codes: Ints, cells: Ints, used: Ints, frames: Ints,
) -> int:  # fmt: skip
    """Read the bodies from ``first`` on; return the first that had no room, or how many there are.

    Body ``i`` is ``data[bounds[i] + skip : bounds[i + 1]]``, of at most ``size`` bytes and ``items`` items. Its code
    goes to ``codes[i]``; the cells of the good ones follow each other without a gap.
    """
    before = used.copy()
    for record in range(first, len(codes)):
        before[:] = used
        begin, end = bounds[record] + skip, bounds[record + 1]
        if begin > end:
            codes[record] = TRUNCATED
            continue
        found = BUDGET
        if end - begin <= size:
            found = _read_record(code, data, begin, end, items, cells, used, frames)
        if found != GOOD:
            used[:] = before
        if found == FULL:
            return record
        codes[record] = found
    return len(codes)


@compiled
def gather(data: Bytes, cells: Ints, offsets: npt.NDArray[np.int32], text: Bytes) -> None:
    """Copy the bytes that ``cells`` point at into ``text``, where ``offsets`` say."""
    for row in range(len(cells)):
        at = cells[row] >> LENGTH_BITS
        to = offsets[row]
        for place in range(offsets[row + 1] - to):
            text[to + place] = data[at + place]


@compiled
def _put_long(out: Bytes, at: int, value: int) -> int:
    rest = (value << 1) ^ (value >> 63)
    while rest & ~0x7F:
        out[at] = (rest & 0x7F) | _MORE
        rest = (rest >> 7) & (_SIGNLESS >> 6)
        at += 1
    out[at] = rest
    return at + 1


@compiled
def _put_bits(out: Bytes, at: int, value: int, width: int) -> int:
    for place in range(width):
        out[at + place] = (value >> (8 * place)) & 0xFF
    return at + width


@compiled
def _put_scalar(op: int, value: int, data: Bytes, out: Bytes, at: int) -> int:
    """Write one cell; return the place behind it."""
    if op in (LONG, ENUM, INT):
        return _put_long(out, at, value)
    if op == DOUBLE:
        return _put_bits(out, at, value, 8)
    if op == FLOAT:
        return _put_bits(out, at, value, 4)
    if op == BOOLEAN:
        return _put_bits(out, at, value, 1)
    begin, length = value >> LENGTH_BITS, value & LENGTH_MASK
    if op != FIXED:
        at = _put_long(out, at, length)
    for place in range(length):
        out[at + place] = data[begin + place]
    return at + length


@compiled
def _skip(code: Ints, pc: int, stop: int, used: Ints) -> None:
    """Pass over the cells of an absent value."""
    while pc < stop:
        used[code[pc, COLUMN]] += 1
        pc = code[pc, JUMP] + 1 if code[pc, OP] == REPEAT else pc + 1


@compiled
def _write_record(
    code: Ints, data: Bytes, cells: Ints, starts: Ints, used: Ints, left: Ints, out: Bytes, at: int
) -> int:
    """Write one row behind ``at``; return where it ends. An array is one block, as fastavro writes it."""
    pc = 0
    deep = -1
    while pc < len(code):
        op, column = code[pc, OP], code[pc, COLUMN]
        if op == END:
            if left[deep]:
                left[deep] -= 1
                pc = code[pc, JUMP] + 1
                continue
            at = _put_long(out, at, 0)
            deep -= 1
            pc += 1
            continue
        value = cells[starts[column] + used[column]]
        used[column] += 1
        if op < OPTION:
            at = _put_scalar(op, value, data, out, at)
        elif op == OPTION:
            null = code[pc, ARGUMENT]
            at = _put_long(out, at, 1 - null if value else null)
            if not value:
                _skip(code, pc + 1, code[pc, JUMP], used)
                pc = code[pc, JUMP] - 1
        else:
            deep += 1
            left[deep] = value
            pc = code[pc, JUMP]
            if value:
                at = _put_long(out, at, value)
            continue
        pc += 1
    return at


@compiled
def write(
    code: Ints, data: Bytes, cells: Ints, starts: Ints, header: Bytes, bounds: Ints, depth: int, out: Bytes
) -> None:
    """Write every row behind ``header``; ``bounds[i + 1]`` is where row ``i`` ends in ``out``.

    Here ``cells`` is flat, and column ``c`` begins at ``starts[c]``.
    """
    used = np.zeros(len(starts), dtype=np.int64)
    left = np.zeros(depth, dtype=np.int64)
    at = 0
    for row in range(len(bounds) - 1):
        for byte in header:
            out[at] = byte
            at += 1
        at = _write_record(code, data, cells, starts, used, left, out, at)
        bounds[row + 1] = at
