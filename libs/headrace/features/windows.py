"""Windowed aggregates as event-time tiles per group: exact, in log order, the same however batches are cut.

A tile holds the sum (in whole multiples of 10^-decimals) and the count of the values whose event time falls in
it. The window at time t covers the tiles from that of t back over its span. A group forgets what is more than
two spans older than its newest tile, by rule and not by chance of eviction, so state stays small.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from headrace.contracts.arrow import arrow_schema, as_type, filled
from headrace.pipeline.definition import Definition, WindowFeature
from headrace.pipeline.expressions import NUMBER, compile_sql
from headrace.pipeline.schemas import raw_schema

Ints = npt.NDArray[np.int64]
# Packed integers of 64 bits each: a list of Python's takes three times the memory.
TileRow = tuple["array[int]", "array[int]", "array[int]", int]
COLUMNS = pa.schema(
    [
        ("tiles", pa.list_(pa.int64())),
        ("sums", pa.list_(pa.int64())),
        ("counts", pa.list_(pa.int64())),
        ("due", pa.int64()),
    ]
)
ADD, ASK = 0, 1


@dataclass(frozen=True, slots=True)
class Window:
    """A window feature, compiled: how to read its values, and its sizes in tiles."""

    feature: WindowFeature
    values: Callable[[pa.RecordBatch], pa.RecordBatch]
    span: int

    @property
    def event_column(self) -> str:
        """Return the event's column that names the group it asks about."""
        return self.feature.event_column or self.feature.group_by


def compile_windows(definition: Definition) -> list[Window]:
    """Return the windows of a feature view, their value expressions compiled."""
    return [
        Window(
            feature=w,
            values=compile_sql({"value": (w.value, NUMBER)}, arrow_schema(raw_schema(definition, w.record))),
            span=w.window // w.tile,
        )
        for w in definition.features.windows
    ]


@dataclass(frozen=True, slots=True)
class Operations:
    """What a batch does to one window, in log order: at which row, add or ask, for which group, tile and value."""

    rows: Ints
    kinds: npt.NDArray[np.int8]
    groups: pa.StringArray
    tiles: Ints
    values: Ints


def additions(window: Window, rows: Ints, columns: pa.RecordBatch, times: Ints) -> Operations:
    """Return the values that windowed records add; a null value or group adds nothing."""
    values = window.values(columns).column(0)
    groups = as_type(columns[window.feature.group_by], pa.string())
    known = np.asarray(values.is_valid()) & np.asarray(groups.is_valid()) & np.isfinite(filled(values, 0))
    scaled = np.rint(filled(values, 0).to_numpy()[known] * 10**window.feature.decimals).astype(np.int64)
    kinds = np.full(int(known.sum()), ADD, np.int8)
    return Operations(
        rows[known], kinds, groups.filter(pa.array(known)), times[known] // window.feature.tile, scaled
    )


