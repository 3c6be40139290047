"""What a column of text holds: the narrowest kind that all of its values fit."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

Kind = Literal["boolean", "long", "double", "string", "timestamp"]
_TEXTS_FOR_NOTHING = [
    "NA",
    "N/A",
    "N-A",
    "na",
    "n/a",
    "#N/A",
    "null",
    "NULL",
    "None",
    "none",
    "nan",
    "NaN",
    "-",
    "?",
    ".",
]
_DECIMAL_COMMA = r"^([+-]?\d+),(\d+)$"
_LEADING_ZERO = r"^[+-]?0\d"
_WHOLE = r"^[+-]?\d+$"  # whole numbers that no long holds are ids: a double would round them
_DOMINANT = 0.2
_TYPED: list[tuple[Kind, tuple[type[pl.DataType], ...]]] = [
    ("boolean", (pl.Boolean,)),
    ("timestamp", (pl.Datetime, pl.Date)),
    ("double", (pl.Float32, pl.Float64, pl.Decimal, pl.UInt64)),
]
_POLARS = {"boolean": pl.Boolean, "long": pl.Int64, "double": pl.Float64, "string": pl.String}


@dataclass(frozen=True, slots=True)
class Column:
    """A column with its kind; ``note`` tells what was assumed, or what flag would read it better."""

    name: str
    kind: Kind
    values: pl.Series
    note: str = ""


def infer(series: pl.Series, *, decimal_comma: bool = False) -> Column:
    """Return the column with the narrowest kind that every value fits (timestamps are named, not guessed)."""
    if series.dtype != pl.String:
        return _typed(series)
    kind, values = _narrowest(series, decimal_comma=decimal_comma)
    return Column(series.name, kind, values, _note(series, kind, values, decimal_comma=decimal_comma))


def parse(series: pl.Series, kind: Kind, *, decimal_comma: bool = False) -> pl.Series:
    """Return the values as ``kind``; a value that does not fit becomes null."""
    if series.dtype != pl.String:
        return series.cast(_POLARS[kind], strict=False)
    if kind == "boolean":
        return series.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
    if kind == "double" and decimal_comma:
        series = series.str.replace(_DECIMAL_COMMA, "$1.$2")
    if kind == "double":
        return series.str.strip_chars().cast(pl.Float64, strict=False)
    return series.cast(_POLARS[kind], strict=False)


def misfits(before: pl.Series, after: pl.Series) -> pl.Series:
    """Return the numbers of the rows whose value was lost in parsing, counted from 0."""
    return (before.is_not_null() & after.is_null()).arg_true()


def class_names(values: pl.Series) -> pl.Series:
    """Return class labels as text; whole numbers without a decimal point."""
    whole = values.dtype.is_float() and (values.drop_nulls() == values.drop_nulls().round()).all()
    return (values.cast(pl.Int64) if whole else values).cast(pl.String)


def _typed(series: pl.Series) -> Column:
    kind = next((kind for kind, types in _TYPED if isinstance(series.dtype, types)), None)
    if kind is None:
        kind = "long" if series.dtype.is_integer() else "string"
    return Column(series.name, kind, series if kind == "timestamp" else parse(series, kind))


def _narrowest(series: pl.Series, *, decimal_comma: bool) -> tuple[Kind, pl.Series]:
    kinds: list[Kind] = ["boolean", "long", "double"]
    if series.null_count() == len(series) or series.str.contains(_LEADING_ZERO + r"\d*$").any():
        kinds = []
    for kind in kinds:
        values = parse(series, kind, decimal_comma=decimal_comma)
        too_long = kind == "double" and series.str.contains(_WHOLE).all()
        if misfits(series, values).is_empty() and not too_long:
            return kind, values.fill_nan(None) if kind == "double" else values
    return "string", series


def _note(series: pl.Series, kind: Kind, values: pl.Series, *, decimal_comma: bool) -> str:
    if kind == "string":
        return _missing_hint(series, decimal_comma=decimal_comma)
    if kind == "double" and values.null_count() > series.null_count():
        return f"{values.null_count() - series.null_count()} NaN read as null"
    if kind == "double" and decimal_comma and series.str.contains(_DECIMAL_COMMA).any():
        return "decimal comma"
    return ""


def _missing_hint(series: pl.Series, *, decimal_comma: bool) -> str:
    """Return the advice to add ``--null`` when texts such as NA hide another kind, or are many."""
    if series.null_count() == len(series):
        return "always empty"
    found = series.filter(series.is_in(_TEXTS_FOR_NOTHING)).value_counts(sort=True)
    if found.is_empty():
        return "leading zeros: kept as text" if series.str.contains(_LEADING_ZERO).any() else ""
    word, count = found.row(0)
    rest = series.set(series.is_in(_TEXTS_FOR_NOTHING), None)
    kind, _ = _narrowest(rest, decimal_comma=decimal_comma)
    if kind == "string" and count < _DOMINANT * len(series):
        return ""
    then = f", then it is {kind}" if kind != "string" else ""
    return f"{count} values are {word!r}; missing? --null {word}{then}"
