"""The tiles of groups, as packed integers: how a state row holds them, and the kernels that work on them.

A row's cells are, for each of its windows that holds anything: the window's number, how many tiles it has, the tiles,
their sums and their counts, the tiles in the order of time. While a batch is worked on, the tiles of a group's window
lie in a slot: ``start[slot]`` and ``used[slot]`` say where. The slots of a group follow each other, one a window.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headrace.contracts.kernel import Int, Ints, inlined, kernel

GroupRow = tuple["array[int]", int]
COLUMNS = pa.schema([("cells", pa.list_(pa.int64())), ("due", pa.int64())])


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """What the kernels know of windows: numbers, and microseconds of a tile and of the window."""

    numbers: Ints
    tile: Ints
    window: Ints


class Slots(NamedTuple):
    """Tiles, sums and counts of the windows of groups, with room for what a batch adds."""

    start: Ints
    used: Ints
    tiles: Ints
    sums: Ints
    counts: Ints


def laid_out(rows: Sequence[GroupRow | None], sizes: Sizes, room: Ints) -> Slots:
    """Lay the tiles of rows out, with ``room`` for more in each slot."""
    held = [row[0] if row else b"" for row in rows]
    bounds = np.concatenate([[0], np.cumsum([len(cells) for cells in held])]).astype(np.int64)
    cells = np.frombuffer(b"".join(held), np.int64)
    used = np.zeros(len(room), np.int64)
    _count(cells, bounds, sizes.numbers, used)
    start = np.concatenate([[0], np.cumsum(used + room)]).astype(np.int64)
    slots = Slots(start[:-1], used, *np.zeros((3, int(start[-1])), np.int64))
    _load(cells, bounds, sizes.numbers, slots.start, slots.tiles, slots.sums, slots.counts)
    return slots


def packed(slots: Slots, sizes: Sizes, groups: Ints) -> Iterator[GroupRow]:
    """Yield the rows of groups."""
    used = slots.used.reshape(-1, len(sizes.numbers))[groups]
    bounds = np.concatenate([[0], np.cumsum((2 * (used > 0) + 3 * used).sum(axis=1))]).astype(np.int64)
    cells, dues = np.empty(int(bounds[-1]), np.int64), np.empty(len(groups), np.int64)
    _pack(groups, *slots, sizes.numbers, sizes.tile, sizes.window, bounds, cells, dues)
    whole, ends = array("q", cells.tobytes()), bounds.tolist()
    for n, due in enumerate(dues.tolist()):
        yield whole[ends[n] : ends[n + 1]], due


@inlined
def _due(newest: Int, tile: Int, window: Int) -> Int:
    """Return when a window's tiles are forgotten: two spans after the end of the newest."""
    return (newest + 1) * tile + 2 * window


def kept(cells: "array[int]", windows: Mapping[int, tuple[int, int]], time: int) -> GroupRow | None:
    """Return what is left of a row at a time: the tiles of windows that are not due yet.

    ``windows`` gives the sizes of tile and window by number; what it does not know is forgotten.
    """
    left, dues, at = array("q"), [], 0
    while at < len(cells):
        end, last = at + 2 + 3 * cells[at + 1], cells[at + 1 + cells[at + 1]]
        if cells[at] in windows and (due := _due.py_func(last, *windows[cells[at]])) > time:
            left += cells[at:end]
            dues.append(due)
        at = end
    return (left, min(dues)) if dues else None


@kernel
def _count(cells: Any, bounds: Ints, numbers: Ints, used: Ints) -> None:
    for group in range(len(bounds) - 1):
        at = bounds[group]
        while at < bounds[group + 1]:
            for w in range(len(numbers)):
                if numbers[w] == cells[at]:
                    used[group * len(numbers) + w] = cells[at + 1]
            at += 2 + 3 * cells[at + 1]


@kernel
def _load(
    cells: Any, bounds: Ints, numbers: Ints, start: Ints, tiles: Ints, sums: Ints, counts: Ints
) -> None:
    for group in range(len(bounds) - 1):
        at = bounds[group]
        while at < bounds[group + 1]:
            count = cells[at + 1]
            for w in range(len(numbers)):
                if numbers[w] == cells[at]:
                    first = start[group * len(numbers) + w]
                    for n in range(count):
                        tiles[first + n] = cells[at + 2 + n]
                        sums[first + n] = cells[at + 2 + count + n]
                        counts[first + n] = cells[at + 2 + 2 * count + n]
            at += 2 + 3 * count


