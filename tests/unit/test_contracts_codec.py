"""What the codec answers to hostile bytes, reason by reason, and what it refuses to write."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest

from headrace.contracts.codec import Budget, Codec
from headrace.contracts.plain import PlainCodec


def record(*types):
    return {
        "type": "record",
        "name": "R",
        "fields": [{"name": f"f{i}", "type": t} for i, t in enumerate(types)],
    }


ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}
STRINGS = {"type": "array", "items": "string"}
HOSTILE = [
    ("string", b"", "truncated"),
    ("string", b"\x04a", "truncated"),
    ("string", b"\x02ab", "trailing-bytes"),
    ("string", b"\x01", "bad-length"),
    ("string", b"\x02\xff", "bad-utf8"),
    ("string", b"\x04\xc0\x80", "bad-utf8"),  # a null in two bytes
    ("string", b"\x06\xed\xa0\x80", "bad-utf8"),  # half a surrogate pair
    ("string", b"\x08\xf4\x90\x80\x80", "bad-utf8"),  # beyond the last code point
    ("long", b"\x80\x00", "bad-varint"),  # longer than it needs to be
    ("long", b"\xff" * 9 + b"\x02", "bad-varint"),  # the 65th bit
    ("long", b"\xff" * 10 + b"\x00", "bad-varint"),
    ("int", b"\x80\x80\x80\x80\x10", "out-of-range"),
    ("boolean", b"\x02", "bad-boolean"),
    (ENUM, b"\x04", "bad-index"),
    (ENUM, b"\x01", "bad-index"),
    (["null", "long"], b"\x04", "bad-index"),
    (["null", "long"], b"\x01", "bad-index"),
    (STRINGS, b"\x02\x02a", "truncated"),  # the closing block is missing
    (STRINGS, b"\x01\x0a\x02a\x00", "truncated"),  # a block larger than the body
    (STRINGS, b"\x01\x02\x02a\x00", "bad-block"),  # a block larger than it says
    (STRINGS, b"\x01\x01\x02a\x00", "bad-block"),  # a block of less than nothing
    (STRINGS, b"\xfe" * 9 + b"\x01" + b"\x00" * 8, "truncated"),  # more items than bytes
    (STRINGS, b"\xff" * 9 + b"\x01\x02" + b"\x00" * 8, "truncated"),  # the least number is its own negation
    (STRINGS, b"\x14" + b"\x00" * 11, "budget"),
    ("bytes", b"\xc8\x01" + b"x" * 100, "budget"),
]


@pytest.mark.parametrize("codec", [Codec, PlainCodec])
@pytest.mark.parametrize(("kind", "body", "reason"), HOSTILE)
def test_a_hostile_body_gets_its_reason_and_harms_no_neighbour(codec, kind, body, reason):
    hostile, calm = codec(record(kind), Budget(items=9, size=64)), codec(record("string"))
    assert hostile.decode([body]).errors == {0: reason}
    if kind == "string":
        answer = calm.decode([b"\x02a", body, b"\x02b"])
        assert answer.columns["f0"].to_pylist() == ["a", "b"]
        assert answer.good.tolist() == [0, 2]


def test_a_block_may_tell_its_size_and_an_array_may_have_many_blocks():
    answer = Codec(record(STRINGS)).decode([b"\x01\x04\x02a\x04\x02b\x02c\x00"])
    assert answer.columns["f0"].to_pylist() == [["a", "b", "c"]]


def test_framed_values_are_read_behind_their_header():
    answer = Codec(record("string")).decode([b"\0\0\0\0\1\x02a", b"\0\0\0"], skip=5)
    assert answer.columns["f0"].to_pylist() == ["a"]
    assert answer.errors == {1: "truncated"}


def test_no_bodies_are_no_rows():
    schema = record("string", ["null", ENUM], STRINGS, {"type": "map", "values": "long"})
    codec = Codec(schema)
    empty = codec.decode([]).columns
    assert (empty.num_rows, empty.schema) == (0, codec.arrow)
    assert codec.encode(empty) == []


def test_the_reader_finds_room_for_long_arrays():
    codec = Codec(record({"type": "array", "items": STRINGS}))
    rows = [[["x"] * 50] * 40, [], [["y"] * 1000]]
    batch = pa.RecordBatch.from_pylist([{"f0": r} for r in rows], schema=codec.arrow)
    assert codec.decode(codec.encode(batch)).columns.equals(batch)


def test_what_lies_under_a_null_is_not_written():
    inner = {
        "type": "record",
        "name": "I",
        "fields": [{"name": "s", "type": STRINGS}, {"name": "m", "type": {"type": "map", "values": "long"}}],
    }
    codec = Codec(record(["null", inner], "long"))
    filled = {"s": ["a"], "m": [("k", 1)]}
    batch = pa.RecordBatch.from_pylist([{"f0": filled, "f1": 1}, {"f0": filled, "f1": 2}], schema=codec.arrow)
    struct = batch.column(0)
    masked = pa.StructArray.from_arrays(
        [struct.field(0), struct.field(1)], fields=list(struct.type), mask=pa.array([True, False])
    )
    batch = batch.set_column(0, codec.arrow.field(0), masked)
    assert codec.decode(codec.encode(batch)).columns.to_pylist() == [
        {"f0": None, "f1": 1},
        {"f0": filled, "f1": 2},
    ]


def test_a_required_null_is_not_written():
    codec = Codec(record("string"))
    with pytest.raises(ValueError, match="1 nulls where string is required"):
        codec.encode(pa.RecordBatch.from_pydict({"f0": ["a", None]}))


def test_a_required_null_in_the_right_types_is_not_written():
    codec = Codec(record("long", {"type": "array", "items": "string"}))
    columns = [pa.array([1, 2]), pa.array([["a"], ["b", None]], codec.arrow.field(1).type)]
    with pytest.raises(ValueError, match="row 1: null where string is required"):
        codec.encode(pa.RecordBatch.from_arrays(columns, schema=codec.arrow))


def test_a_required_record_that_is_null_is_not_written():
    codec = Codec(record({"type": "record", "name": "I", "fields": [{"name": "n", "type": "long"}]}))
    kind = codec.arrow.field(0).type
    inner = pa.StructArray.from_arrays([pa.array([1, 2])], fields=list(kind), mask=pa.array([False, True]))
    with pytest.raises(ValueError, match="row 1: null where I is required"):
        codec.encode(pa.RecordBatch.from_arrays([inner], schema=codec.arrow))


def test_an_unknown_symbol_is_not_written():
    batch = pa.RecordBatch.from_pydict({"f0": ["b", "c"]})
    with pytest.raises(ValueError, match="row 1: E has only the symbols a, b"):
        Codec(record(ENUM, {**ENUM, "name": "F", "symbols": ["c"]})).encode(
            batch.append_column("f1", ["c", "c"])
        )


def test_a_row_that_is_longer_than_those_before_it_finds_room():
    codec = Codec(record("string", "bytes", "long"))
    rows = [
        {"f0": c * n, "f1": b"y" * n, "f2": n}
        for c, n in [("a", 1), ("b", 1 << 20), ("c", 0), ("d", 1 << 21)]
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=codec.arrow)
    assert codec.encode(batch, b"head") == [
        b"head" + b for b in PlainCodec(record("string", "bytes", "long")).encode(batch)
    ]


def test_a_record_may_begin_elsewhere_than_its_members():
    inner = {
        "type": "record",
        "name": "I",
        "fields": [{"name": "s", "type": STRINGS}, {"name": "n", "type": ["null", "long"]}],
    }
    codec = Codec(record(inner))
    members = [pa.array([["w"], ["a", "b"], [], ["z"]]).slice(1), pa.array([None, 7, None, 8, 9]).slice(1, 3)]
    kind = codec.arrow.field(0).type
    held = pa.StructArray.from_arrays(
        [m.cast(f.type) for m, f in zip(members, kind, strict=True)], fields=list(kind)
    )
    batch = pa.RecordBatch.from_arrays([held.slice(1)], schema=codec.arrow)
    assert (
        codec.decode(codec.encode(batch)).columns.to_pylist()
        == batch.to_pylist()
        == [
            {"f0": {"s": [], "n": None}},
            {"f0": {"s": ["z"], "n": 8}},
        ]
    )


def test_a_number_that_does_not_fit_is_not_written():
    with pytest.raises(ValueError, match="not in range"):
        Codec(record("int")).encode(pa.RecordBatch.from_pydict({"f0": [1 << 40]}))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "R", "fields": [{"name": "again", "type": ["null", "R"]}]},
        record(["null", "int", "string"]),
        record("null"),
        record({"type": "array", "items": "null"}),
        record({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}),
        record({"type": "record", "name": "Empty", "fields": []}),
        record("Unknown"),
        record(ENUM, ENUM),
        {"type": "map", "values": "int"},
    ],
)
def test_a_schema_without_bounded_columns_is_refused(schema):
    with pytest.raises(ValueError, match=r"\w"):
        Codec(schema)


def test_a_schema_deeper_than_the_budget_is_refused():
    deep = "long"
    for _ in range(40):
        deep = {"type": "array", "items": deep}
    with pytest.raises(ValueError, match="nested 42 deep; the budget is 32"):
        Codec(record(deep))


@pytest.mark.slow
def test_without_a_folder_for_numba_s_cache_the_kernels_compile_in_the_process():
    # numba then knows only the folder that NUMBA_CACHE_DIR would name.
    variables = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    variables.pop("NUMBA_CACHE_DIR", None)
    variables["PYTHONPATH"] = os.pathsep.join(sys.path)
    code = "from headrace.contracts.codec import warm; from headrace.contracts import kernel; warm(); print(kernel.read.stats)"
    found = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    assert "cache_path=None" in found.stdout
