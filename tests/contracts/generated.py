"""Generated Avro schemas and values for them."""

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