@kernel
def count(codes: Ints, known: Any, room: Ints, touched: Any) -> None:
    """Count what is added to each slot, and tell which groups get anything."""
    for i in range(len(codes)):
        for w in range(known.shape[1]):
            if known[i, w]:
                room[codes[i] * known.shape[1] + w] += 1
                touched[codes[i]] = True


@inlined
def _place(tiles: Ints, first: Int, last: Int, at: Int) -> Int:
    """Return the place of a tile, ``last`` when there is none; most values are new."""
    j = last - 1
    while j >= first and tiles[j] != at:
        j -= 1
    return last if j < first else j


@inlined
def _newest(tiles: Ints, first: Int, last: Int) -> Int:
    newest = tiles[first]
    for j in range(first + 1, last):
        newest = max(newest, tiles[j])
    return newest


@kernel
def run(
    order: Ints, codes: Ints, times: Ints, values: Ints, known: Any, tile: Ints, window: Ints,
    start: Ints, used: Ints, tiles: Ints, sums: Ints, counts: Ints, latest: Ints, totals: Ints, sizes: Ints,
) -> None:  # fmt: skip
    """Go through operations in order, questions first as they are numbered.

    ``values`` and ``known`` have a row for each addition; ``totals`` and ``sizes`` take a row for each question: what it
    finds in each window. ``latest`` is room for a number of each slot.
    """
    asked = len(totals)
    for slot in range(len(start)):
        if used[slot]:
            latest[slot] = _newest(tiles, start[slot], start[slot] + used[slot])
    for i in order:
        for w in range(len(tile)):
            slot = codes[i] * len(tile) + w
            at, first, last = times[i] // tile[w], start[slot], start[slot] + used[slot]
            if i >= asked and known[i - asked, w]:
                j = _place(tiles, first, last, at)
                used[slot] += j == last
                tiles[j] = at
                latest[slot] = at if last == first else max(latest[slot], at)
                sums[j] += values[i - asked, w]
                counts[j] += 1
            elif i < asked and last > first:
                span = window[w] // tile[w]
                oldest = max(at - span, latest[slot] - 2 * span)
                for j in range(first, last):
                    if oldest < tiles[j] <= at:
                        totals[i, w] += sums[j]
                        sizes[i, w] += counts[j]


@kernel
def trim(tile: Ints, window: Ints, start: Ints, used: Ints, tiles: Ints, sums: Ints, counts: Ints) -> None:
    """Sort each slot's tiles by time and forget those two spans older than its newest."""
    for slot in range(len(used)):
        first, end = start[slot], start[slot] + used[slot]
        if end == first:
            continue
        span = window[slot % len(tile)] // tile[slot % len(tile)]
        newest, left = _newest(tiles, first, end), 0
        for j in range(first, end):
            at, total, count = tiles[j], sums[j], counts[j]
            if at <= newest - 2 * span:
                continue
            k = first + left
            while k > first and tiles[k - 1] > at:
                tiles[k], sums[k], counts[k] = tiles[k - 1], sums[k - 1], counts[k - 1]
                k -= 1
            tiles[k], sums[k], counts[k] = at, total, count
            left += 1
        used[slot] = left


@kernel
def _pack(
    groups: Ints, start: Ints, used: Ints, tiles: Ints, sums: Ints, counts: Ints,
    numbers: Ints, tile: Ints, window: Ints, bounds: Ints, cells: Ints, dues: Ints,
) -> None:  # fmt: skip
    for n in range(len(groups)):
        at, due = bounds[n], np.int64(0)
        for w in range(len(numbers)):
            slot = groups[n] * len(numbers) + w
            count, first = used[slot], start[slot]
            if count == 0:
                continue
            own = _due(tiles[first + count - 1], tile[w], window[w])
            due = own if at == bounds[n] else min(due, own)
            cells[at], cells[at + 1] = numbers[w], count
            for k in range(count):
                cells[at + 2 + k] = tiles[first + k]
                cells[at + 2 + count + k] = sums[first + k]
                cells[at + 2 + 2 * count + k] = counts[first + k]
            at += 2 + 3 * count
        dues[n] = due


def warm() -> None:
    """Compile the kernels and leave them in the cache on disk."""
    none, table, flags = np.zeros(0, np.int64), np.zeros((0, 0), np.int64), np.zeros((0, 0), bool)
    slots = laid_out([], Sizes(none, none, none), none)
    count(none, flags, none, np.zeros(0, bool))
    run(none, none, none, table, flags, none, none, *slots, none, table, table)
    trim(none, none, *slots)
    _pack(none, *slots, none, none, none, np.zeros(1, np.int64), none, none)
