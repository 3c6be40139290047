"""Avro schemas as Arrow schemas and back, and columns of an older writer as a newer reader wants them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.shape import AVRO, MICROS, MISSING, Field, Shape, record_shape

# One flag a row; None stands for the common case without any.
Mask: TypeAlias = npt.NDArray[np.bool_] | None
_VIEWS = {(pa.string().id, pa.binary().id), (MICROS.id, pa.int64().id)}  # a type itself is slow to look up
Columns = TypeVar("Columns", pa.Array, pa.RecordBatch)


def arrow_schema(schema: Mapping[str, Any]) -> pa.Schema:
    """Return the Arrow schema of a record's columns; raise ``ValueError`` for a schema without one."""
    return pa.schema([f.arrow() for f in record_shape(schema).fields])


def avro_schema(columns: pa.Schema, name: str, namespace: str) -> dict[str, Any]:
    """Return a record schema for Arrow columns; records within are named after their field.

    Nullable columns become unions with null that default to null. Raises ``ValueError`` for a type without an
    Avro counterpart here.
    """
    fields = [_avro_field(f, f"{name}_{f.name}") for f in columns]
    return {"type": "record", "name": name, "namespace": namespace, "fields": fields}


def _avro_field(column: pa.Field, inner_name: str) -> dict[str, Any]:
    avro = _avro_type(column.type, inner_name)
    if column.nullable:
        return {"name": column.name, "type": ["null", avro], "default": None}
    return {"name": column.name, "type": avro}


def _avro_type(arrow: pa.DataType, name: str) -> Any:
    if pa.types.is_struct(arrow):
        fields = [_avro_field(f, f"{name}_{f.name}") for f in arrow]
        return {"type": "record", "name": name, "fields": fields}
    if pa.types.is_map(arrow):
        return {"type": "map", "values": _avro_field(arrow.item_field, name)["type"]}
    if pa.types.is_list(arrow):
        return {"type": "array", "items": _avro_field(arrow.value_field, name)["type"]}
    if pa.types.is_fixed_size_binary(arrow):
        return {"type": "fixed", "name": name, "size": arrow.byte_width}
    if arrow not in AVRO:
        raise ValueError(f"{name}: Arrow's {arrow} has no Avro type here")
    return AVRO[arrow]


def fit(columns: pa.RecordBatch, shape: Shape, target: pa.Schema) -> pa.RecordBatch:
    """Return ``columns`` as a reader's schema has them, of which this is the shape and the Arrow schema.

    Fields that the writer did not have take their default, fields that the reader does not know fall away, and
    numbers widen, at every depth. Raises ``ValueError`` where a default is missing or a value does not fit.
    """
    if columns.schema.equals(target):
        return columns
    written = dict(zip(columns.schema.names, columns.columns, strict=True))
    arrays = [_member(written, f, len(columns)) for f in shape.fields]
    return pa.RecordBatch.from_arrays(arrays, schema=target)


def _member(written: Mapping[str, pa.Array], member: Field, length: int, hidden: Mask = None) -> pa.Array:
    if member.name in written:
        return _fit(written[member.name], member.shape, hidden)
    if member.default is MISSING:
        raise ValueError(f"field {member.name!r} was not written and has no default")
    return same(from_json(member.default, member.shape), length, member.shape.arrow)


def _fit(column: pa.Array, shape: Shape, hidden: Mask = None) -> pa.Array:
    refuse_nulls(column, shape, hidden)
    target = shape.arrow
    if column.type.equals(target):
        return column
    there = ~absent(column) if column.null_count else None
    if shape.kind == "record":
        names = [f.name for f in column.type]
        written = {name: column.field(i) for i, name in enumerate(names)}
        unseen = hidden if there is None else ~there
        members = [_member(written, f, len(column), unseen) for f in shape.fields]
        return pa.StructArray.from_arrays(
            members, fields=list(target), mask=None if there is None else pa.array(~there)
        )
    if shape.kind in ("array", "map"):
        inner = column.items if shape.kind == "map" else column.values
        members = [_fit(inner, shape.fields[0].shape)]
        if shape.kind == "map":
            members.insert(0, column.keys.cast(pa.string()))
        return repeated(target, column.offsets.to_numpy(), members, there)
    return column.cast(target)


def as_type(column: pa.Array, target: pa.DataType) -> pa.Array:
    """Return a column as another type.

    Arrow's own cast costs a batch of few rows dearly, also where nothing is to do or only the type is another: texts
    as bytes, times as the numbers they are.
    """
    if column.type == target:
        return column
    return column.view(target) if (column.type.id, target.id) in _VIEWS else column.cast(target)


