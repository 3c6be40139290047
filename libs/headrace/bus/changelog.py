"""State as records: rows of a lane's tables, and how far the lane has come, on its compacted changelog topic."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pyarrow as pa

from headrace.bus.encode import Encoder
from headrace.bus.records import Incoming, Outgoing
from headrace.bus.schemas import Registry, Schema, codec
from headrace.bus.service import Row, Table
from headrace.contracts.arrow import avro_schema
from headrace.contracts.frame import header, unframe

PROGRESS = Table(
    "progress",
    pa.schema(
        [
            ("tick", pa.int64()),
            ("records_in", pa.int64()),
            ("records_out", pa.map_(pa.string(), pa.int64())),
            ("rejected", pa.int64()),
            ("absorbed", pa.int64()),
            ("digests", pa.map_(pa.string(), pa.binary())),
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
    digests: dict[str, bytes] = field(default_factory=dict)
    raw_from: int = 0

    def row(self) -> Row:
        """Return the progress as a row of its table."""
        return (
            self.tick, self.records_in, sorted(self.records_out.items()), self.rejected, self.absorbed,
            sorted(self.digests.items()), self.raw_from,
        )  # fmt: skip

    @classmethod
    def of(cls, row: Row) -> "Progress":
        """Return the progress a row stands for."""
        found = cls(*row)
        return replace(found, records_out=dict(found.records_out), digests=dict(found.digests))


@cache
def table_schema(table: Table) -> Schema:
    """Return the Avro schema of a table's rows."""
    name = "".join(part.title() for part in table.name.split("-"))
    return avro_schema(table.columns, name, "headrace.state")


def plain(columns: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return rows as plain values: times as microseconds, maps as dicts."""
    for n, f in enumerate(columns.schema):
        if pa.types.is_timestamp(f.type):
            columns = columns.set_column(n, f.name, columns[n].cast(pa.int64()))
    return list(columns.to_pylist(maps_as_pydicts="strict"))


def entries(
    encoder: Encoder, topic: str, partition: int, table: Table, changed: Sequence[tuple[str, Row | None]]
) -> list[Outgoing]:
    """Return the changelog records of changed rows; a row that is gone is a tombstone."""
    kept = [(key, row) for key, row in changed if row is not None]
    begin = f"{table.name}/"
    gone = [Outgoing(topic, partition, (begin + key).encode(), None) for key, row in changed if row is None]
    if not kept:
        return gone
    writer = encoder.state_writer(topic, table_schema(table))
    rows = list(zip(*(row for _, row in kept), strict=True))
    arrays = [pa.array(values, type=f.type) for values, f in zip(rows, table.columns, strict=True)]
    columns = writer.cast(pa.RecordBatch.from_arrays(arrays, schema=table.columns))
    values = codec(writer.schema).encode(columns, header(writer.schema_id))
    return gone + [
        Outgoing(topic, partition, (begin + key).encode(), value)
        for (key, _), value in zip(kept, values, strict=True)
    ]


def read(
    messages: Sequence[Incoming], tables: Sequence[Table], registry: Registry
) -> list[tuple[str, str, Row | None]]:
    """Return (table, key, row) of changelog records, folded so that the last of each key stands."""
    latest = {bytes(m.key or b""): m.value for m in messages}
    by_schema: dict[int, list[tuple[str, str, bytes]]] = {}
    for key, value in latest.items():
        if value is not None:
            table, _, name = key.decode().partition("/")
            schema_id, body = unframe(value)
            by_schema.setdefault(schema_id, []).append((table, name, body))
    known = {t.name: t for t in (*tables, PROGRESS)}
    found: list[tuple[str, str, Row | None]] = []
    for schema_id, items in by_schema.items():
        schema = registry.schema(schema_id)
        if schema is None or items[0][0] not in known:
            continue
        columns = codec(schema).decode([body for _, _, body in items]).columns
        rows = zip(*(columns[f.name].to_pylist() for f in known[items[0][0]].columns), strict=True)
        found += [(table, name, row) for (table, name, _), row in zip(items, rows, strict=True)]
    return found
