"""An older writer's columns as a newer reader wants them."""

import pyarrow as pa
import pytest

from headrace.contracts.codec import Codec


def record(name, *fields):
    return {"type": "record", "name": name, "fields": list(fields)}


def member(name, kind, **more):
    return {"name": name, "type": kind, **more}


def project(columns, schema):
    return Codec(schema).fitted(columns)


INNER = record("Inner", member("a", "int"))
NEWER_INNER = record("Inner", member("b", "string", default="?"), member("a", "long"))
OLD = record(
    "R",
    member("gone", "string"),
    member("list", {"type": "array", "items": INNER}),
    member("map", ["null", {"type": "map", "values": "Inner"}]),
    member("one", ["null", "Inner"]),
)
NEW = record(
    "R",
    member("one", ["null", NEWER_INNER]),
    member("list", {"type": "array", "items": "Inner"}),
    member("map", ["null", {"type": "map", "values": "Inner"}]),
    member("added", ["null", "double"], default=None),
    member("raw", "bytes", default="\u00ff"),
    member("tags", {"type": "map", "values": "long"}, default={"k": 1}),
    member("when", {"type": "long", "logicalType": "timestamp-micros"}, default=0),
)


def old_rows():
    rows = [
        {"gone": "x", "list": [{"a": 1}, {"a": 2}], "map": [("k", {"a": 3})], "one": None},
        {"gone": "y", "list": [], "map": None, "one": {"a": 4}},
    ]
    return pa.RecordBatch.from_pylist(rows, schema=Codec(OLD).arrow)


def test_fields_come_go_and_widen_at_every_depth():
    found = project(old_rows(), NEW)
    found.validate(full=True)
    assert found.schema == Codec(NEW).arrow
    first, second = found.to_pylist(maps_as_pydicts="strict")
    assert first["list"] == [{"b": "?", "a": 1}, {"b": "?", "a": 2}]
    assert first["map"] == {"k": {"b": "?", "a": 3}}
    assert first["one"] is None
    assert second["map"] is None
    assert second["one"] == {"b": "?", "a": 4}
    assert (second["added"], second["raw"], second["tags"]) == (None, b"\xff", {"k": 1})


def test_a_slice_projects_as_the_whole_does():
    assert project(old_rows().slice(1), NEW).equals(project(old_rows(), NEW).slice(1))


def test_columns_that_fit_are_left_alone():
    rows = old_rows()
    assert project(rows, OLD) is rows


def test_a_new_field_without_default_is_refused():
    with pytest.raises(ValueError, match="'z' was not written and has no default"):
        project(old_rows(), record("R", member("z", "long")))


def test_a_null_is_refused_where_the_reader_requires_a_value():
    with pytest.raises(ValueError, match="1 nulls where Inner is required"):
        project(old_rows(), record("R", member("one", INNER)))
