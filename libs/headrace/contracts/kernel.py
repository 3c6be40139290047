"""The compiled reader: a small interpreter of a ``Program``, one compile for all schemas.

It works on flat arrays only. ``cells[column, k]`` is the k-th value of a column as 64 bits; a text or byte string
is its place in the bytes, shifted by ``LENGTH_BITS``, and its length. A place below zero is an error: the negated
code of ``REASONS``.

All that a kernel uses stands in this file, because numba's cache on disk only asks whether this file has changed.
"""

# Flat arguments, early exits and long chains of comparisons are how an interpreter is fast.
# ruff: noqa: C901, PLR0911, PLR0912

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Int: TypeAlias = Any  # 64 bits; inside a kernel neither Python's int nor quite numpy's
Pair: TypeAlias = Any  # a cell, and the place behind its bytes

# Instructions, the frequent ones first: the kernels compare in this order.
LONG, STRING, DOUBLE, ENUM, INT, BOOLEAN, BYTES, FLOAT, FIXED, OPTION, REPEAT, END = range(12)
# What an instruction's four numbers are.
OP, COLUMN, ARGUMENT, JUMP = range(4)
# Why a body is refused, by code; 0 is a good one.
REASONS = (
    "good", "truncated", "trailing-bytes", "bad-varint", "out-of-range", "bad-boolean", "bad-utf8", "bad-index",
    "bad-length", "bad-block", "budget",
)  # fmt: skip
(
    GOOD, TRUNCATED, TRAILING, BAD_VARINT, OUT_OF_RANGE, BAD_BOOLEAN, BAD_UTF8, BAD_INDEX, BAD_LENGTH, BAD_BLOCK, BUDGET,
) = range(len(REASONS))  # fmt: skip
FULL = len(REASONS)  # the reader needs more room in ``cells``; not an error of the record

LENGTH_BITS, LENGTH_MASK = 27, (1 << 27) - 1
_MORE = 0x80  # a varint goes on
_SIGNLESS, _LAST_SHIFT = (1 << 63) - 1, 63
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1
# A frame of the reader: items of the block still to begin, where the block must end (or -1), items of all blocks.
_LEFT, _UNTIL, _TOTAL, FRAME = range(4)
# Well-formed UTF-8 (Unicode, table 3-7): first and last lead, bytes that follow, range of the first that follows.
_LEADS = (
    (0x00, 0x7F, 0, 0x00, 0x00), (0xC2, 0xDF, 1, 0x80, 0xBF), (0xE0, 0xE0, 2, 0xA0, 0xBF),
    (0xE1, 0xEC, 2, 0x80, 0xBF), (0xED, 0xED, 2, 0x80, 0x9F), (0xEE, 0xEF, 2, 0x80, 0xBF),
    (0xF0, 0xF0, 3, 0x90, 0xBF), (0xF1, 0xF3, 3, 0x80, 0xBF), (0xF4, 0xF4, 3, 0x80, 0x8F),
)  # fmt: skip
_NO_LEAD = 255
_LEAD = np.full((256, 3), _NO_LEAD, dtype=np.uint8)
for _first, _last, *_rest in _LEADS:
    _LEAD[_first : _last + 1] = _rest


def inlined(function: Any) -> Any:
    """Compile ``function`` into the kernels that call it.

    Without numba's reference counts: two atomic operations a call made the reader seven times slower. The price is
    that kernels allocate nothing.
    """
    return njit(nogil=True, error_model="numpy", forceinline=True, _nrt=False)(function)


def kernel(function: Any) -> Any:
    """Compile ``function``, kept on disk beside its file, in the user's cache or in ``NUMBA_CACHE_DIR``.

    Where none can be written it is compiled in each process (some seconds). No shared folder such as /tmp is tried:
    numba's cache is a pickle, and we load none that others can write.
    """
    options = {"nogil": True, "error_model": "numpy", "_nrt": False}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)


@inlined
def _long(data: Bytes, at: Int, end: Int) -> Pair:
    """Read a zigzag varint: at most ten bytes, no more than it needs, no bit beyond the 64th."""
    value = np.int64(0)
    shift = 0
    while at < end:
        byte = np.int64(data[at])
        if shift == _LAST_SHIFT and byte > 1:
            return value, -BAD_VARINT
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < _MORE:
            if byte == 0 and shift:
                return value, -BAD_VARINT
            return ((value >> 1) & _SIGNLESS) ^ -(value & 1), at
        shift += 7
    return value, -TRUNCATED


@inlined
def _bits(data: Bytes, at: Int, end: Int, width: Int) -> Pair:
    """Read a little-endian number of ``width`` bytes as bits."""
    value = np.int64(0)
    if width > end - at:
        return value, -TRUNCATED
    for place in range(width):
        value |= np.int64(data[np.uint64(at + place)]) << (8 * place)
    return value, at + width


