"""Windowed aggregates as event-time tiles per group: exact, in log order, the same however batches are cut.

A tile holds the sum (in whole multiples of 10^-decimals) and the count of the values whose event time falls in
it. The window at time t covers the tiles from that of t back over its span. A group forgets what is more than
two spans older than its newest tile, by rule and not by chance of eviction, so state stays small.

Windows over the same records by the same columns are worked on together, and kept in one row of state for each group.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.arrow import arrow_schema, as_type, filled, filtered
from headrace.contracts.kernel import Ints
from headrace.features import tiles
from headrace.features.tiles import GroupRow, Sizes
from headrace.pipeline.definition import Definition, WindowFeature
from headrace.pipeline.expressions import NUMBER, Compiled, compile_sql
from headrace.pipeline.schemas import raw_schema


@dataclass(frozen=True, slots=True)
class Grouping:
    """Windows over the records of one type by the same columns, compiled."""

    windows: tuple[WindowFeature, ...]
    values: Compiled
    sizes: Sizes

    @property
    def record(self) -> str:
        """Return the type of the records that are added up."""
        return self.windows[0].record

    @property
    def group_by(self) -> str:
        """Return the column of theirs that names the group."""
        return self.windows[0].group_by

    @property
    def event_column(self) -> str:
        """Return the event's column that names the group it asks about."""
        return _event_column(self.windows[0])

    def keys(self, groups: Iterable[str]) -> list[str]:
        """Return the keys of groups' rows of state."""
        return list(map(f"{self.record}.{self.group_by}.{self.event_column}|".__add__, groups))


def compile_windows(definition: Definition) -> list[Grouping]:
    """Return the windows of a feature view, their value expressions compiled."""
    return [
        _compiled(definition, tuple(found))
        for _, found in groupby(sorted(definition.features.windows, key=_place), _place)
    ]


def _place(window: WindowFeature) -> tuple[str, str, str]:
    return window.record, window.group_by, _event_column(window)


def _event_column(window: WindowFeature) -> str:
    return window.event_column or window.group_by


def _compiled(definition: Definition, windows: tuple[WindowFeature, ...]) -> Grouping:
    schema = arrow_schema(raw_schema(definition, windows[0].record))
    values = compile_sql({w.name: (w.value, NUMBER) for w in windows}, schema)
    sizes = ([number(w) for w in windows], [w.tile for w in windows], [w.window for w in windows])
    return Grouping(windows, values, Sizes(*(np.array(size, np.int64) for size in sizes)))


def number(window: WindowFeature) -> int:
    """Return the number under which rows hold a window's tiles; where these would mean something else it is another."""
    told = (window.name, window.value, window.tile, window.window, window.decimals)
    return int.from_bytes(hashlib.sha256(json.dumps(told).encode()).digest()[:6])


@dataclass(frozen=True, slots=True)
class Operations:
    """What a batch asks of windows, or adds to them: at which row, for which group, at what time (microseconds).

    What it adds is a row of ``values`` for each, a column for each window; one that is not ``known`` is not added.
    """

    rows: Ints
    groups: pa.StringArray
    times: Ints
    values: Ints
    known: npt.NDArray[np.bool_]


def nothing(grouping: Grouping) -> Operations:
    """Return no operations."""
    none, shape = np.zeros(0, np.int64), (0, len(grouping.windows))
    return Operations(none, pa.array([], pa.string()), none, np.zeros(shape, np.int64), np.zeros(shape, bool))


def additions(grouping: Grouping, rows: Ints, columns: pa.RecordBatch, times: Ints) -> Operations:
    """Return the values that windowed records add; a null value or group adds nothing."""
    groups = as_type(columns[grouping.group_by], pa.string())
    named = np.asarray(groups.is_valid())
    pairs = zip(grouping.values(columns).columns, grouping.windows, strict=True)
    values, known = (np.stack(found, axis=1) for found in zip(*(_scaled(*p) for p in pairs), strict=True))
    if named.all():
        return Operations(rows, groups, times, values, known)
    return Operations(rows[named], filtered(groups, named), times[named], values[named], known[named])


def _scaled(column: pa.DoubleArray, window: WindowFeature) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return values as whole multiples of the window's resolution, and which of them are any."""
    values = filled(column, 0).to_numpy()
    known = np.asarray(column.is_valid()) & np.isfinite(values)
    return np.rint(np.where(known, values, 0) * 10**window.decimals).astype(np.int64), known


def questions(grouping: Grouping, rows: Ints, columns: pa.RecordBatch, times: Ints) -> Operations:
    """Return the questions that events ask, one a row; a null group asks about the empty name."""
    groups = filled(as_type(columns[grouping.event_column], pa.string()), "")
    return replace(nothing(grouping), rows=rows, groups=groups, times=times)


class Advanced(NamedTuple):
    """What windows answer, a column each, and the groups that something was added to with their rows."""

    answers: list[pa.DoubleArray]
    groups: list[str]
    rows: list[GroupRow]


def advance(
    grouping: Grouping,
    asked: Operations,
    added: Operations,
    held: Callable[[Sequence[str]], Sequence[GroupRow | None]],
) -> Advanced:
    """Carry out operations in the order of their rows on what ``held`` gives by group.

    An answer is null where the window is empty and the aggregate has no value.
    """
    sizes, count = grouping.sizes, len(asked.rows)
    coded = pa.concat_arrays([asked.groups, added.groups]).dictionary_encode()
    names, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)
    room, touched = np.zeros(len(names) * len(grouping.windows), np.int64), np.zeros(len(names), bool)
    tiles.count(codes[count:], added.known, room, touched)
    slots = tiles.laid_out(held(names), sizes, room)
    # On one row the question comes before the addition, so no event sees itself.
    order = np.argsort(np.concatenate([asked.rows, added.rows]), kind="stable")
    totals, counts = np.zeros((2, count, len(grouping.windows)), np.int64)
    tiles.run(
        order, codes, np.concatenate([asked.times, added.times]), added.values, added.known,
        sizes.tile, sizes.window, *slots, np.empty(len(room), np.int64), totals, counts,
    )  # fmt: skip
    tiles.trim(sizes.tile, sizes.window, *slots)
    groups = np.flatnonzero(touched)
    answers = [_answer(w, totals[:, n], counts[:, n]) for n, w in enumerate(grouping.windows)]
    return Advanced(answers, [names[n] for n in groups], list(tiles.packed(slots, sizes, groups)))


def _answer(feature: WindowFeature, totals: Ints, sizes: Ints) -> pa.DoubleArray:
    if feature.aggregate == "count":
        return pa.array(sizes.astype(np.float64))
    scaled = totals / 10.0**feature.decimals
    if feature.aggregate == "sum":
        return pa.array(scaled)
    empty = sizes == 0
    return pa.array(scaled / np.where(empty, 1, sizes), mask=empty)
