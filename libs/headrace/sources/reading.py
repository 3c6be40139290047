"""How a file's rows become a pipeline's events and answers: kept beside its contracts, used by every publish."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.contracts.arrow import arrow_schema
from headrace.errors import ConfigurationError, UsageError
from headrace.pipeline.definition import Definition
from headrace.pipeline.durations import Duration
from headrace.pipeline.schemas import raw_schema
from headrace.sources import columns, instants, tabular
from headrace.sources.columns import Kind, class_names
from headrace.sources.instants import Form
from headrace.sources.tabular import Sheet

EVENT, ANSWER = "Event", "Answer"
EVENT_ID, ANSWER_ID, ANSWERED_AT = "event_id", "answer_id", "answered_at"
_ID_DIGITS = 12
_KINDS: dict[pa.DataType, Kind] = {
    pa.bool_(): "boolean",
    pa.int64(): "long",
    pa.float64(): "double",
    pa.string(): "string",
}


class Instant(BaseModel):
    """A column with times, and how they are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    format: str = "iso"
    tz: str | None = None

    def of(self, sheet: Sheet) -> pl.Series:
        """Return the column's instants (microseconds, UTC)."""
        return instants.parse(_column(sheet, self.column), Form(self.format, self.tz))


class Reading(BaseModel):
    """What ``pipelines/NAME/source.yaml`` says: file columns on the right, contract fields on the left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: dict[str, str] = Field(
        description="Field of Event: column of the file (keys, features, and the id if it has one)"
    )
    time: Instant
    time_field: str
    label: str = Field(description="Column with the label; a row without one is an event without an answer")
    label_field: str
    label_time: Instant | None = None
    label_delay: Duration | None = Field(
        None, description="Time from an event to its answer, without label_time"
    )
    nulls: list[str] = Field([], description="Texts that stand for a missing value")
    header: list[str] | None = Field(None, description="The columns' names when the file has no header")

    def sheet(self, path: Path) -> Sheet:
        """Return the file, read as this says."""
        return tabular.read(path, nulls=self.nulls, columns=self.header)

    def tables(self, definition: Definition, sheet: Sheet) -> dict[str, pa.Table]:
        """Return the file's events and answers with the types of the contracts.

        Raises ``UsageError`` naming column, rows and values that do not fit.
        """
        schema = arrow_schema(raw_schema(definition, EVENT))
        times = self.time.of(sheet)
        ids = self._ids(definition, sheet)
        own = {f: _fitted(_column(sheet, c), schema.field(f), sheet) for f, c in self.fields.items()}
        events = pl.DataFrame({definition.records[EVENT].id: ids, self.time_field: times} | own)
        answers = self._answers(definition, sheet, events, times)
        return {EVENT: _table(events, definition, EVENT), ANSWER: _table(answers, definition, ANSWER)}

    def _ids(self, definition: Definition, sheet: Sheet) -> pl.Series:
        field = definition.records[EVENT].id
        if field in self.fields:
            return _column(sheet, self.fields[field]).cast(pl.String)
        rows = pl.int_range(1, len(sheet.frame) + 1, eager=True).cast(pl.String)
        return f"{sheet.digest[:_ID_DIGITS]}:" + rows

    def _answers(
        self, definition: Definition, sheet: Sheet, events: pl.DataFrame, times: pl.Series
    ) -> pl.DataFrame:
        record = definition.records[ANSWER]
        at = (
            self.label_time.of(sheet)
            if self.label_time
            else times + timedelta(microseconds=self.label_delay or 0)
        )
        ids = events[definition.records[EVENT].id]
        own = {
            record.id: ids + ":answer",
            str(record.joins): ids,
            record.time: at,
            self.label_field: self._label(definition, sheet),
        }
        keys = {name: events[name] for name in record.key}
        return pl.DataFrame(own | keys).filter(pl.col(self.label_field).is_not_null())

    def _label(self, definition: Definition, sheet: Sheet) -> pl.Series:
        series = _column(sheet, self.label)
        if definition.task != "regression":
            return class_names(columns.infer(series, decimal_comma=sheet.decimal_comma).values)
        field = arrow_schema(raw_schema(definition, ANSWER)).field(self.label_field)
        return _fitted(series, field.with_nullable(nullable=True), sheet)


def load(folder: Path, name: str) -> Reading:
    """Return how files of the pipeline ``name`` are read; raise ``ConfigurationError`` when nothing says it."""
    path = folder / name / "source.yaml"
    try:
        return Reading.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path} does not exist, so no file can be read for {name}",
            next_command=f"headrace init {name} --from data.csv ...",
        ) from error
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} is wrong", str(error), f"edit {path}") from error


def _column(sheet: Sheet, name: str) -> pl.Series:
    if name not in sheet.frame.columns:
        raise UsageError(
            f"{sheet.path} has no column {name}", f"its columns are {', '.join(sheet.frame.columns)}"
        )
    return sheet.frame[name]


def _fitted(series: pl.Series, field: pa.Field, sheet: Sheet) -> pl.Series:
    """Return the values as the contract's field wants them."""
    parsed = columns.parse(series, _KINDS[field.type], decimal_comma=sheet.decimal_comma)
    lost = columns.misfits(series, parsed) if field.nullable else parsed.is_null().arg_true()
    if not lost.is_empty():
        shown = ", ".join(f"row {row + 1}: {series[row]!s}" for row in lost.head(3).to_list())
        raise UsageError(
            f"column {series.name}: {len(lost)} values do not fit the contract's {_KINDS[field.type]}",
            shown,
            "correct them, or edit the contract; texts for missing values belong under nulls in source.yaml",
        )
    return parsed.fill_nan(None) if parsed.dtype == pl.Float64 else parsed


def _table(frame: pl.DataFrame, definition: Definition, record: str) -> pa.Table:
    schema = arrow_schema(raw_schema(definition, record))
    table = frame.select(schema.names).to_arrow()
    columns_: Mapping[str, pa.ChunkedArray] = {f.name: table[f.name].cast(f.type) for f in schema}
    return pa.table(list(columns_.values()), schema=schema)