@inlined
def _utf8(data: Bytes, at: Int, end: Int) -> bool:
    """Say whether bytes are well-formed UTF-8."""
    union = np.uint8(0)
    for place in range(np.uint64(at), np.uint64(end)):
        union |= data[place]
    if union < _MORE:
        return True
    while at < end:
        follow, low, high = _LEAD[data[at]]
        at += 1
        if follow == _NO_LEAD or follow > end - at:
            return False
        for _ in range(follow):
            if data[at] < low or data[at] > high:
                return False
            low, high = np.uint8(0x80), np.uint8(0xBF)
            at += 1
    return True


@inlined
def _span(at: Int, end: Int, length: Int) -> Pair:
    """Pass ``length`` bytes; the cell says where they are."""
    if length < 0 or length > end - at:
        return np.int64(0), -BAD_LENGTH if length < 0 else -TRUNCATED
    return (at << LENGTH_BITS) | length, at + length


@inlined
def _scalar(op: Int, argument: Int, data: Bytes, at: Int, end: Int) -> Pair:
    """Read one scalar; return its cell and the place behind it."""
    if op == DOUBLE:
        return _bits(data, at, end, 8)
    if op == FLOAT:
        return _bits(data, at, end, 4)
    if op == FIXED:
        return _span(at, end, argument)
    if op == BOOLEAN:
        value, at = _bits(data, at, end, 1)
        return value, (-BAD_BOOLEAN if at > 0 and value > 1 else at)
    value, at = _long(data, at, end)
    if at < 0 or op == LONG:
        return value, at
    if op == ENUM:
        return value, (at if 0 <= value < argument else -BAD_INDEX)
    if op == INT:
        return value, (at if _INT_MIN <= value <= _INT_MAX else -OUT_OF_RANGE)
    cell, after = _span(at, end, value)
    if op == STRING and after > 0 and not _utf8(data, at, after):
        return cell, -BAD_UTF8
    return cell, after


@inlined
def _absent(code: Ints, pc: Int, stop: Int, cells: Ints, used: Ints) -> None:
    """Fill the columns of an absent value, so that members stay as long as what holds them."""
    while pc < stop:
        column = code[pc, COLUMN]
        cells[column, used[column]] = 0
        used[column] += 1
        pc = code[pc, JUMP] + 1 if code[pc, OP] == REPEAT else pc + 1


@inlined
def _block(data: Bytes, at: Int, end: Int, width: Int, frame: Ints) -> Int:
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
        if size < 0 or size > end - at:
            return -BAD_BLOCK if size < 0 else -TRUNCATED
        count = -count
        frame[_UNTIL] = at + size
    # The least 64-bit number is its own negation.
    if count < 0 or count > (end - at) // width:
        return -TRUNCATED
    frame[_LEFT] = count
    frame[_TOTAL] += count
    return at


@inlined
def _roomy(first: Int, last: Int, count: Int, cells: Ints, used: Ints) -> bool:
    """Say whether ``count`` more values fit in each of the columns."""
    fullest = np.int64(0)
    for column in range(first, last + 1):
        fullest = max(fullest, used[column])
    return bool(fullest + count <= cells.shape[1])


@inlined
def _read_record(
    code: Ints, data: Bytes, at: Int, end: Int, items: Int, cells: Ints, used: Ints, frames: Ints
) -> Int:
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


@inlined
def _copy(source: Ints, target: Ints) -> None:
    for i in range(len(source)):
        target[i] = source[i]


@kernel
def read(
    code: Ints, data: Bytes, bounds: Ints, skip: Int, size: Int, items: Int,
    first: Int, codes: Ints, cells: Ints, used: Ints, before: Ints, frames: Ints,
) -> Int:  # fmt: skip
    """Read the bodies from ``first`` on; return the first that had no room, or how many there are.

    Body ``i`` is ``data[bounds[i] + skip : bounds[i + 1]]``, of at most ``size`` bytes and ``items`` items. Its code
    goes to ``codes[i]``; the cells of the good ones follow each other without a gap, ``used`` in each column.
    """
    for record in range(first, len(codes)):
        begin, end = bounds[record] + skip, bounds[record + 1]
        _copy(used, before)
        if begin > end:
            found = TRUNCATED
        elif end - begin > size:
            found = BUDGET
        else:
            found = _read_record(code, data, begin, end, items, cells, used, frames)
        if found != GOOD:
            _copy(before, used)
        if found == FULL:
            return record
        codes[record] = found
    return len(codes)


@inlined
def _copy_bytes(source: Bytes, begin: Int, length: Int, target: Bytes, to: Int) -> None:
    # numba bends a signed index round the end of the array, which no vector instruction does.
    first, second = np.uint64(begin), np.uint64(to)
    for place in range(np.uint64(length)):
        target[second + place] = source[first + place]


@kernel
def gather(data: Bytes, cells: Ints, offsets: npt.NDArray[np.int32], text: Bytes) -> None:
    """Copy the bytes that ``cells`` point at into ``text``, each to where ``offsets`` say."""
    for row in range(len(cells)):
        _copy_bytes(data, cells[row] >> LENGTH_BITS, cells[row] & LENGTH_MASK, text, offsets[row])
