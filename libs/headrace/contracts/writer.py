"""The compiled writer: a small interpreter that reads Arrow's columns where they lie and writes Avro.

A column is a ``struct ArrowArray`` of Arrow's C data interface
(https://arrow.apache.org/docs/format/CDataInterface.html), in words of 64 bits.

numba's cache on disk only asks whether this file has changed: what is changed in ``pointers``, or of the numbers of
``kernel``, reaches a cached kernel only with a change here.
"""

# Flat arguments, early exits and long chains of comparisons are how an interpreter is fast.
# ruff: noqa: C901, PLR0912

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.contracts.kernel import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    INT,
    LENGTH_MASK,
    LONG,
    OPTION,
    REPEAT,
    STRING,
    Bytes,
    Int,
    Ints,
    inlined,
    kernel,
)
from headrace.contracts.pointers import byte_at, half_at, word_at

Bounds: TypeAlias = npt.NDArray[np.int32]

RECORD = END + 1  # a required record within another: it only must be there
# What an instruction's four numbers are.
OP, NODE, ARGUMENT, JUMP = range(4)
# Of a node: the one it is a child of (-1 for the rows themselves), which child, and whether that one is a record.
PARENT, CHILD, OF_RECORD, NODE_WORDS = range(4)
# Where a node lies: its bitmap (0 for one without nulls), its other two buffers, its first value, its struct.
_VALID, _FIRST, _SECOND, _OFFSET, _ADDRESS, PLACE_WORDS = range(6)
# How a call ended. ``told`` then names the row it stands at, and the instruction.
DONE, FULL, NULL, SYMBOL, TEXT, LARGE = range(6)
ROW, AT = range(2)
_STATUS_BITS, _STATUS_MASK = 3, 7

_NULL_COUNT, _FROM, _BUFFER_COUNT, _CHILD_COUNT, _BUFFERS, _CHILDREN = range(1, 7)
_SIGNLESS, _MORE = (1 << 63) - 1, 0x80
_ROOM = 16  # bytes; more than any value takes, a text's own aside
_LARGEST = (1 << 31) - 1  # Arrow's texts have 32-bit offsets


@inlined
def _locate(root: Int, nodes: Ints, places: Ints) -> None:
    """Find the buffers of every node. A record's slice does not show in its members, a list's offsets do."""
    for n in range(len(nodes)):
        parent = nodes[n, PARENT]
        address = root
        if parent >= 0:
            address = word_at(word_at(places[parent, _ADDRESS], _CHILDREN), nodes[n, CHILD])
        buffers, count = word_at(address, _BUFFERS), word_at(address, _BUFFER_COUNT)
        places[n, _ADDRESS] = address
        places[n, _OFFSET] = word_at(address, _FROM)
        if nodes[n, OF_RECORD]:
            places[n, _OFFSET] += places[parent, _OFFSET]
        places[n, _VALID] = word_at(buffers, 0) if word_at(address, _NULL_COUNT) else 0
        places[n, _FIRST] = word_at(buffers, 1) if count > 1 else 0
        places[n, _SECOND] = word_at(buffers, 2) if count > 2 else 0  # noqa: PLR2004 -- the third


@inlined
def _bit_at(address: Int, place: Int) -> Int:
    return (byte_at(address, place >> 3) >> (place & 7)) & 1


@inlined
def _put_long(out: Bytes, at: Int, value: Int) -> Int:
    rest = (value << 1) ^ (value >> 63)
    while rest & ~0x7F:
        out[at] = (rest & 0x7F) | _MORE
        rest = (rest >> 7) & (_SIGNLESS >> 6)
        at += 1
    out[at] = rest
    return at + 1


@inlined
def _put_bits(out: Bytes, at: Int, value: Int, width: Int) -> Int:
    for place in range(width):
        out[np.uint64(at + place)] = (value >> (8 * place)) & 0xFF
    return at + width


@inlined
def _put_bytes(out: Bytes, at: Int, address: Int, begin: Int, length: Int) -> Int:
    # numba bends a signed index round the end of the array, which no vector instruction does.
    first = np.uint64(at)
    for place in range(np.uint64(length)):
        out[first + place] = byte_at(address, np.int64(begin) + np.int64(place))
    return at + length


