"""A source is a table for each record type; ``steps`` puts the tables in one order and cuts it at the clock's steps.

A source module has one function, ``tables() -> dict[str, pa.Table]``, with the columns of the pipeline's contracts
(``headrace.sources.flights``, ``.weather``, ``.tabular``). Everything else (order, cuts, keys, resuming) is done here
and in ``headrace.sources.publisher``, so it is the same for all of them.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from headrace.errors import ConfigurationError, UsageError
from headrace.pipeline.definition import Clock, Definition, RecordType

Tables = Mapping[str, pa.Table]
_SHIPPED = {"flights": "headrace.sources.flights", "weather": "headrace.sources.weather"}
Indices = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one step of event time.

    ``batches`` holds the rows of each record type in event-time order; the n-th record of the step is row
    ``rows[n]`` of record type ``names[types[n]]``. ``time`` is the end of the step (exclusive), in microseconds.
    """

    number: int
    time: int
    batches: dict[str, pa.RecordBatch]
    types: Indices
    rows: Indices

    @property
    def names(self) -> list[str]:
        """Return the record types, in the order that ``types`` counts."""
        return list(self.batches)

    def __len__(self) -> int:
        return len(self.rows)


def steps(definition: Definition, tables: Tables, *, until: int | None = None) -> Iterator[Step]:
    """Yield the steps that hold records, by event time, ties by id; ``until`` (us) leaves out what is later.

    Steps count from 0. A step without records is not told: the next one's time says how much time has passed.
    """
    ordered = {name: _in_order(tables[name], definition.records[name]) for name in definition.records}
    frame = _interleaved(definition, ordered)
    if until is not None:
        frame = frame.filter(pl.col("time") < until)
    ends = _ends(definition.clock, frame["time"].to_numpy())
    yield from _cut(ordered, ends, frame["type"].to_numpy(), frame["row"].to_numpy())


def shipped(pipeline: str) -> Tables:
    """Return the tables of a pipeline that ships with its data; raise ``UsageError`` for another."""
    if pipeline not in _SHIPPED:
        raise UsageError(
            f"{pipeline} ships without data",
            next_command=f"headrace publish {pipeline} FILE with a CSV or Parquet file",
        )
    tables: Tables = importlib.import_module(_SHIPPED[pipeline]).tables()
    return tables


def _in_order(table: pa.Table, record: RecordType) -> pa.Table:
    times = table[record.time]
    if times.null_count:
        raise ConfigurationError(
            f"{times.null_count} rows have no {record.time}, so they have no place in the order",
            next_command=f"fill {record.time} or leave those rows out",
        )
    keys = [(record.time, "ascending"), (record.id, "ascending")]
    return table.combine_chunks().sort_by(keys)


def _interleaved(definition: Definition, tables: Tables) -> pl.DataFrame:
    """Return (type, row, time) of every record of every type, in the order of the log."""
    parts = [
        pl.DataFrame({
            "time": pl.from_arrow(table[definition.records[name].time].cast(pa.int64())),
            "id": pl.from_arrow(table[definition.records[name].id]),
        }).with_columns(type=pl.lit(number, pl.Int32), row=pl.int_range(len(table), dtype=pl.Int32))
        for number, (name, table) in enumerate(tables.items())
    ]  # fmt: skip
    return pl.concat(parts).sort("time", "id", "type", maintain_order=True).select("time", "type", "row")


def _ends(clock: Clock, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the end of the step that each instant falls in."""
    return (times - clock.offset) // clock.step * clock.step + clock.offset + clock.step


def _cut(tables: Tables, ends: npt.NDArray[np.int64], types: Indices, rows: Indices) -> Iterator[Step]:
    bounds = np.flatnonzero(np.diff(ends, prepend=ends[:1] - 1, append=ends[-1:] + 1))
    taken = dict.fromkeys(tables, 0)
    for number, (first, last) in enumerate(pairwise(bounds.tolist())):
        counts = np.bincount(types[first:last], minlength=len(tables))
        batches = {}
        starts = np.array(list(taken.values()), dtype=np.int32)
        for (name, table), count in zip(tables.items(), counts.tolist(), strict=True):
            batches[name] = _batch(table, taken[name], count)
            taken[name] += count
        yield Step(
            number, int(ends[first]), batches, types[first:last], rows[first:last] - starts[types[first:last]]
        )


def _batch(table: pa.Table, start: int, count: int) -> pa.RecordBatch:
    found = table.slice(start, count).combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=table.schema)