def filled(column: pa.Array, value: Any) -> pa.Array:
    """Return a column with ``value`` where it is null; without a null nothing is asked of Arrow."""
    return column.fill_null(value) if column.null_count else column


def same(value: Any, count: int, kind: pa.DataType | None = None) -> pa.Array:
    """Return a column that holds one value ``count`` times."""
    plain = value is None or isinstance(value, str | int)  # 0.0 and -0.0 are equal, and lists have no hash
    if not plain:
        return pa.repeat(pa.scalar(value, kind), count)
    return _repeated(value, kind, _least(count))[:count]


def in_turn(values: tuple[str, ...], count: int) -> pa.StringArray:
    """Return a column of ``count`` texts: those given one after the other, again and again."""
    return _taking_turns(values, _least(count))[:count]


def _least(count: int) -> int:
    """Return the least power of two that is no less, so that few lengths are kept."""
    return 1 << max(count - 1, 0).bit_length()


@lru_cache(maxsize=64, typed=True)
def _repeated(value: Any, kind: pa.DataType | None, count: int) -> pa.Array:
    """Return a column to cut from: most of what is repeated are a few names, batch after batch."""
    return pa.repeat(pa.scalar(value, kind), count)


@lru_cache(maxsize=16)
def _taking_turns(values: tuple[str, ...], count: int) -> pa.StringArray:
    return pa.array(values, pa.string()).take(pa.array(np.arange(count) % len(values)))


def taken(columns: Columns, rows: npt.NDArray[np.int64]) -> Columns:
    """Return some rows, in the order given; all of them in their own order cost nothing."""
    whole = len(rows) == len(columns) and np.array_equal(rows, np.arange(len(rows)))
    return columns if whole else columns.take(pa.array(rows))


def filtered(columns: Columns, keep: npt.NDArray[np.bool_]) -> Columns:
    """Return the rows that are kept; all of them cost nothing."""
    return columns if keep.all() else columns.filter(pa.array(keep))


def absent(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which values of a column are null."""
    if not column.null_count:
        return np.zeros(len(column), np.bool_)
    found: npt.NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return found


def refuse_nulls(column: pa.Array, shape: Shape, hidden: Mask) -> None:
    """Raise ``ValueError`` when a required value is null; under a null parent (``hidden``) it may be."""
    if shape.null is not None or not column.null_count:
        return
    count = int(np.sum(absent(column) if hidden is None else absent(column) & ~hidden))
    if count:
        raise ValueError(f"{count} nulls where {shape.name or shape.kind} is required")


def validity(there: Mask) -> pa.Buffer | None:
    """Return Arrow's bitmap of the values that are there; None for all."""
    return None if there is None else pa.py_buffer(np.packbits(there, bitorder="little"))


def repeated(
    target: pa.DataType, offsets: npt.NDArray[np.int32], members: list[pa.Array], there: Mask
) -> pa.Array:
    """Return a list or map array: ``members`` are a list's values, or a map's keys and values."""
    inner = members[0]
    if pa.types.is_map(target):
        inner = pa.StructArray.from_arrays(members, fields=[target.key_field, target.item_field])
    buffers = [validity(there), pa.py_buffer(np.ascontiguousarray(offsets))]
    return pa.Array.from_buffers(target, len(offsets) - 1, buffers, children=[inner])


def spans(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return the bytes of texts (or byte strings) and the places in them where each begins; a null is empty."""
    offsets, data = texts.buffers()[1:3]
    bounds = (
        np.frombuffer(offsets, np.int32, len(texts) + 1, 4 * texts.offset)
        if offsets
        else np.zeros(1, np.int32)
    )
    return np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8), bounds


def from_json(value: Any, shape: Shape) -> Any:
    """Return a JSON value of a schema (a default, an example) as Arrow takes it.

    Bytes are written as characters 0 to 255, as Avro writes defaults, and times as whole units; members that a record
    leaves out take their default.
    """
    if value is None:
        return None
    if shape.kind in ("bytes", "fixed"):
        return value.encode("latin-1")
    if shape.kind == "record":
        return {f.name: from_json(value.get(f.name, f.default), f.shape) for f in shape.fields}
    if shape.kind == "array":
        return [from_json(v, shape.fields[0].shape) for v in value]
    if shape.kind == "map":
        return [(k, from_json(v, shape.fields[0].shape)) for k, v in value.items()]
    return value