@inlined
def _put_number(op: Int, address: Int, place: Int, out: Bytes, at: Int) -> Int:
    if op == LONG:
        return _put_long(out, at, word_at(address, place))
    if op == DOUBLE:
        return _put_bits(out, at, word_at(address, place), 8)
    if op == INT:
        return _put_long(out, at, half_at(address, place))
    if op == BOOLEAN:
        return _put_bits(out, at, _bit_at(address, place), 1)
    return _put_bits(out, at, half_at(address, place), 4)


@inlined
def _put_text(address: Int, begin: Int, length: Int, out: Bytes, at: Int) -> Int:
    if length > LENGTH_MASK:
        return -TEXT
    at = _put_long(out, at, length)
    if at + length > len(out):
        return -FULL
    return _put_bytes(out, at, address, begin, length)


@inlined
def _put_symbol(
    symbols: Bytes, ends: Ints, first: Int, count: Int, address: Int, length: Int, out: Bytes, at: Int
) -> Int:
    """Write which of an enum's symbols stands at an address."""
    for n in range(count):
        begin = ends[first + n]
        if ends[first + n + 1] - begin == length:
            place = 0
            while place < length and symbols[begin + place] == byte_at(address, place):
                place += 1
            if place == length:
                return _put_long(out, at, n)
    return -SYMBOL


@inlined
def _write_row(
    code: Ints, places: Ints, symbols: Bytes, ends: Ints, index: Ints, left: Ints, out: Bytes, at: Int
) -> Int:  # fmt: skip
    """Write one row behind ``at``; return where it ends, or, below zero, how and at which instruction it failed.

    An array is one block, as fastavro writes it. ``index`` and ``left`` hold for each depth which value is next, and
    how many items are to come.
    """
    pc = 0
    deep = 0
    while pc < len(code):
        if at + _ROOM > len(out):
            return -FULL
        op, node, argument, jump = code[pc, OP], code[pc, NODE], code[pc, ARGUMENT], code[pc, JUMP]
        pc += 1
        if op == END:
            if left[deep]:
                left[deep] -= 1
                index[deep] += 1
                pc = jump + 1
            else:
                at = _put_long(out, at, 0)
                deep -= 1
            continue
        first, place = places[node, _FIRST], index[deep] + places[node, _OFFSET]
        there = places[node, _VALID] == 0 or _bit_at(places[node, _VALID], place)
        if op == OPTION:
            at = _put_long(out, at, 1 - argument if there else argument)
            pc = pc if there else jump
        elif not there:
            at = -NULL
        elif op == FIXED:
            at = -FULL if at + argument > len(out) else _put_bytes(out, at, first, place * argument, argument)
        elif op in (STRING, BYTES, ENUM, REPEAT):
            begin = half_at(first, place)
            length = half_at(first, place + 1) - begin
            if op == REPEAT:
                deep += 1
                left[deep], index[deep] = length, begin - 1
                if length:
                    at = _put_long(out, at, length)
                pc = jump
            elif op == ENUM:
                at = _put_symbol(
                    symbols, ends, jump, argument, places[node, _SECOND] + begin, length, out, at
                )
            else:
                at = _put_text(places[node, _SECOND], begin, length, out, at)
        elif op != RECORD:
            at = _put_number(op, first, place, out, at)
        if at < 0:
            return at - ((pc - 1) << _STATUS_BITS)
    return at


@kernel
def write(
    root: Int, code: Ints, nodes: Ints, places: Ints, symbols: Bytes, ends: Ints, header: Bytes,
    index: Ints, left: Ints, bounds: Bounds, out: Bytes, told: Ints,
) -> Int:  # fmt: skip
    """Write the rows of the struct at ``root`` from ``told[ROW]`` on, each behind ``header``; return how it ended.

    Row ``i`` ends at ``bounds[i + 1]`` of ``out``.
    """
    _locate(root, nodes, places)
    at = np.int64(bounds[told[ROW]])
    for row in range(told[ROW], len(bounds) - 1):
        told[ROW] = row
        if at + len(header) > len(out):
            return FULL
        for place in range(len(header)):
            out[at + place] = header[place]
        index[0] = row
        at = _write_row(code, places, symbols, ends, index, left, out, at + len(header))
        if at < 0:
            told[AT] = -at >> _STATUS_BITS
            return -at & _STATUS_MASK
        if at > _LARGEST:
            return LARGE
        bounds[row + 1] = at
    return DONE
