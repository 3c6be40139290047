"""An Avro schema as a small closed tree: names resolved, optional values marked, what we refuse refused.

Everything else in this package walks shapes, never schema dictionaries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

SCALARS = ("boolean", "int", "long", "float", "double", "bytes", "string")
# Fewest bytes a value can take; a block cannot hold more items than bytes allow.
MIN_BYTES = {"float": 4, "double": 8}
MISSING = object()


MICROS = pa.timestamp("us", tz="UTC")
_PHYSICAL = {
    "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "bytes": pa.binary(), "string": pa.string(), "enum": pa.string(),
}  # fmt: skip
# Other logical types are read as the type below them, as Avro asks of a reader that does not know them.
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("long", "timestamp-micros"): MICROS,
    ("long", "timestamp-millis"): pa.timestamp("ms", tz="UTC"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
}
AVRO = {
    **{arrow: avro for avro, arrow in _PHYSICAL.items() if avro != "enum"},
    **{arrow: {"type": avro, "logicalType": logical} for (avro, logical), arrow in _LOGICAL.items()},
}


@dataclass(frozen=True)
class Shape:
    """One value: a scalar, an enum, a fixed, a record, an array or a map."""

    kind: str
    name: str = ""
    null: int | None = None  # which branch of the union is null; None: the value is always there
    logical: str = ""
    fields: tuple["Field", ...] = ()  # a record's; of an array its items, of a map its values
    symbols: tuple[str, ...] = ()
    size: int = 0

    @cached_property
    def values(self) -> pa.StringArray:
        """Return an enum's symbols as a column."""
        return pa.array(self.symbols, pa.string())

    @cached_property
    def depth(self) -> int:
        """Return how deep containers are nested, this one included."""
        return 1 + max((f.shape.depth for f in self.fields), default=0)

    @cached_property
    def min_bytes(self) -> int:
        """Return the fewest bytes an encoded value can take."""
        if self.null is not None:
            return 1
        if self.kind == "record":
            return sum(f.shape.min_bytes for f in self.fields)
        return self.size if self.kind == "fixed" else MIN_BYTES.get(self.kind, 1)

    @cached_property
    def parts(self) -> tuple["Shape", ...]:
        """Return what each item of an array or a map consists of: of a map, the key comes first."""
        inner = self.fields[0].shape
        return (Shape("string"), inner) if self.kind == "map" else (inner,)

    @cached_property
    def item_bytes(self) -> int:
        """Return the fewest bytes an item of an array or a map can take."""
        return sum(part.min_bytes for part in self.parts)

    @cached_property
    def arrow(self) -> pa.DataType:
        """Return the Arrow type of a column of such values."""
        if self.kind == "record":
            return pa.struct([f.arrow() for f in self.fields])
        if self.kind == "array":
            return pa.list_(self.fields[0].arrow("item"))
        if self.kind == "map":
            return pa.map_(pa.string(), self.fields[0].arrow("value"))
        if self.kind == "fixed":
            return pa.binary(self.size)
        return _LOGICAL.get((self.kind, self.logical), _PHYSICAL[self.kind])


@dataclass(frozen=True, slots=True)
class Field:
    """A named member of a shape; ``default`` is the schema's JSON value, or ``MISSING``."""

    name: str
    shape: Shape
    default: Any = field(default=MISSING, hash=False)

    def arrow(self, name: str = "") -> pa.Field:
        """Return the Arrow field of the member, under its own name or another."""
        return pa.field(name or self.name, self.shape.arrow, nullable=self.shape.null is not None)


def shape(schema: Any) -> Shape:
    """Return the shape of a schema as parsed from JSON.

    Raises ``ValueError`` for what no bounded column can hold or no strict reader can check: recursion, unions
    other than of null and one type, a bare null, empty records, zero-width items, and unknown names.
    """
    return _read(schema, "", {})


def record_shape(schema: Mapping[str, Any]) -> Shape:
    """Return the shape of a record's schema; raise ``ValueError`` when it is not a record."""
    found = shape(schema)
    if found.kind != "record" or found.null is not None:
        raise ValueError(f"a record is a topic's value, not {found.kind!r}")
    return found


def full_name(name: str, namespace: str) -> str:
    """Return the dotted name of a named type as Avro resolves it."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _read(schema: Any, namespace: str, named: dict[str, Shape | None]) -> Shape:
    if isinstance(schema, list):
        return _read_union(schema, namespace, named)
    if isinstance(schema, str):
        return Shape(schema) if schema in SCALARS else _look_up(schema, namespace, named)
    if schema["type"] in ("array", "map"):
        return _read_repeated(schema, namespace, named)
    if schema["type"] in ("record", "enum", "fixed"):
        return _read_named(schema, namespace, named)
    inner = _read(schema["type"], namespace, named)
    return replace(inner, logical=schema.get("logicalType", inner.logical))


def _look_up(name: str, namespace: str, named: Mapping[str, Shape | None]) -> Shape:
    found = named.get(full_name(name, namespace), MISSING)
    if isinstance(found, Shape):
        return found
    if found is None:
        raise ValueError(f"{name} contains itself; a recursive value has no bounded columns")
    raise ValueError(f"{name!r} is not a type that a column can hold")


def _read_union(branches: list[Any], namespace: str, named: dict[str, Shape | None]) -> Shape:
    others = [b for b in branches if b != "null"]
    if len(branches) != 2 or len(others) != 1:  # noqa: PLR2004 - null and the one type
        raise ValueError(f"a union is of null and one type; found {len(branches)} branches")
    inner = _read(others[0], namespace, named)
    return replace(inner, null=branches.index("null"))


def _read_repeated(schema: Mapping[str, Any], namespace: str, named: dict[str, Shape | None]) -> Shape:
    member = "items" if schema["type"] == "array" else "values"
    inner = _read(schema[member], namespace, named)
    if schema["type"] == "array" and inner.min_bytes == 0:
        raise ValueError("items of no bytes: seven bytes could ask for endless items")
    return Shape(schema["type"], fields=(Field(member, inner),))


def _read_named(schema: Mapping[str, Any], namespace: str, named: dict[str, Shape | None]) -> Shape:
    name = full_name(schema["name"], schema.get("namespace", namespace))
    if name in named:
        raise ValueError(f"{name} is defined twice")
    named[name] = None
    if schema["type"] == "record":
        found = Shape("record", name, fields=_read_fields(schema, name.rpartition(".")[0], named))
    elif schema["type"] == "enum":
        found = Shape("enum", name, symbols=tuple(schema["symbols"]))
    else:
        found = Shape("fixed", name, size=schema["size"])
    named[name] = found
    return found


def _read_fields(
    schema: Mapping[str, Any], namespace: str, named: dict[str, Shape | None]
) -> tuple[Field, ...]:
    if not schema["fields"]:
        raise ValueError(f"record {schema['name']} has no fields")
    return tuple(
        Field(f["name"], _read(f["type"], namespace, named), f.get("default", MISSING))
        for f in schema["fields"]
    )
