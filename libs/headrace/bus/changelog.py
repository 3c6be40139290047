"""State as records: rows of a lane's tables, and how far the lane has come, on its compacted changelog topic."""

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.arrivals import Arrivals, Ints
from headrace.bus.blocks import Block
from headrace.bus.encode import Encoder, Writer
from headrace.bus.errors import BrokenRecordError
from headrace.bus.schemas import Registry, Schema, codec
from headrace.bus.scribe import Coming, Made
from headrace.bus.service import Row, Table
from headrace.contracts.arrow import absent, avro_schema, filled, spans
from headrace.contracts.frame import SIZE, UNFRAMED, header, schema_ids
from headrace.contracts.plain import PlainCodec

_NUMBERS = pa.list_(pa.int64())
FEW, FEW_LISTS = 16, 2  # rows up to which columns cost more than they save, of plain cells and of lists
PROGRESS = Table(
    "progress",
    pa.schema(
        [
            ("tick", pa.int64()),
            ("records_in", pa.int64()),
            ("records_out", pa.map_(pa.string(), pa.int64())),
            ("rejected", pa.int64()),
            ("absorbed", pa.int64()),
            ("trees", pa.map_(pa.string(), pa.binary())),
            ("raw_from", pa.int64()),
        ]
    ),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """The open tick of a lane and what it has done of it; a lane that restarts goes on from here."""

    tick: int = 1
    records_in: int = 0
    records_out: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    absorbed: int = 0
    # Peaks by topic, see :mod:`headrace.bus.tree`; some are still being made.
    trees: dict[str, Coming[bytes]] = field(default_factory=dict)
    raw_from: int = 0

    def row(self) -> Row:
        """Return the progress as a row of its table."""
        return (
            self.tick, self.records_in, sorted(self.records_out.items()), self.rejected, self.absorbed,
            sorted((name, peaks.result()) for name, peaks in self.trees.items()), self.raw_from,
        )  # fmt: skip

    @classmethod
    def of(cls, row: Row) -> "Progress":
        """Return the progress a row stands for."""
        tick, records_in, records_out, rejected, absorbed, trees, raw_from = row
        there: dict[str, Coming[bytes]] = {name: Made(peaks) for name, peaks in dict(trees).items()}
        return cls(tick, records_in, dict(records_out), rejected, absorbed, there, raw_from)


@cache
def table_schema(table: Table) -> Schema:
    """Return the Avro schema of a table's rows."""
    name = "".join(part.title() for part in table.name.split("-"))
    return avro_schema(table.columns, name, "headrace.state")


@cache
def _by_row(table: Table) -> Callable[[Row], bytes] | None:
    """Return what writes one row of a table, or None where Arrow and fastavro do not take its cells alike."""
    if not all(_is_plain(f.type) for f in table.columns):
        return None
    names, written = table.columns.names, PlainCodec(table_schema(table))
    maps = [f.name for f in table.columns if pa.types.is_map(f.type)]

    def body(row: Row) -> bytes:
        fields = dict(zip(names, row, strict=True))
        return written.body(fields | {name: dict(fields[name]) for name in maps if fields[name] is not None})

    return body


def _is_plain(kind: pa.DataType) -> bool:
    """Tell whether a cell is a number, a text, or a list or map of such."""
    if pa.types.is_list(kind):
        kind = kind.value_type
    elif pa.types.is_map(kind):
        kind = kind.item_type
    return not (pa.types.is_nested(kind) or pa.types.is_temporal(kind))


@cache
def _few(table: Table) -> int:
    """Return up to how many rows are written one by one."""
    return FEW_LISTS if any(pa.types.is_list(f.type) for f in table.columns) else FEW


def plain(columns: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return rows as plain values: times as microseconds, maps as dicts."""
    for n, f in enumerate(columns.schema):
        if pa.types.is_timestamp(f.type):
            columns = columns.set_column(n, f.name, columns[n].cast(pa.int64()))
    return list(columns.to_pylist(maps_as_pydicts="strict"))


def entries(
    encoder: Encoder, topic: str, partition: int, table: Table, changed: Mapping[str, Row | None]
) -> list[Block]:
    """Return the changelog records of changed rows; a row that is gone is a tombstone."""
    gone = [] if all(changed.values()) else [key for key, row in changed.items() if row is None]
    blocks = [Block(topic, partition, _keys(table, gone))] if gone else []
    kept = {key: row for key, row in changed.items() if row is not None} if gone else changed
    if not kept:
        return blocks
    values = _values(
        encoder.state_writer(topic, table_schema(table)), table, cast("Collection[Row]", kept.values())
    )
    return [*blocks, Block(topic, partition, _keys(table, kept), values)]


def _values(writer: Writer, table: Table, rows: Collection[Row]) -> pa.BinaryArray:
    head, body = header(writer.schema_id), _by_row(table)
    if body is not None and len(rows) <= _few(table):
        return pa.array([head + body(row) for row in rows], pa.binary())
    columns = zip(*rows, strict=True)
    held = {f.name: _column(cells, f.type) for cells, f in zip(columns, table.columns, strict=True)}
    return codec(writer.schema).packed(writer.cast(held, len(rows)), head)


def _column(cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return cells of rows as a column; packed lists, as :func:`_cells` makes them, without an object for each number."""
    if kind != _NUMBERS or not all(isinstance(cell, array) for cell in cells):
        return pa.array(cells, kind)
    ends = np.cumsum([0, *map(len, cells)])
    return pa.ListArray.from_arrays(ends.astype(np.int32), np.frombuffer(b"".join(cells), np.int64))


def _keys(table: Table, keys: Collection[str]) -> pa.Array:
    """Return the keys of a table's rows on the changelog, where several tables lie."""
    if len(keys) <= FEW:
        return pa.array([f"{table.name}/{key}" for key in keys], pa.binary())
    return pc.binary_join_element_wise(table.name, pa.array(list(keys), pa.string()), "/").view(pa.binary())


def read(found: Arrivals, tables: Sequence[Table], registry: Registry) -> dict[str, dict[str, Row | None]]:
    """Return rows by table and key, folded so that the last record of each key stands; None is a tombstone.

    Raises:
        BrokenRecordError: naming the first record of a table that cannot be decoded.
    """
    last = found.take(_lasts(filled(found.keys, b"")))
    held = {table.name: _table_rows(last, table, registry) for table in (*tables, PROGRESS)}
    return {name: rows for name, rows in held.items() if rows}


def _lasts(keys: pa.BinaryArray) -> Ints:
    """Return where the last record of each key stands, in the order of the log."""
    encoded = keys.dictionary_encode()
    places = np.empty(len(encoded.dictionary), np.int64)
    # Where a key comes again, the later place stays.
    places[encoded.indices.to_numpy()] = np.arange(len(keys))
    return np.sort(places)


def _table_rows(last: Arrivals, table: Table, registry: Registry) -> dict[str, Row | None]:
    prefix = f"{table.name}/"
    own = last.take(np.flatnonzero(pc.starts_with(last.keys, prefix)))
    keys = [key[len(prefix) :] for key in own.keys.cast(pa.string()).to_pylist()]
    rows: dict[str, Row | None] = dict.fromkeys(keys)
    ids = schema_ids(*spans(own.values))
    for schema_id in np.unique(ids[~absent(own.values)]).tolist():
        places = np.flatnonzero(ids == schema_id)
        columns = _decoded(own.take(places), None if schema_id == UNFRAMED else registry.schema(schema_id))
        rows.update(zip(map(keys.__getitem__, places.tolist()), _rows(columns, table), strict=True))
    return rows


def _decoded(records: Arrivals, schema: Schema | None) -> pa.RecordBatch:
    if schema is None:
        raise BrokenRecordError(records[0].where, "no schema of the registry is its own")
    decoded = codec(schema).unpacked(records.values, SIZE)
    if decoded.errors:
        row, why = min(decoded.errors.items())
        raise BrokenRecordError(records[row].where, why)
    return decoded.columns


def _rows(columns: pa.RecordBatch, table: Table) -> Iterator[Row]:
    return zip(*(_cells(columns[f.name]) for f in table.columns), strict=True)


def _cells(column: pa.Array) -> list[Any]:
    """Return a column as Python values; whole numbers and lists of them are most of all state, and quick.

    Lists of 64 bit integers are packed arrays, as in :mod:`headrace.features.tiles`.
    """
    if pa.types.is_list(column.type) and not column.null_count:
        values, ends = column.values, column.offsets.to_numpy().tolist()
        packed = values.type == pa.int64() and not values.null_count
        cells = array("q", values.to_numpy().tobytes()) if packed else _cells(values)
        return [cells[begin:end] for begin, end in pairwise(ends)]
    if pa.types.is_integer(column.type) and not column.null_count:
        return list(column.to_numpy().tolist())
    return list(column.to_pylist())
