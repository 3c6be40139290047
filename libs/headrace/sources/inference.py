"""What a file and a few named columns say about a pipeline: roles, task, leaks, and the assumptions made."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import polars as pl

from headrace.errors import UsageError
from headrace.pipeline import durations
from headrace.pipeline.definition import Task
from headrace.sources import columns, instants, leaks
from headrace.sources.columns import Column, Kind
from headrace.sources.instants import Form
from headrace.sources.reading import ANSWER_ID, ANSWERED_AT, EVENT_ID
from headrace.sources.tabular import Sheet

Role = Literal["key", "time", "id", "label", "label time", "feature", "left out"]
MAX_CATEGORIES = 254
"""The most values of a category that the encoding of boosted trees keeps apart."""
_LEGAL = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*\Z")
_MAX_CLASSES, _MAX_WHOLE_CLASSES = 50, 10


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said about the file, in the file's own column names."""

    key: Sequence[str]
    time: str
    label: str
    id: str | None = None
    task: Task | None = None
    time_format: str | None = None
    tz: str | None = None
    label_time: str | None = None
    exclude: Sequence[str] = ()
    include: Sequence[str] = ()
    nulls: Sequence[str] = ()
    train_after: int = 1000
    headless: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table that ``init`` prints; ``field`` is the column's name in the contract."""

    column: str
    field: str
    kind: Kind
    nulls: int
    role: Role
    assumption: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A pipeline as far as the file tells it; ``label`` is text for classes and float64 for a regression."""

    sheet: Sheet
    wishes: Wishes
    task: Task
    lines: list[Line]
    label: pl.Series
    times: pl.Series
    time_form: Form
    label_delay: int | None
    label_times: pl.Series | None
    label_form: Form | None
    leaks: dict[str, str] = field(default_factory=dict)

    def role(self, role: Role) -> list[Line]:
        """Return the lines of one role."""
        return [line for line in self.lines if line.role == role]

    def field(self, column: str) -> str:
        """Return the contract's name of a column."""
        return next(line.field for line in self.lines if line.column == column)


def infer(sheet: Sheet, wishes: Wishes) -> Draft:
    """Return the draft of a pipeline.

    Raises ``UsageError``, naming the flag to add, where the file leaves open what only the user knows.
    """
    _check_names(sheet, wishes)
    found = {s.name: columns.infer(s, decimal_comma=sheet.decimal_comma) for s in sheet.frame}
    task, label = _label(found[wishes.label], wishes)
    _check_id(sheet, wishes)
    time_form, times = _times(sheet.frame[wishes.time], wishes)
    label_form, label_times, delay = _label_time(sheet, wishes, times)
    left = _leaks(found, wishes, label)
    forms = {wishes.time: time_form} | ({str(wishes.label_time): label_form} if label_form else {})
    lines = _lines(found, wishes, left, forms)
    if not any(line.role == "feature" for line in lines) and not {*wishes.key} & {*wishes.include}:
        raise _nothing_left(lines)
    return Draft(sheet, wishes, task, lines, label, times, time_form, delay, label_times, label_form, left)


def _nothing_left(lines: Sequence[Line]) -> UsageError:
    out = [line for line in lines if line.role == "left out"]
    why = "; ".join(f"{line.column}: {line.assumption}" for line in out) or "the file has no other columns"
    return UsageError("no column is left to predict from", why, "--include COL keeps one of them")


def known_task(task: str | None) -> Task | None:
    """Return the task by its name; raise ``UsageError`` for another word."""
    if task is not None and task not in get_args(Task):
        raise UsageError(
            f"there is no task {task}", next_command=f"--task {' or --task '.join(get_args(Task))}"
        )
    return cast("Task | None", task)


def avro_names(names: Iterable[str], reserved: Collection[str] = ()) -> dict[str, str]:
    """Return a legal Avro name for each column name: unique, and none of ``reserved``."""
    given: dict[str, str] = {}
    for name in names:
        legal = name if _LEGAL.match(name) else re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "column"
        legal = f"_{legal}" if legal[0].isdigit() else legal
        taken, plain, count = {*given.values(), *reserved}, legal, 1
        while legal in taken:
            count += 1
            legal = f"{plain}_{count}"
        given[name] = legal
    return given


def _check_names(sheet: Sheet, wishes: Wishes) -> None:
    delayed = [wishes.label_time] if wishes.label_time and not _is_delay(wishes.label_time) else []
    named = [*wishes.key, wishes.time, wishes.label, *wishes.exclude, *wishes.include, *delayed]
    named += [wishes.id] if wishes.id else []
    for name in named:
        if name not in sheet.frame.columns:
            raise UsageError(
                f"{sheet.path} has no column {name}",
                f"its columns are {', '.join(sheet.frame.columns)}",
                "correct the name, or give the columns' names with --columns when the file has no header",
            )
    if wishes.label in {*wishes.key, wishes.time, wishes.id}:
        raise UsageError(f"{wishes.label} cannot be the label and the key, time or id as well")


def _check_id(sheet: Sheet, wishes: Wishes) -> None:
    for name in [*wishes.key, *([wishes.id] if wishes.id else [])]:
        _refuse_rows(
            sheet.frame[name].is_null(), f"column {name} is empty", "fill it, or name another column"
        )
    if wishes.id:
        twice = sheet.frame[wishes.id].is_duplicated()
        _refuse_rows(
            twice,
            f"--id {wishes.id}: the value occurs twice",
            "leave --id out: ids are then file digest and row",
        )


def _refuse_rows(bad: pl.Series, what: str, next_command: str) -> None:
    if bad.any():
        rows = ", ".join(str(row + 1) for row in bad.arg_true().head(3).to_list())
        raise UsageError(
            f"{what} in {bad.sum()} of {len(bad)} rows", f"for example rows {rows}", next_command
        )


