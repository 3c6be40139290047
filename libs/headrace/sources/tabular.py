"""Read a CSV or Parquet file whole: a CSV's cells stay text until their column's type is known."""

import csv
import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from headrace.errors import UsageError

SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_LINES = 200
_VALUE_NOT_NAME = re.compile(r"^\s*$|^[+-]?[\d.,]+([eE][+-]?\d+)?$|^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file's columns under their own names, and what was found out about the file."""

    path: Path
    digest: str
    separator: str | None
    frame: pl.DataFrame

    @property
    def decimal_comma(self) -> bool:
        """Tell whether a comma between digits can be a decimal point."""
        return self.separator not in (None, ",")


def read(path: Path, *, nulls: Sequence[str] = (), columns: Sequence[str] | None = None) -> Sheet:
    """Return a file whole; ``nulls`` are texts that stand for a missing value, ``columns`` name headerless ones.

    Raises ``UsageError`` for a file that is missing, empty, not UTF-8, ragged or without a header.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist", next_command="name a CSV or Parquet file")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    separator = None if path.suffix in (".parquet", ".pq") else _separator(path)
    frame = _parquet(path) if separator is None else _csv(path, separator, nulls, columns)
    if frame.is_empty():
        raise UsageError(f"{path} has no rows")
    return Sheet(path, digest, separator, frame)


def _parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{path} is not a Parquet file", str(error)) from error


def _csv(path: Path, separator: str, nulls: Sequence[str], columns: Sequence[str] | None) -> pl.DataFrame:
    if columns is None:
        _check_header(path, separator)
    try:
        frame = pl.read_csv(
            path,
            separator=separator,
            infer_schema=False,
            null_values=["", *nulls],
            has_header=columns is None,
        )
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"{path} is not a table", str(error).splitlines()[0], "correct the lines it names"
        ) from error
    if columns is None:
        return frame
    if len(columns) != frame.width:
        raise UsageError(f"{path} has {frame.width} columns, --columns names {len(columns)}")
    return frame.rename(dict(zip(frame.columns, columns, strict=True)))


def _separator(path: Path) -> str:
    """Return the separator that cuts the first lines into the same number of cells, most cells first."""
    lines = _first_lines(path)
    if not lines:
        raise UsageError(f"{path} is empty")
    widths = {s: {len(row) for row in csv.reader(lines, delimiter=s) if row} for s in SEPARATORS}
    even = [s for s in SEPARATORS if len(widths[s]) == 1 and widths[s] != {1}]
    if even:
        return max(even, key=lambda s: sum(widths[s]))
    return max(SEPARATORS, key=lines[0].count)


def _first_lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(itertools.islice(file, _SAMPLE_LINES))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8", str(error), f"iconv -f latin1 -t utf-8 {path} > utf8.csv"
        ) from error


def _check_header(path: Path, separator: str) -> None:
    header = next(csv.reader(_first_lines(path), delimiter=separator))
    values = [cell for cell in header if _VALUE_NOT_NAME.match(cell)]
    twice = {cell for cell in header if header.count(cell) > 1}
    if values or twice:
        why = (
            f"its first line has the value {values[0]!r}"
            if values
            else f"its first line has {min(twice)!r} twice"
        )
        names = ",".join(f"c{n}" for n in range(1, len(header) + 1))
        raise UsageError(f"{path} has no header", why, f"name the columns: --columns {names}")
