"""From wire to columns: records of one partition become a chunk that batches are cut from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.arrivals import Arrivals
from headrace.bus.errors import BrokenRecordError
from headrace.bus.records import Headers, Incoming
from headrace.bus.schemas import Registry, Schema, codec
from headrace.bus.service import Batch, Selection
from headrace.contracts.arrow import as_type, filled, same, spans, taken
from headrace.contracts.frame import SIZE, UNFRAMED, schema_ids
from headrace.contracts.shape import MICROS
from headrace.contracts.topics import Topic
from headrace.pipeline.definition import Definition

ORIGIN = pa.struct(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("ordinal", pa.int32(), nullable=False),
    ]
)
LINEAGE = ("event_id", "entity_key", "event_time", "origin", "tick")


@dataclass(slots=True)
class Chunk:
    """Decoded rows of one partition in log order.

    ``ticks`` is None on the raw topic, where ingestion sets them; ``offsets`` is None for rows that were handed over
    inside a process, before the log has given them theirs.
    """

    topic: Topic
    partition: int
    offsets: np.ndarray | None
    lineage: pa.RecordBatch
    records: Mapping[str, Selection]
    ticks: np.ndarray | None = None
    bodies: pa.BinaryArray | None = None
    headers: Sequence[Headers] = ()
    broken: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.lineage.num_rows)

    def cut(self, start: int, stop: int, tick: int) -> Batch:
        """Return rows ``start`` to ``stop`` as a batch of one tick."""
        lineage = self.lineage.slice(start, stop - start)
        if self.ticks is None:
            lineage = lineage.append_column("tick", same(tick, stop - start, pa.int64()))
        return Batch(
            topic=self.topic,
            partition=self.partition,
            tick=tick,
            lineage=lineage,
            records={
                name: part for name, s in self.records.items() if len((part := _part(s, start, stop)).rows)
            },
            bodies=None if self.bodies is None else self.bodies[start:stop],
            headers=self.headers[start:stop],
            broken={row - start: why for row, why in self.broken.items() if start <= row < stop},
        )


def _part(selection: Selection, start: int, stop: int) -> Selection:
    low, high = np.searchsorted(selection.rows, (start, stop))
    return Selection(selection.rows[low:high] - start, selection.columns.slice(low, high - low))


@dataclass(frozen=True, slots=True)
class _Decoded:
    records: dict[str, Selection]
    broken: dict[int, str]


def _decode(values: pa.BinaryArray, registry: Registry, reader: Callable[[str], Schema | None]) -> _Decoded:
    """Group rows by writer schema, decode each group as columns, and project it to what the reader knows."""
    broken: dict[int, str] = {}
    parts: dict[str, list[Selection]] = {}
    ids = schema_ids(*spans(values))
    for schema_id in np.unique(ids).tolist():
        rows = np.flatnonzero(ids == schema_id)
        writer = registry.schema(schema_id) if schema_id != UNFRAMED else None
        known = reader(writer["name"]) if writer else None
        if writer is None or known is None:
            broken.update(dict.fromkeys(rows.tolist(), _unreadable(schema_id, writer)))
            continue
        decoded = codec(writer).unpacked(taken(values, rows), SIZE)
        broken.update({int(rows[i]): why for i, why in decoded.errors.items()})
        part = Selection(rows[decoded.good], codec(known).fitted(decoded.columns))
        parts.setdefault(writer["name"], []).append(part)
    return _Decoded({name: _joined(selections) for name, selections in parts.items()}, broken)


def _unreadable(schema_id: int, writer: Schema | None) -> str:
    if schema_id == UNFRAMED:
        return "not in the Confluent wire format (magic byte 0 and a 4-byte schema id)"
    return f"schema id {schema_id} is unknown" if writer is None else f"no record type {writer['name']} here"


def _joined(selections: list[Selection]) -> Selection:
    if len(selections) == 1:
        return selections[0]
    rows = np.concatenate([s.rows for s in selections])
    return Selection(np.sort(rows), interleave([(s.rows, s.columns) for s in selections]))


def interleave(parts: Sequence[tuple[np.ndarray, pa.RecordBatch]]) -> pa.RecordBatch:
    """Return the rows of several batches of one schema in the order of their positions."""
    if len(parts) == 1 and bool(np.all(np.diff(parts[0][0]) > 0)):
        return parts[0][1]
    order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
    return pa.concat_batches([columns for _, columns in parts]).take(pa.array(order))


def derived(
    topic: Topic, messages: Arrivals, registry: Registry, reader: Callable[[str], Schema | None]
) -> Chunk:
    """Decode records that a service wrote; one that cannot be read is our own fault and raises.

    Raises:
        BrokenRecordError: naming the coordinates of the first record that cannot be decoded.
    """
    found = _decode(messages.values, registry, reader)
    if found.broken:
        row, why = min(found.broken.items())
        m = messages[row]
        raise BrokenRecordError(f"{m.topic}/{m.partition}@{m.offset}", why)
    lineage = interleave([(s.rows, _lineage(s.columns)) for s in found.records.values()])
    return Chunk(
        topic=topic,
        partition=messages.partition,
        offsets=messages.offsets,
        lineage=lineage,
        records=found.records,
        ticks=lineage["tick"].to_numpy(),
    )


def handed_over(topic: Topic, partition: int, parts: Sequence[tuple[str, Selection]]) -> Chunk:
    """Return a chunk of typed columns that have not been on the log: what decoding them from there would give."""
    lineage = interleave([(s.rows, _lineage(s.columns)) for _, s in parts])
    names = dict.fromkeys(name for name, _ in parts)
    return Chunk(
        topic=topic,
        partition=partition,
        offsets=None,
        lineage=lineage,
        records={n: _joined([s for name, s in parts if name == n]) for n in names},
        ticks=lineage["tick"].to_numpy(),
    )


def _lineage(columns: pa.RecordBatch) -> pa.RecordBatch:
    """Return the lineage fields a record type has; profiles have no more than their tick."""
    return columns.select([name for name in LINEAGE if name in columns.schema.names])


def raw(topic: Topic, messages: Arrivals, registry: Registry, definition: Definition) -> Chunk:
    """Decode records of the raw topic; what cannot be read stays in the chunk with its reason."""

    def reader(name: str) -> Schema | None:
        record = definition.records.get(name)
        return record.contract if record else None

    bodies, offsets = filled(messages.values, b""), messages.offsets
    found = _decode(bodies, registry, reader)
    parts = [(s.rows, _raw_lineage(s.columns, name, definition)) for name, s in found.records.items()]
    if found.broken:
        rows = np.array(sorted(found.broken), np.int64)
        parts.append((rows, _broken_lineage([messages[row] for row in rows])))
    columns = interleave(parts)
    origin = pa.StructArray.from_arrays(
        [
            same(messages.topic, len(messages)),
            pa.array(np.full(len(messages), messages.partition, np.int32)),
            pa.array(offsets),
            pa.array(np.zeros(len(messages), np.int32)),
        ],
        fields=list(ORIGIN),
    )
    return Chunk(
        topic=topic,
        partition=messages.partition,
        offsets=offsets,
        lineage=columns.append_column("origin", origin),
        records=found.records,
        bodies=bodies,
        headers=messages.headers,
        broken=found.broken,
    )


def _raw_lineage(columns: pa.RecordBatch, name: str, definition: Definition) -> pa.RecordBatch:
    record = definition.records[name]
    key = [as_type(columns[c], pa.string()) for c in record.key]
    return pa.RecordBatch.from_arrays(
        [
            as_type(columns[record.id], pa.string()),
            key[0] if len(key) == 1 else pc.binary_join_element_wise(*key, ":", null_handling="replace"),
            as_type(columns[record.time], MICROS),
        ],
        names=list(LINEAGE[:3]),
    )


def _broken_lineage(messages: Sequence[Incoming]) -> pa.RecordBatch:
    ids = [dict(m.headers).get("ce_id", f"{m.topic}/{m.partition}/{m.offset}".encode()) for m in messages]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([i.decode("utf-8", "replace") for i in ids]),
            pa.array([(m.key or b"").decode("utf-8", "replace") for m in messages]),
            pa.nulls(len(messages), MICROS),
        ],
        names=list(LINEAGE[:3]),
    )