def _times(series: pl.Series, wishes: Wishes) -> tuple[Form, pl.Series]:
    form = instants.infer(series, time_format=wishes.time_format, tz=wishes.tz)
    times = instants.parse(series, form)
    _refuse_rows(times.is_null(), f"column {series.name} has no time", "fill it or remove those rows")
    return form, times


def _is_delay(text: str) -> bool:
    try:
        durations.parse(text)
    except ValueError:
        return False
    return True


def _label_time(
    sheet: Sheet, wishes: Wishes, times: pl.Series
) -> tuple[Form | None, pl.Series | None, int | None]:
    """Return how the label's time is known: its form and values, or its delay in microseconds (None: not said)."""
    if wishes.label_time is None or _is_delay(wishes.label_time):
        return None, None, durations.parse(wishes.label_time) if wishes.label_time else None
    series = sheet.frame[wishes.label_time]
    form = instants.infer(series, time_format=wishes.time_format, tz=wishes.tz)
    found = instants.parse(series, form)
    early, missing = (
        (found < times).fill_null(value=False),
        found.is_null() & sheet.frame[wishes.label].is_not_null(),
    )
    _refuse_rows(
        early,
        f"{series.name} lies before {wishes.time}",
        "name the column that says when the label was known",
    )
    _refuse_rows(
        missing,
        f"{series.name} is empty where {wishes.label} is not",
        "fill it, or give a delay: --label-time 1d",
    )
    return form, found, None


def _label(column: Column, wishes: Wishes) -> tuple[Task, pl.Series]:
    """Return the task and the label as it has it: text for classes, numbers for a regression."""
    distinct = column.values.drop_nulls().n_unique()
    if distinct < 2:  # noqa: PLR2004 - one value, or none, leaves nothing to learn
        raise UsageError(
            f"the label {column.name} has {distinct} different values", column.note, "name another --label"
        )
    task = wishes.task or _task(column, distinct)
    if task == "regression":
        if column.kind not in ("long", "double"):
            raise UsageError(
                f"the label {column.name} is {column.kind}, not a number", column.note, "--task multiclass"
            )
        return task, column.values.cast(pl.Float64)
    if (task == "binary") != (distinct == 2) or distinct > _MAX_CLASSES:  # noqa: PLR2004
        raise UsageError(
            f"the label {column.name} has {distinct} classes", column.note, "--task regression or multiclass"
        )
    return task, columns.class_names(column.values)


def _task(column: Column, distinct: int) -> Task:
    if distinct == 2:  # noqa: PLR2004
        return "binary"
    few = column.kind == "long" and distinct <= _MAX_WHOLE_CLASSES
    if column.kind == "string" and distinct > _MAX_CLASSES:
        why = column.note or "that is too many to be classes, and texts are no numbers"
        raise UsageError(
            f"the label {column.name} has {distinct} different texts", why, "name another --label"
        )
    return "multiclass" if column.kind == "string" or few else "regression"


def _leaks(found: Mapping[str, Column], wishes: Wishes, label: pl.Series) -> dict[str, str]:
    """Return the reason of every column that may know the label and was not named."""
    settled = {
        wishes.label,
        wishes.time,
        wishes.label_time,
        wishes.id,
        *wishes.key,
        *wishes.exclude,
        *wishes.include,
    }
    asked = {n: c for n, c in found.items() if n not in settled and c.kind != "timestamp"}
    reasons = {name: leaks.suspicion(column.values, label) for name, column in asked.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _lines(
    found: Mapping[str, Column], wishes: Wishes, left: Mapping[str, str], forms: Mapping[str, Form]
) -> list[Line]:
    names = avro_names(found, {EVENT_ID, ANSWER_ID, ANSWERED_AT} - {wishes.id})
    lines = []
    for name, column in found.items():
        role, assumption = _role(column, wishes, left)
        form = forms.get(name)
        kind = "timestamp" if form else column.kind
        notes = [
            assumption,
            _form_note(form),
            "" if names[name] == name else f"called {names[name]}",
            "" if form else column.note,
        ]
        lines.append(
            Line(name, names[name], kind, column.values.null_count(), role, "; ".join(filter(None, notes)))
        )
    return lines


def _form_note(form: Form | None) -> str:
    return "" if form is None else f"read as {form.format}" + (f" in {form.tz}" if form.tz else "")


def _role(column: Column, wishes: Wishes, left: Mapping[str, str]) -> tuple[Role, str]:
    name = column.name
    if role := _named_role(name, wishes):
        return role, ""
    if name in wishes.exclude:
        return "left out", "excluded"
    if name in left:
        return "left out", f"possible leak: {left[name]}; --include {name} keeps it"
    if name not in wishes.include and (reason := _useless(column)):
        return "left out", reason
    return "feature", "a category" if column.kind == "string" else ""


def _named_role(name: str, wishes: Wishes) -> Role | None:
    named: list[tuple[Role, Sequence[str | None]]] = [
        ("label", [wishes.label]),
        ("key", wishes.key),
        ("time", [wishes.time]),
        ("id", [wishes.id]),
        ("label time", [wishes.label_time]),
    ]
    return next((role for role, columns_ in named if name in columns_), None)


def _useless(column: Column) -> str:
    distinct = column.values.drop_nulls().n_unique()
    if distinct < 2:  # noqa: PLR2004
        return "never changes" if distinct else "always empty"
    if column.kind == "timestamp":
        return "a time"
    if column.kind == "string" and distinct > MAX_CATEGORIES:
        return f"{distinct} different texts are no category"
    return ""