def questions(window: Window, rows: Ints, columns: pa.RecordBatch, times: Ints) -> Operations:
    """Return the questions that events ask, one a row; a null group asks about the empty name."""
    groups = filled(as_type(columns[window.event_column], pa.string()), "")
    kinds = np.full(len(rows), ASK, np.int8)
    return Operations(rows, kinds, groups, times // window.feature.tile, np.zeros(len(rows), np.int64))


def in_log_order(parts: Sequence[Operations]) -> Operations:
    """Merge operations by row; on one row the question comes before the addition, so no event sees itself."""
    rows, kinds = np.concatenate([p.rows for p in parts]), np.concatenate([p.kinds for p in parts])
    order = np.lexsort((-kinds, rows))
    groups = pa.concat_arrays([p.groups for p in parts]).take(pa.array(order))
    tiles, values = np.concatenate([p.tiles for p in parts]), np.concatenate([p.values for p in parts])
    return Operations(rows[order], kinds[order], groups, tiles[order], values[order])


def advance(
    window: Window, operations: Operations, held: Callable[[Sequence[str]], Sequence[TileRow | None]]
) -> tuple[pa.DoubleArray, dict[str, TileRow]]:
    """Carry out operations on the tiles that ``held`` gives by group.

    Returns the answers, one for each question in order (null where the window is empty and the aggregate has no
    value), and the new tiles of every group that something was added to.
    """
    coded = operations.groups.dictionary_encode()
    names = coded.dictionary.to_pylist()
    codes = coded.indices.to_numpy().astype(np.int64)
    adds = np.bincount(codes[operations.kinds == ADD], minlength=len(names))
    start, used, tiles, sums, counts = _laid_out(held(names), adds)
    totals, sizes = np.zeros(len(codes), np.int64), np.zeros(len(codes), np.int64)
    run(
        operations.kinds, codes, operations.tiles, operations.values, window.span,
        start, used, tiles, sums, counts, totals, sizes,
    )  # fmt: skip
    trim(window.span, start, used, tiles, sums, counts)
    touched = np.flatnonzero(adds)
    changed = dict(
        zip(
            [names[code] for code in touched],
            _rows(window, start[touched], used[touched], (tiles, sums, counts)),
            strict=True,
        )
    )
    asked = operations.kinds == ASK
    return _answer(window.feature, totals[asked], sizes[asked]), changed


def _laid_out(rows: Sequence[TileRow | None], adds: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Lay the groups' tiles end to end, each with room for what may be added."""
    used = np.array([len(row[0]) if row else 0 for row in rows], np.int64)
    room = used + adds
    start = np.concatenate([[0], np.cumsum(room)[:-1]]).astype(np.int64)
    total = int(used.sum())
    places = np.arange(total) + np.repeat(start - np.cumsum(used) + used, used)
    flat = np.zeros((3, int(room.sum())), np.int64)
    held = [row[:3] for row in rows if row]
    for n in range(len(flat)):
        flat[n, places] = np.frombuffer(b"".join([columns[n] for columns in held]), np.int64)
    return start, used, flat[0], flat[1], flat[2]


@njit(cache=True, nogil=True)
def run(kinds, codes, at, values, span, start, used, tiles, sums, counts, totals, sizes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Go through the operations in order; ``run.py_func`` is the same in plain Python, for tests."""
    for i in range(len(codes)):
        first = start[codes[i]]
        last = first + used[codes[i]]
        newest = tiles[first] if last > first else at[i]
        for j in range(first, last):
            newest = max(newest, tiles[j])
        if kinds[i] == 0:
            j = first
            while j < last and tiles[j] != at[i]:
                j += 1
            if j == last:
                used[codes[i]] += 1
                tiles[j], sums[j], counts[j] = at[i], 0, 0
            sums[j] += values[i]
            counts[j] += 1
        else:
            oldest = max(at[i] - span, newest - 2 * span)
            for j in range(first, last):
                if oldest < tiles[j] <= at[i]:
                    totals[i] += sums[j]
                    sizes[i] += counts[j]


@njit(cache=True, nogil=True)
def trim(span, start, used, tiles, sums, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Sort each group's tiles by time and forget those two spans older than its newest."""
    for group in range(len(used)):
        if not used[group]:
            continue
        first, kept = start[group], 0
        newest = tiles[first]
        for j in range(first, first + used[group]):
            newest = max(newest, tiles[j])
        for j in range(first, first + used[group]):
            tile, total, count = tiles[j], sums[j], counts[j]
            if tile <= newest - 2 * span:
                continue
            k = first + kept
            while k > first and tiles[k - 1] > tile:
                tiles[k], sums[k], counts[k] = tiles[k - 1], sums[k - 1], counts[k - 1]
                k -= 1
            tiles[k], sums[k], counts[k] = tile, total, count
            kept += 1
        used[group] = kept


def _rows(window: Window, start: Ints, used: Ints, columns: tuple[Ints, Ints, Ints]) -> Iterator[TileRow]:
    """Yield the state rows of groups whose trimmed tiles lie in ``columns`` (tiles, sums, counts)."""
    ends = start + used
    dues = (columns[0][ends - 1] + 1) * window.feature.tile + 2 * window.feature.window
    tiles, sums, counts = (array("q", column.tobytes()) for column in columns)
    for first, end, due in zip(start.tolist(), ends.tolist(), dues.tolist(), strict=True):
        yield tiles[first:end], sums[first:end], counts[first:end], due


def _answer(feature: WindowFeature, totals: Ints, sizes: Ints) -> pa.DoubleArray:
    if feature.aggregate == "count":
        return pa.array(sizes.astype(np.float64))
    scaled = totals / 10.0**feature.decimals
    if feature.aggregate == "sum":
        return pa.array(scaled)
    empty = sizes == 0
    return pa.array(scaled / np.where(empty, 1, sizes), mask=empty)


def warm() -> None:
    """Compile the kernels and leave them in the cache on disk."""
    ints = np.zeros(1, np.int64)
    trim(1, *(ints.copy() for _ in range(5)))
    run(np.zeros(1, np.int8), ints, ints, ints, 1, *(ints.copy() for _ in range(7)))
