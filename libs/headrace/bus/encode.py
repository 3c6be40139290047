"""From columns to wire: what a step emits becomes framed Avro with ids, headers and the topic's own types."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np
import pyarrow as pa

from headrace.bus import trace
from headrace.bus.blocks import Block, ColumnHeaders, weave, woven
from headrace.bus.chunks import LINEAGE
from headrace.bus.partitions import partitions_of
from headrace.bus.records import Outgoing
from headrace.bus.schemas import Registry, Schema, codec, record_schema, subject
from headrace.bus.service import Batch, Emit
from headrace.contracts.arrow import arrow_schema, as_type, filled, taken
from headrace.contracts.frame import header
from headrace.contracts.topics import Topic
from headrace.pipeline.definition import Definition

SHEET = 500  # rows from which on they are the price, not the calls


@dataclass(frozen=True)
class Writer:
    """How records of one type are written to one topic."""

    topic: str
    schema: Schema
    schema_id: int
    headers: bool = True

    @cached_property
    def types(self) -> pa.Schema:
        """Return the Arrow types of the record."""
        return arrow_schema(self.schema)

    @cached_property
    def kind(self) -> str:
        """Return the record's full name, which is its CloudEvents type."""
        return f"{self.schema['namespace']}.{self.schema['name']}"

    @cached_property
    def identity(self) -> str | None:
        """Return the field that identifies a record: the first `*_id` after the lineage, else the event id."""
        names = [n for n in self.types.names if n not in LINEAGE]
        if names[0].endswith("_id"):
            return str(names[0])
        return "event_id" if "event_id" in self.types.names else None

    @cached_property
    def alike(self) -> bool:
        """Tell whether a record does not depend on those before it, nor on its tick."""
        return self.identity is not None or not self.headers

    @cached_property
    def _fields(self) -> list[tuple[str, pa.DataType]]:
        return [(f.name, f.type) for f in self.types]

    def cast(self, columns: Mapping[str, pa.Array], count: int) -> pa.RecordBatch:
        """Return ``count`` rows in the record's order and types; a missing nullable column is null."""
        arrays = [
            as_type(columns[name], kind) if name in columns else pa.nulls(count, kind)
            for name, kind in self._fields
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.types)

    def block(
        self,
        columns: pa.RecordBatch,
        values: pa.BinaryArray,
        partition: int,
        tick: int,
        keys: pa.Array | None = None,
    ) -> Block:
        """Return records of typed columns and their values, keyed as told, or by entity (data) or pipeline (control)."""
        if keys is None:
            keys = filled(columns["entity_key" if "entity_key" in columns.schema.names else "pipeline"], "")
        headers = self._headers(columns, keys, tick) if self.headers else ()
        return Block(self.topic, partition, as_type(keys, pa.binary()), values, headers)

    def outgoing(self, columns: pa.RecordBatch, partition: int, tick: int) -> list[Outgoing]:
        """Return framed records of typed columns one by one."""
        return list(Typed.alone(self, columns, np.arange(columns.num_rows)).block(partition, tick))

    def _headers(self, columns: pa.RecordBatch, keys: pa.Array, tick: int) -> ColumnHeaders:
        ids = self._ids(columns, keys, tick)
        causes = filled(columns["event_id"], "") if "event_id" in columns.schema.names else ids
        return trace.headers(self.topic, self.kind, ids, causes, self._times(columns))

    def _ids(self, columns: pa.RecordBatch, keys: pa.Array, tick: int) -> pa.Array:
        if self.identity is None:
            name = self.schema["name"]
            return pa.array(
                [f"{key}/{tick}/{name}/{n}" for n, key in enumerate(keys.to_pylist())], pa.string()
            )
        return columns[self.identity]

    def _times(self, columns: pa.RecordBatch) -> pa.Array:
        name = next((n for n in ("event_time", "time") if n in columns.schema.names), None)
        if name is None:
            return pa.array(np.zeros(columns.num_rows, np.int64))
        return filled(as_type(columns[name], pa.int64()), 0)


class Sheet:
    """Records of one type that are encoded together, of whichever partition: for a few, the calls are the price.

    It takes more until somebody asks for what has been encoded.
    """

    def __init__(self, writer: Writer, columns: pa.RecordBatch) -> None:
        self.writer = writer
        self._parts, self._rows, self._open = [columns], columns.num_rows, True
        self._lock = Lock()

    def add(self, columns: pa.RecordBatch) -> int | None:
        """Take more records and return where they begin; None when it is too late, or they are too many."""
        with self._lock:
            start = int(self._rows)
            if not self._open or start + columns.num_rows > SHEET:
                return None
            self._parts.append(columns)
            self._rows += columns.num_rows
            return start

    @cached_property
    def _columns(self) -> pa.RecordBatch:
        with self._lock:
            self._open = False
        return self._parts[0] if len(self._parts) == 1 else pa.concat_batches(self._parts)

    @cached_property
    def values(self) -> pa.BinaryArray:
        """Return the framed values."""
        return codec(self.writer.schema).packed(self._columns, header(self.writer.schema_id))

    @cached_property
    def block(self) -> Block:
        """Return the records as those of one partition."""
        return self.writer.block(self._columns, self.values, 0, 0)


