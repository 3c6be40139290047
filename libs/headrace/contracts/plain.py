"""The codec in plain Python: a strict walk over the bytes, then fastavro for the values.

It is the oracle of the compiled codec, and quicker where there are few rows that are no columns yet. fastavro alone takes
trailing bytes, negative indices and over-long varints, so it only ever sees a body that the walk has passed.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from headrace.contracts import kernel
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.decoded import Budget, Decoded
from headrace.contracts.kernel import REASONS
from headrace.contracts.shape import Shape, record_shape

_INT32 = range(-(1 << 31), 1 << 31)
_WIDTHS = {"float": 4, "double": 8}


class UnreadableError(ValueError):
    """A body is not a strict encoding of its schema; ``code`` indexes ``REASONS``."""

    def __init__(self, code: int) -> None:
        super().__init__(REASONS[code])
        self.code = code


class PlainCodec:
    """Decode and encode the records of one schema, a record at a time."""

    def __init__(self, schema: Mapping[str, Any], budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.shape = record_shape(schema)
        if self.shape.depth > self.budget.depth:
            raise ValueError(f"nested {self.shape.depth} deep; the budget is {self.budget.depth}")
        self.arrow = arrow_schema(schema)
        # fastavro would turn logical types into datetimes and back; columns hold the integers.
        self._schema = fastavro.parse_schema(_without_logical(schema))

    def decode(self, bodies: Sequence[bytes]) -> Decoded:
        """Return the columns of the good bodies and a reason for each other; a bad one never harms a neighbour."""
        rows, good, errors = [], [], {}
        for position, body in enumerate(bodies):
            try:
                check(self.shape, body, self.budget)
            except UnreadableError as bad:
                errors[position] = REASONS[bad.code]
                continue
            rows.append(fastavro.schemaless_reader(io.BytesIO(body), self._schema, None))
            good.append(position)
        columns = pa.RecordBatch.from_pylist([_row(self.shape, r) for r in rows], schema=self.arrow)
        return Decoded(columns, np.array(good, dtype=np.int64), errors)

    def encode(self, columns: pa.RecordBatch) -> list[bytes]:
        """Return one body a row; raise ``ValueError`` when a value does not fit the schema."""
        physical = pa.RecordBatch.from_arrays(
            [_physical(c) for c in columns.select(self.arrow.names).columns], names=self.arrow.names
        )
        return [self.body(row) for row in physical.to_pylist(maps_as_pydicts="strict")]

    def body(self, row: Mapping[str, Any]) -> bytes:
        """Return the body of one row: its fields by name, times as whole units, maps as dicts."""
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._schema, row)
        return body.getvalue()


def _without_logical(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical(s) for s in schema]
    if isinstance(schema, Mapping):
        return {k: _without_logical(v) for k, v in schema.items() if k not in ("logicalType", "default")}
    return schema


def _row(shape: Shape, value: Any) -> Any:
    """Return ``value`` with each map as the pairs that Arrow takes."""
    if value is None or not shape.fields:
        return value
    if shape.kind == "record":
        return {f.name: _row(f.shape, value[f.name]) for f in shape.fields}
    if shape.kind == "array":
        return [_row(shape.fields[0].shape, v) for v in value]
    return [(k, _row(shape.fields[0].shape, v)) for k, v in value.items()]


def _physical(column: pa.Array) -> pa.Array:
    return column.cast(_physical_type(column.type))


def _physical_type(arrow: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(arrow):
        return pa.int64()
    if pa.types.is_date32(arrow):
        return pa.int32()
    if pa.types.is_struct(arrow):
        return pa.struct([f.with_type(_physical_type(f.type)) for f in arrow])
    if pa.types.is_map(arrow):
        return pa.map_(pa.string(), arrow.item_field.with_type(_physical_type(arrow.item_type)))
    if pa.types.is_list(arrow):
        return pa.list_(arrow.value_field.with_type(_physical_type(arrow.value_type)))
    return arrow


def check(shape: Shape, body: bytes, budget: Budget) -> None:
    """Raise ``UnreadableError`` unless ``body`` is exactly one strictly encoded value within ``budget``."""
    if len(body) > budget.size:
        raise UnreadableError(kernel.BUDGET)
    walk = _Walk(body, budget.items)
    walk.value(shape)
    if walk.at != len(body):
        raise UnreadableError(kernel.TRAILING)


class _Walk:
    """A reader's place in a body, and the items it may still meet."""

    def __init__(self, body: bytes, items: int) -> None:
        self.body, self.at, self.items = body, 0, items

    def value(self, shape: Shape) -> None:
        """Read a value, and the branch before it where the schema lets it be null."""
        if shape.null is not None:
            branch = self.long()
            if branch not in (0, 1):
                raise UnreadableError(kernel.BAD_INDEX)
            if branch == shape.null:
                return
        if shape.kind in ("array", "map"):
            self.blocks(shape)
        elif shape.kind == "record":
            for member in shape.fields:
                self.value(member.shape)
        else:
            self.scalar(shape)

    def scalar(self, shape: Shape) -> None:
        """Read a value that has no others in it; floats and fixed have no wrong bytes, only too few."""
        match shape.kind:
            case "boolean":
                if self.take(1) not in (b"\0", b"\1"):
                    raise UnreadableError(kernel.BAD_BOOLEAN)
            case "int":
                if self.long() not in _INT32:
                    raise UnreadableError(kernel.OUT_OF_RANGE)
            case "long":
                self.long()
            case "enum":
                if self.long() not in range(len(shape.symbols)):
                    raise UnreadableError(kernel.BAD_INDEX)
            case "bytes":
                self.take(self.length())
            case "string":
                self.text()
            case _:
                self.take(shape.size or _WIDTHS[shape.kind])

    def take(self, count: int) -> bytes:
        """Return the next bytes, so many."""
        if count > len(self.body) - self.at:
            raise UnreadableError(kernel.TRUNCATED)
        self.at += count
        return self.body[self.at - count : self.at]

    def long(self) -> int:
        """Read a zigzag varint: at most ten bytes, no more than it needs, no bit beyond the 64th."""
        value = 0
        for place in range(10):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:  # noqa: PLR2004 - the high bit says that more follow
                if (place and not byte) or value >> 64:
                    raise UnreadableError(kernel.BAD_VARINT)
                return (value >> 1) ^ -(value & 1)
        raise UnreadableError(kernel.BAD_VARINT)

    def length(self) -> int:
        """Read how many bytes follow."""
        count = self.long()
        if count < 0:
            raise UnreadableError(kernel.BAD_LENGTH)
        return count

    def text(self) -> None:
        """Read a string of strict UTF-8."""
        found = self.take(self.length())
        try:
            found.decode()
        except UnicodeDecodeError as bad:
            raise UnreadableError(kernel.BAD_UTF8) from bad

    def blocks(self, shape: Shape) -> None:
        """Read an array's or a map's blocks; a negative count is followed by the block's size in bytes."""
        while count := self.long():
            end = None
            if count < 0:
                size = self.long()
                if size < 0:
                    raise UnreadableError(kernel.BAD_BLOCK)
                if size > len(self.body) - self.at:
                    raise UnreadableError(kernel.TRUNCATED)
                end, count = self.at + size, -count
            self.block(shape, count)
            if end is not None and end != self.at:
                raise UnreadableError(kernel.BAD_BLOCK)

    def block(self, shape: Shape, count: int) -> None:
        """Read the items of one block, as long as bytes and budget can hold so many."""
        if count > (len(self.body) - self.at) // shape.item_bytes:
            raise UnreadableError(kernel.TRUNCATED)
        self.items -= count
        if self.items < 0:
            raise UnreadableError(kernel.BUDGET)
        for _ in range(count):
            for part in shape.parts:
                self.value(part)
