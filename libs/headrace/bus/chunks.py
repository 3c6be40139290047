"""From wire to columns: records of one partition become a chunk that batches are cut from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.arrivals import Arrivals, HeaderColumns, Ints, header_columns, joined_headers
from headrace.bus.errors import BrokenRecordError
from headrace.bus.records import Incoming
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
SMALL = 1 << 20  # bytes of records up to which those of several partitions are decoded together
NO_HEADERS = header_columns(())
LINEAGE = ("event_id", "entity_key", "event_time", "origin", "tick")


@dataclass(frozen=True, slots=True)
class Rows:
    """Decoded rows in log order: whose they are, and their records by type.

    Those of the raw topic have their ``bodies``, and a reason for each that is ``broken``, by row; the others have
    the ``ticks`` that ingestion gave them.
    """

    lineage: pa.RecordBatch
    records: Mapping[str, Selection]
    ticks: np.ndarray | None = None
    bodies: pa.BinaryArray | None = None
    broken: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.lineage.num_rows)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the columns."""
        bodies = 0 if self.bodies is None else self.bodies.nbytes
        return int(self.lineage.nbytes + bodies + sum(s.columns.nbytes for s in self.records.values()))

    def between(self, start: int, stop: int) -> "Rows":
        """Return rows ``start`` to ``stop``."""
        return Rows(
            lineage=self.lineage.slice(start, stop - start),
            records=_parts(self.records, start, stop),
            ticks=None if self.ticks is None else self.ticks[start:stop],
            bodies=None if self.bodies is None else self.bodies[start:stop],
            broken={row - start: why for row, why in self.broken.items() if start <= row < stop},
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Decoded rows of one partition.

    ``offsets`` is None for rows that were handed over inside a process, before the log has given them theirs. Only
    rows of the raw topic have ``headers``.
    """

    topic: Topic
    partition: int
    offsets: np.ndarray | None
    rows: Rows
    headers: HeaderColumns = NO_HEADERS

    def __len__(self) -> int:
        return len(self.rows)

    def between(self, start: int, stop: int) -> "Chunk":
        """Return rows ``start`` to ``stop``."""
        offsets = None if self.offsets is None else self.offsets[start:stop]
        return replace(
            self, offsets=offsets, rows=self.rows.between(start, stop), headers=self.headers[start:stop]
        )

    def batch(self, tick: int) -> Batch:
        """Return the rows as a batch of one tick."""
        rows, lineage = self.rows, self.rows.lineage
        if rows.ticks is None:
            lineage = lineage.append_column("tick", same(tick, len(self), pa.int64()))
        return Batch(
            topic=self.topic,
            partition=self.partition,
            tick=tick,
            lineage=lineage,
            records=rows.records,
            bodies=rows.bodies,
            headers=self.headers,
            broken=rows.broken,
        )


def fitting(parts: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield the first chunks of one partition that can be joined: from the log, one schema for a record type."""
    schemas: dict[str, pa.Schema] = {}
    for part in parts:
        if part.offsets is None:
            return
        columns = {"": part.rows.lineage} | {name: s.columns for name, s in part.rows.records.items()}
        if not all(schemas.setdefault(name, c.schema).equals(c.schema) for name, c in columns.items()):
            return
        yield part


def joined(parts: Sequence[Chunk]) -> Chunk:
    """Return chunks that are :func:`fitting` and follow each other as one."""
    if len(parts) == 1:
        return parts[0]
    first, begins = parts[0], np.cumsum([0, *map(len, parts[:-1])]).tolist()
    pairs = [(part.rows, begin) for part, begin in zip(parts, begins, strict=True)]
    records: dict[str, list[Selection]] = {}
    for rows, begin in pairs:
        for name, found in rows.records.items():
            records.setdefault(name, []).append(Selection(found.rows + begin, found.columns))
    raw = first.rows.bodies is not None
    return replace(
        first,
        offsets=np.concatenate([part.offsets for part in parts if part.offsets is not None]),
        headers=joined_headers([part.headers for part in parts]),
        rows=Rows(
            lineage=pa.concat_batches([rows.lineage for rows, _ in pairs]),
            records={name: _as_one(found) for name, found in records.items()},
            ticks=None if raw else np.concatenate([rows.ticks for rows, _ in pairs]),
            bodies=pa.concat_arrays([rows.bodies for rows, _ in pairs]) if raw else None,
            broken={row + begin: why for rows, begin in pairs for row, why in rows.broken.items()},
        ),
    )


def _parts(records: Mapping[str, Selection], start: int, stop: int) -> dict[str, Selection]:
    """Return the rows ``start`` to ``stop`` of each record type that has any."""
    found = {}
    for name, selection in records.items():
        low, high = np.searchsorted(selection.rows, (start, stop))
        if high > low:
            rows = selection.rows[low:high] - start
            found[name] = Selection(rows, selection.columns.slice(low, high - low))
    return found


def together(parts: Iterable[Arrivals]) -> Iterator[list[Arrivals]]:
    """Yield parts in groups to be decoded as one: small ones, whose price is the call's, and each large one alone."""
    small = []
    for part in parts:
        if part.values.nbytes > SMALL:
            yield [part]
        else:
            small.append(part)
    if small:
        yield small


class _Several:
    """Records of one topic, those of each partition behind those of another."""

    def __init__(self, parts: Sequence[Arrivals]) -> None:
        self._parts = parts
        self._bounds = np.cumsum([0, *map(len, parts)])
        self.values = parts[0].values if len(parts) == 1 else pa.concat_arrays([p.values for p in parts])

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def __getitem__(self, row: int) -> Incoming:
        part = int(np.searchsorted(self._bounds, row, side="right")) - 1
        return self._parts[part][row - int(self._bounds[part])]

    def offsets(self) -> Ints:
        return np.concatenate([p.offsets for p in self._parts])

    def partitions(self) -> np.ndarray:
        numbers = np.array([p.partition for p in self._parts], np.int32)
        return np.repeat(numbers, np.diff(self._bounds))

    def apart(self, topic: Topic, rows: Rows) -> list[Chunk]:
        """Return what came of all of them by partition."""
        bounds = pairwise(self._bounds.tolist())
        raw = rows.bodies is not None
        return [
            Chunk(topic, p.partition, p.offsets, rows.between(*bound), p.headers if raw else NO_HEADERS)
            for p, bound in zip(self._parts, bounds, strict=True)
        ]


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
    return _Decoded({name: _as_one(selections) for name, selections in parts.items()}, broken)


def _unreadable(schema_id: int, writer: Schema | None) -> str:
    if schema_id == UNFRAMED:
        return "not in the Confluent wire format (magic byte 0 and a 4-byte schema id)"
    return f"schema id {schema_id} is unknown" if writer is None else f"no record type {writer['name']} here"


def _as_one(selections: Sequence[Selection]) -> Selection:
    if len(selections) == 1:
        return selections[0]
    rows = np.concatenate([s.rows for s in selections])
    return Selection(np.sort(rows), interleave([(s.rows, s.columns) for s in selections]))


def interleave(parts: Sequence[tuple[np.ndarray, pa.RecordBatch]]) -> pa.RecordBatch:
    """Return the rows of several batches of one schema in the order of their positions."""
    positions = np.concatenate([rows for rows, _ in parts])
    columns = parts[0][1] if len(parts) == 1 else pa.concat_batches([c for _, c in parts])
    return taken(columns, np.argsort(positions, kind="stable"))


def derived(
    topic: Topic, parts: Sequence[Arrivals], registry: Registry, reader: Callable[[str], Schema | None]
) -> list[Chunk]:
    """Decode records that a service wrote, a chunk for each part; one that cannot be read is our own fault and raises.

    Raises:
        BrokenRecordError: naming the coordinates of the first record that cannot be decoded.
    """
    messages = _Several(parts)
    found = _decode(messages.values, registry, reader)
    if found.broken:
        row, why = min(found.broken.items())
        raise BrokenRecordError(messages[row].where, why)
    lineage = interleave([(s.rows, _lineage(s.columns)) for s in found.records.values()])
    return messages.apart(topic, Rows(lineage, found.records, lineage["tick"].to_numpy()))


def handed_over(topic: Topic, partition: int, parts: Sequence[tuple[str, Selection]]) -> Chunk:
    """Return a chunk of typed columns that have not been on the log: what decoding them from there would give."""
    lineage = interleave([(s.rows, _lineage(s.columns)) for _, s in parts])
    names = dict.fromkeys(name for name, _ in parts)
    records = {n: _as_one([s for name, s in parts if name == n]) for n in names}
    return Chunk(topic, partition, None, Rows(lineage, records, lineage["tick"].to_numpy()))


def _lineage(columns: pa.RecordBatch) -> pa.RecordBatch:
    """Return the lineage fields a record type has; profiles have no more than their tick."""
    return columns.select([name for name in LINEAGE if name in columns.schema.names])


def raw(topic: Topic, parts: Sequence[Arrivals], registry: Registry, definition: Definition) -> list[Chunk]:
    """Decode records of the raw topic, a chunk for each part; what cannot be read stays in it with its reason."""

    def reader(name: str) -> Schema | None:
        record = definition.records.get(name)
        return record.contract if record else None

    messages = _Several(parts)
    bodies = filled(messages.values, b"")
    found = _decode(bodies, registry, reader)
    rows = [(s.rows, _raw_lineage(s.columns, name, definition)) for name, s in found.records.items()]
    if found.broken:
        broken = sorted(found.broken)
        rows.append((np.array(broken, np.int64), _broken_lineage([messages[row] for row in broken])))
    origin = pa.StructArray.from_arrays(
        [
            same(parts[0].topic, len(messages)),
            pa.array(messages.partitions()),
            pa.array(messages.offsets()),
            pa.array(np.zeros(len(messages), np.int32)),
        ],
        fields=list(ORIGIN),
    )
    lineage = interleave(rows).append_column("origin", origin)
    return messages.apart(topic, Rows(lineage, found.records, bodies=bodies, broken=found.broken))


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
