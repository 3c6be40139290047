"""One pair of schemas for every kind of change."""

from typing import Any


def record(kind: Any, name: str = "R", **more: tuple[Any, ...]) -> dict[str, Any]:
    """Return a record with the field f1 of a type, and more fields: a type, and perhaps a default."""
    fields = [{"name": "f1", "type": kind}]
    for other, (its_kind, *default) in more.items():
        fields.append({"name": other, "type": its_kind, **({"default": default[0]} if default else {})})
    return {"type": "record", "name": name, "namespace": "test", "fields": fields}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F") -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


def _field(**more: Any) -> dict[str, Any]:
    return {**record("int"), "fields": [{"name": "f1", "type": "int", **more}]}


_RENAMED = {**record("int"), "fields": [{"name": "g1", "type": "int", "aliases": ["f1"]}]}
_MOVED = {**record("int"), "fields": [{"name": "f2", "type": "long"}, {"name": "f1", "type": "int"}]}
_MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
_MICROS = {"type": "long", "logicalType": "timestamp-micros"}

CASES = {
    "record-renamed": (record("int"), record("int", "S")),
    "field-added-with-default": (record("int"), record("int", f2=("int", 0))),
    "field-added-without-default": (record("int"), record("int", f2=("int",))),
    "field-removed-with-default": (record("int", f2=("int", 0)), record("int")),
    "field-removed-without-default": (record("int", f2=("int",)), record("int")),
    "field-renamed-with-alias": (record("int"), _RENAMED),
    "field-moved": (record("int", f2=("long",)), _MOVED),
    "default-added": (_field(), _field(default=1)),
    "default-removed": (_field(default=1), _field()),
    "default-changed": (_field(default=1), _field(default=2)),
    "doc-changed": (_field(doc="A."), _field(doc="B.")),
    "type-widened": (record("int"), record("long")),
    "type-narrowed": (record("double"), record("float")),
    "type-exchanged": (record("string"), record("bytes")),
    "type-changed": (record("int"), record("string")),
    "made-nullable": (record("int"), record(["null", "int"])),
    "made-required": (record(["null", "int"]), record("int")),
    "branch-added": (record(["null", "int"]), record(["null", "int", "string"])),
    "branch-removed": (record(["null", "int", "string"]), record(["null", "int"])),
    "branches-reordered": (record(["null", "int"]), record(["int", "null"])),
    "symbol-added": (record(enum("a")), record(enum("a", "b"))),
    "symbol-added-with-default": (
        record(enum("a", default="a")),
        record(enum("a", "b", default="a")),
    ),
    "symbol-removed": (record(enum("a", "b")), record(enum("a"))),
    "symbol-removed-with-default": (
        record(enum("a", "b", default="a")),
        record(enum("a", default="a")),
    ),
    "symbols-reordered": (record(enum("a", "b")), record(enum("b", "a"))),
    "size-changed": (record(fixed(2)), record(fixed(3))),
    "type-renamed": (record(fixed(2)), record(fixed(2, "G"))),
    "type-renamed-with-alias": (
        record(enum("a")),
        record(enum("a", name="G", aliases=["test.E"])),
    ),
    "logical-type-changed": (record(_MILLIS), record(_MICROS)),
}
STRICTER = {"logical-type-changed"}
"""Kinds that we forbid and Avro allows: the bytes are read, and mean another thing."""
