"""SQL expressions over the columns of one record type, compiled once and applied to batch after batch.

An expression sees one row: what it says of a row may not depend on the rows beside it, nor on the clock
(a batch may be cut anywhere). ``compile`` refuses those that do, by trying them on made-up rows.

A number that is not finite is no value: it counts as null where an expression reads it, and where one makes it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from headrace.contracts.arrow import as_type, same
from headrace.errors import ConfigurationError

Compiled = Callable[[pa.RecordBatch], pa.RecordBatch]
NUMBER, TEXT, TRUTH = pa.float64(), pa.string(), pa.bool_()
_POLARS = {NUMBER: pl.Float64, TEXT: pl.String, TRUTH: pl.Boolean}
_CLOCK = re.compile(r"\b(now|today)\s*\(|\bcurrent_(date|time|timestamp)\b|\blocaltime", re.IGNORECASE)


def compile_sql(sql: Mapping[str, tuple[str, pa.DataType]], schema: pa.Schema) -> Compiled:
    """Return a function from a batch of ``schema`` to one column for each entry of ``sql``, of the type it asks.

    Types are ``NUMBER``, ``TEXT`` and ``TRUTH``. Raises ``ConfigurationError`` for an expression that does not
    parse, names an unknown column, yields another type, or looks beyond its own row.
    """
    kinds = {name: kind for name, (_, kind) in sql.items()}
    bare = {name: text.strip('"') for name, (text, kind) in sql.items() if _is_bare(text, kind, schema)}
    rest = {
        name: _checked(name, text, kind, schema) for name, (text, kind) in sql.items() if name not in bare
    }
    constant = {name: _value(e, kinds[name]) for name, e in rest.items() if not e.meta.root_names()}
    roots = sorted({root for expression in rest.values() for root in expression.meta.root_names()})
    selection = [expression.alias(name) for name, expression in rest.items() if name not in constant]
    out = pa.schema(list(kinds.items()))

    def apply(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = {name: finite(as_type(batch.column(column), kinds[name])) for name, column in bare.items()}
        columns |= {name: same(value, batch.num_rows, kinds[name]) for name, value in constant.items()}
        if selection:
            columns |= _evaluated(batch.select(roots), selection, kinds)
        return pa.RecordBatch.from_arrays([columns[name] for name in kinds], schema=out)

    return apply


def _is_bare(sql: str, kind: pa.DataType, schema: pa.Schema) -> bool:
    """Tell whether ``sql`` is a column's name and Arrow casts it: that path costs a tenth of the other."""
    place = schema.get_field_index(sql.strip('"'))
    if place < 0:
        return False
    held = schema.field(place).type
    plain = pa.types.is_integer(held) or pa.types.is_floating(held)
    return bool((kind == NUMBER and plain) or held == kind)


def _value(constant: pl.Expr, kind: pa.DataType) -> Any:
    return finite(as_type(pl.select(constant).to_series().to_arrow(), kind))[0].as_py()


def _evaluated(
    batch: pa.RecordBatch, selection: list[pl.Expr], kinds: Mapping[str, pa.DataType]
) -> dict[str, pa.Array]:
    known = {name: finite(batch.column(name)) for name in batch.schema.names}
    found = pl.DataFrame(pa.RecordBatch.from_pydict(known)).select(selection)
    return {s.name: finite(as_type(s.to_arrow(), kinds[s.name])) for s in found}


def finite(column: pa.Array) -> pa.Array:
    """Return the column with nulls for NaN and infinities; one that holds no floats comes back as it is."""
    if not pa.types.is_floating(column.type):
        return column
    good = pc.is_finite(column)
    if good.true_count + column.null_count == len(column):
        return column
    return pc.if_else(good, column, pa.scalar(None, column.type))


def read_by(sql: str, schema: pa.Schema) -> list[str]:
    """Return the columns of ``schema`` that an expression reads."""
    return sorted(set(pl.sql_expr(sql).meta.root_names()) & set(schema.names))


def _checked(name: str, sql: str, kind: pa.DataType, schema: pa.Schema) -> pl.Expr:
    if _CLOCK.search(sql):
        raise ConfigurationError(
            f"{name}: `{sql}` asks the clock", next_command="use the event's own time column"
        )
    try:
        expression = pl.sql_expr(sql)
        whole = _probe(schema).select(expression.alias(name))[name]
        alone = [_probe(schema).slice(i, 1).select(expression.alias(name))[name] for i in range(_PROBES)]
    except (pl.exceptions.PolarsError, pl.exceptions.SQLInterfaceError) as error:
        raise ConfigurationError(
            f"{name}: `{sql}` does not work", why=str(error), next_command=_columns(schema)
        ) from error
    if not expression.meta.is_literal() and not whole.equals(pl.concat(alone), null_equal=True):
        raise ConfigurationError(
            f"{name}: `{sql}` looks beyond its own row", next_command="use a window feature for aggregates"
        )
    return _cast(name, sql, expression, whole.dtype, kind)


def _cast(name: str, sql: str, expression: pl.Expr, held: pl.DataType, kind: pa.DataType) -> pl.Expr:
    fits = {
        NUMBER: held.is_numeric() or held in (pl.Boolean, pl.Null) or held.is_temporal(),
        TEXT: not held.is_nested() and held != pl.Binary,
        TRUTH: held in (pl.Boolean, pl.Null),
    }
    if not fits[kind]:
        raise ConfigurationError(f"{name}: `{sql}` is {held}, not {kind}", next_command=_ADVICE[kind])
    return expression.cast(_POLARS[kind])


_ADVICE = {
    NUMBER: "say `kind: category` for text, or CAST it",
    TEXT: "CAST it AS VARCHAR",
    TRUTH: "write a comparison",
}
_PROBES = 6
# Values repeat and one is missing, so that an aggregate, a window or a rank shows.
_SAMPLES: list[tuple[Callable[[pl.DataType], bool], list[Any]]] = [
    (lambda t: t.is_float(), [0.5, 7.25, None, 3.0, 7.25, 1.0]),
    (lambda t: t.is_integer(), [1, 7, None, 3, 7, 1]),
    (lambda t: t == pl.Boolean, [True, False, None, True, True, False]),
    (lambda t: t == pl.String, ["1", "1", None, "7", "3", "1"]),
    (lambda t: t.is_temporal(), [1_000_000, 7_000_000, None, 3_000_000, 7_000_000, 1_000_000]),
]


def _probe(schema: pa.Schema) -> pl.DataFrame:
    """Return made-up rows to try an expression on."""
    kinds = pl.DataFrame(schema.empty_table()).schema
    columns = [
        pl.Series(name, next((v for fits, v in _SAMPLES if fits(kind)), [None] * _PROBES), strict=False).cast(
            kind
        )
        for name, kind in kinds.items()
    ]
    return pl.DataFrame(columns)


def _columns(schema: pa.Schema) -> str:
    return f"the columns are {', '.join(schema.names)}"