@dataclass(frozen=True)
class Typed:
    """Records of one type for one topic, as columns, with the place of each among all that go there together.

    They stand on a ``sheet`` from a row on. Those for a moved topic have ``keys`` of their own.
    """

    sheet: Sheet
    start: int
    columns: pa.RecordBatch
    places: np.ndarray
    keys: pa.Array | None = None

    @classmethod
    def alone(
        cls, writer: Writer, columns: pa.RecordBatch, places: np.ndarray, keys: pa.Array | None = None
    ) -> "Typed":
        """Return records that have a sheet for themselves."""
        return cls(Sheet(writer, columns), 0, columns, places, keys)

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @property
    def writer(self) -> Writer:
        """Return how they are written."""
        return self.sheet.writer

    @property
    def values(self) -> pa.BinaryArray:
        """Return the framed values."""
        return self.sheet.values[self.start : self.start + len(self)]

    def block(self, partition: int, tick: int) -> Block:
        """Return the records."""
        if self.keys is None and self.writer.alike:
            return replace(self.sheet.block.cut(self.start, self.start + len(self)), partition=partition)
        return self.writer.block(self.columns, self.values, partition, tick, self.keys)

    def of(self, rows: np.ndarray) -> "Typed":
        """Return some of the records."""
        taken = pa.array(rows)
        keys = None if self.keys is None else self.keys.take(taken)
        return Typed.alone(self.writer, self.columns.take(taken), self.places[rows], keys)


class Encoder:
    """The writers of one service, made as they are first needed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._writers: dict[tuple[str, str, str], Writer] = {}
        self._sheets: dict[int, Sheet] = {}  # the last of each writer

    def writer(self, topic: Topic, record: str, definition: Definition) -> Writer:
        """Return the writer of a record type on a pipeline's topic."""
        key = (topic.name(definition.name), record, definition.digest)
        if key not in self._writers:
            schema = record_schema(topic, record, definition)
            schema_id = self._registry.register(subject(key[0], schema), schema)
            headers = topic.headers and topic.stream not in definition.without_headers
            self._writers[key] = Writer(key[0], schema, schema_id, headers)
        return self._writers[key]

    def state_writer(self, topic: str, schema: Schema) -> Writer:
        """Return the writer of a changelog's records."""
        key = (topic, str(schema["name"]), "")
        if key not in self._writers:
            self._writers[key] = Writer(
                topic, schema, self._registry.register(subject(topic, schema), schema)
            )
        return self._writers[key]

    def typed(
        self, topic: Topic, emits: Sequence[Emit], batch: Batch | None, definition: Definition
    ) -> list[Typed]:
        """Return what is emitted to one topic in the topic's own types, each row with its place in the order."""
        writers = [self.writer(topic, emit.record, definition) for emit in emits]
        columns = [
            w.cast(_with_lineage(e, batch), e.columns.num_rows) for w, e in zip(writers, emits, strict=True)
        ]
        places = _in_order_of_causes(emits, [c.num_rows for c in columns])
        keys = [e.keys for e in emits]
        sheets = map(self._sheet, writers, columns)
        return [Typed(*s, *parts) for s, *parts in zip(sheets, columns, places, keys, strict=True)]

    def _sheet(self, writer: Writer, columns: pa.RecordBatch) -> tuple[Sheet, int]:
        """Put records on a sheet; return it and the row from which on they stand."""
        sheet = self._sheets.get(id(writer))
        start = None if sheet is None else sheet.add(columns)
        if sheet is None or start is None:
            sheet, start = Sheet(writer, columns), 0
            # A full one is not held for longer than those whose records stand on it.
            if columns.num_rows < SHEET:
                self._sheets[id(writer)] = sheet
        return sheet, start

    def encode(
        self,
        topic: Topic,
        emits: Sequence[Emit],
        batch: Batch | None,
        partition: int,
        tick: int,
        definition: Definition,
    ) -> list[Outgoing]:
        """Return the records of one topic in the order of their causes."""
        return list(block(self.typed(topic, emits, batch, definition), partition, tick))


def block(parts: Sequence[Typed], partition: int, tick: int) -> Block:
    """Return the records of one topic's parts in their common order."""
    return woven([p.block(partition, tick) for p in parts], [p.places for p in parts])


def spread(parts: Sequence[Typed], partitions: int) -> Iterator[tuple[int, list[Typed]]]:
    """Yield the records of one moved topic by the partition of their keys; those of one keep their order."""
    places = [partitions_of(p.keys, partitions) for p in parts]
    for partition in np.unique(np.concatenate(places)).tolist() if places else ():
        rows = [np.flatnonzero(at == partition) for at in places]
        yield partition, [p.of(found) for p, found in zip(parts, rows, strict=True) if len(found)]


def values(parts: Sequence[Typed]) -> pa.BinaryArray:
    """Return the values of one topic's parts in their common order."""
    return weave([p.values for p in parts], [p.places for p in parts])


def _in_order_of_causes(emits: Sequence[Emit], counts: Sequence[int]) -> list[np.ndarray]:
    """Return each row's place among all: by cause, and of one cause by the order of the emits."""
    if len(emits) == 1:
        return [np.arange(counts[0])]
    causes = [e.cause if e.cause is not None else np.arange(n) for e, n in zip(emits, counts, strict=True)]
    numbers = np.repeat(np.arange(len(emits)), counts)
    order = np.lexsort((numbers, np.concatenate(causes))) if causes else np.empty(0, np.int64)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return np.split(places, np.cumsum(counts)[:-1]) if causes else []


def _with_lineage(emit: Emit, batch: Batch | None) -> dict[str, pa.Array]:
    lineage = emit.lineage
    if emit.cause is not None and batch is not None:
        lineage = taken(batch.lineage, emit.cause)
    found = {} if lineage is None else {name: lineage[name] for name in LINEAGE}
    return found | dict(zip(emit.columns.schema.names, emit.columns.columns, strict=True))
