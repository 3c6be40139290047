"""Damaged records: the bytes that a decoder must answer with an error, whatever they hold."""

import io
import random
from collections.abc import Iterator, Sequence
from typing import Any

import fastavro
import pyarrow as pa

from headrace.contracts import catalogue
from headrace.contracts.arrow import from_json
from headrace.contracts.decoded import Decoded
from headrace.contracts.plain import PlainCodec

Seed = tuple[dict[str, Any], bytes]
# Every type that the catalogue does not use, nested.
ODD = {
    "type": "record",
    "name": "Odd",
    "fields": [
        {"name": "a", "type": {"type": "array", "items": ["null", {"type": "array", "items": "string"}]}},
        {"name": "b", "type": ["int", "null"]},
        {"name": "c", "type": {"type": "map", "values": {"type": "map", "values": "boolean"}}},
        {"name": "d", "type": {"type": "fixed", "name": "F", "size": 3}},
        {"name": "e", "type": ["null", {"type": "enum", "name": "E", "symbols": ["x", "y"]}]},
        {"name": "f", "type": "float"},
    ],
}
_ROW = {
    "a": [None, [], ["", "zoë", "€", "𝄞"]],
    "b": -5,
    "c": {"k": {"x": True}, "": {}},
    "d": b"abc",
    "e": "y",
    "f": 1.5,
}


def seeds() -> Iterator[Seed]:
    """Yield a schema and a body to damage: one of every type, then the catalogue's examples.

    Times are plain numbers, since damaged ones are beyond Python's.
    """
    yield ODD, encoded(ODD, [_ROW])[0]
    for name in catalogue.examples():
        schema = catalogue.schema(name)
        codec = PlainCodec(schema)
        row = pa.RecordBatch.from_pylist(
            [from_json(catalogue.example(name), codec.shape)], schema=codec.arrow
        )
        yield _untimed(schema), codec.encode(row)[0]


def encoded(schema: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return the bodies of rows, written by fastavro."""
    parsed = fastavro.parse_schema(schema)
    bodies = []
    for row in rows:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, parsed, row)
        bodies.append(body.getvalue())
    return bodies


def answers(decoded: Decoded, count: int) -> list[str]:
    """Return what was said of each of ``count`` bodies, comparable where NaN stands; of equal map keys the last counts."""
    rows = map(repr, decoded.columns.to_pylist(maps_as_pydicts="lossy"))
    good = dict(zip(decoded.good.tolist(), rows, strict=True))
    return [good.get(n) or f"refused: {decoded.errors[n]}" for n in range(count)]


def _untimed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_untimed(s) for s in schema]
    if isinstance(schema, dict):
        return {k: _untimed(v) for k, v in schema.items() if k != "logicalType"}
    return schema


# Bytes at the edges of what a reader compares with: varints, signs, UTF-8 leads, surrogates.
EDGES = bytes.fromhex("00 01 02 03 7f 80 81 bf c0 c2 df e0 ed ef f0 f4 f5 fe ff")
BOMBS = (
    b"\xff" * 9 + b"\x01",
    b"\xff" * 10,
    b"\xfe" * 9 + b"\x01",
    b"\x80\x00",
    b"\x01\xff\xff\x03",
    b"\xed\xa0\x80",
)


def mutate(chance: random.Random, body: bytes, other: bytes) -> bytes:
    """Return ``body`` damaged in one to three places, sometimes with a piece of ``other``."""
    damaged = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _damage(chance, damaged, other)
    return bytes(damaged)


def _damage(chance: random.Random, body: bytearray, other: bytes) -> None:
    at = chance.randint(0, max(len(body) - 1, 0))
    match chance.randrange(9):
        case 0 | 7 | 8 if body:
            body[at] ^= 1 << chance.randrange(8)
        case 1 if body:
            body[at] = chance.choice(EDGES)
        case 2:
            del body[at:]
        case 3:
            del body[at : at + chance.randint(1, 4)]
        case 4:
            body[at:at] = chance.choice(BOMBS)
        case 5:
            begin = chance.randrange(len(other) + 1)
            body[at:at] = other[begin : begin + chance.randint(1, 12)]
        case _:
            body[at : at + 1] = chance.choice(BOMBS)
