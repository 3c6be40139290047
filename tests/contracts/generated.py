"""Generated Avro schemas and values for them, and ways to damage a body."""

import random
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from headrace.contracts.shape import Shape, record_shape

NUMBERS = st.sampled_from(["boolean", "int", "long", "float", "double"])
TEXTS = st.sampled_from(["bytes", "string"])
VALUES = {
    "boolean": st.booleans(),
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    # Chance alone seldom sets the highest bits.
    "long": st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([-(1 << 63), (1 << 63) - 1, 1 << 62]),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=12),
    "string": st.text(max_size=12),
}


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Record schemas: every type, nested up to three deep, null at either branch of a union."""
    return _named(draw, "record", iter(range(1000)), 3)


def _type(draw: st.DrawFn, names: Iterator[int], depth: int) -> Any:
    kinds = ["scalar", "scalar", "enum", "fixed"] + (["record", "array", "map"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "scalar":
        made: Any = draw(NUMBERS | TEXTS)
    elif kind == "array":
        made = {"type": "array", "items": _type(draw, names, depth - 1)}
    elif kind == "map":
        made = {"type": "map", "values": _type(draw, names, depth - 1)}
    else:
        made = _named(draw, kind, names, depth - 1)
    order = draw(st.sampled_from([None, None, ["null", made], [made, "null"]]))
    return order or made


def _named(draw: st.DrawFn, kind: str, names: Iterator[int], depth: int) -> dict[str, Any]:
    base = {"type": kind, "name": f"N{next(names)}"}
    if kind == "enum":
        return {**base, "symbols": [f"S{i}" for i in range(draw(st.integers(1, 70)))]}
    if kind == "fixed":
        return {**base, "size": draw(st.integers(1, 9))}
    count = draw(st.integers(1, 4))
    return {**base, "fields": [{"name": f"f{i}", "type": _type(draw, names, depth)} for i in range(count)]}


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Return values of a shape as fastavro takes them."""
    found = _present(shape)
    return found if shape.null is None else st.none() | found


def _present(shape: Shape) -> st.SearchStrategy[Any]:
    match shape.kind:
        case "record":
            return st.fixed_dictionaries({f.name: values(f.shape) for f in shape.fields})
        case "array":
            return st.lists(values(shape.fields[0].shape), max_size=4)
        case "map":
            return st.dictionaries(st.text(max_size=4), values(shape.fields[0].shape), max_size=4)
        case "enum":
            return st.sampled_from(shape.symbols)
        case "fixed":
            return st.binary(min_size=shape.size, max_size=shape.size)
        case kind:
            return VALUES[kind]


@st.composite
def batches(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A schema, and a few rows of it."""
    schema = draw(schemas())
    return schema, draw(st.lists(values(record_shape(schema)), max_size=5))


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
