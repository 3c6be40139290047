"""A draft as files: the pipeline, its two contracts, how its data are read, and an example of each record."""

import json
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import yaml
from pydantic import ValidationError

from headrace.errors import UsageError
from headrace.pipeline.definition import DAY, HOUR, Definition
from headrace.pipeline.durations import show
from headrace.sources.inference import Draft, Line
from headrace.sources.reading import ANSWER, ANSWER_ID, ANSWERED_AT, EVENT, EVENT_ID, Instant, Reading

_STEPS = [
    1_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    HOUR,
    6 * HOUR,
    DAY,
    7 * DAY,
    28 * DAY,
    364 * DAY,
]
_MOST_STEPS, _FEWEST_STEPS, _EVENTS_A_STEP = 400, 20, 10
_HOLDOUT_STEPS, _COOLDOWN_STEPS = 7, 14
_ESTIMATORS = {
    "binary": "sklearn.ensemble:HistGradientBoostingClassifier",
    "multiclass": "sklearn.ensemble:HistGradientBoostingClassifier",
    "regression": "sklearn.ensemble:HistGradientBoostingRegressor",
}
_TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}
_HEADER = (
    "# Written by `headrace init` from {file}. It is yours: edit it, then `headrace publish {name} {file}`.\n"
)


def write(draft: Draft, name: str, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the draft as the pipeline ``name`` into ``folder`` and return the files.

    Raises ``UsageError`` when the name is none, or is taken and ``force`` is not given.
    """
    if (folder / f"{name}.yaml").exists() and not force:
        raise UsageError(
            f"there is a pipeline {name} already", str(folder / f"{name}.yaml"), "another name, or --force"
        )
    texts = _texts(draft, name)
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return [folder / path for path in texts]


def definition(draft: Draft, name: str) -> Definition:
    """Return the draft as a definition; raise ``UsageError`` when ``name`` is no pipeline's name."""
    try:
        return Definition.model_validate(_content(draft, name, _contracts(draft)))
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{name} is no pipeline", first["msg"], "a name of a-z, 0-9 and hyphens") from error


def reading(draft: Draft) -> Reading:
    """Return how the draft's file, and others like it, become events and answers."""
    wishes = draft.wishes
    named = [line for line in draft.lines if line.role in ("id", "key", "feature")]
    return Reading(
        fields={line.field: line.column for line in named},
        time=Instant(column=wishes.time, format=draft.time_form.format, tz=draft.time_form.tz),
        time_field=draft.field(wishes.time),
        label=wishes.label,
        label_field=draft.field(wishes.label),
        label_time=_label_instant(draft),
        label_delay=None if draft.label_form else _delay(draft),
        nulls=list(wishes.nulls),
        header=draft.sheet.frame.columns if draft.wishes.headless else None,
    )


def step(draft: Draft) -> int:
    """Return the microseconds of event time between two ticks.

    The smallest step that makes at most 400 ticks, and few enough for some dozens of events in each.
    """
    micros = draft.times.cast(pl.Int64)
    most = min(_MOST_STEPS, max(_FEWEST_STEPS, len(micros) // _EVENTS_A_STEP))
    return next((s for s in _STEPS if (micros // s).n_unique() <= most), _STEPS[-1])


def assumptions(draft: Draft) -> list[str]:
    """Return what was assumed about the pipeline as a whole, a sentence each."""
    labels = len(draft.label) - draft.label.null_count()
    told = [f"the task is {draft.task} (--task)", f"a tick every {show(step(draft))} of event time"]
    if draft.label_form is None:
        said = (
            "as you said" if draft.label_delay is not None else "assumed; --label-time COL or DELAY says it"
        )
        told.append(f"a label is known {show(_delay(draft))} after its event ({said})")
    if not draft.wishes.id:
        told.append("ids are the file's digest and the row's number (--id)")
    if labels <= draft.wishes.train_after:
        told.append(f"{labels} labels are too few to train after {draft.wishes.train_after} (--train-after)")
    return told


def _texts(draft: Draft, name: str) -> dict[str, str]:
    """Return the text of each file by its path in the folder of pipelines.

    The examples are the file's first event and answer, so they prove that the reading works.
    """
    header = _HEADER.format(file=draft.sheet.path.name, name=name)
    tables = reading(draft).tables(definition(draft, name), draft.sheet)
    paths = {record: f"{name}/{record}.avsc" for record in (EVENT, ANSWER)}
    return {
        f"{name}.yaml": header + _yaml(_content(draft, name, paths)),
        f"{name}/source.yaml": header + _yaml(reading(draft).model_dump(mode="json", exclude_none=True)),
        **{paths[record]: _avsc(contract) for record, contract in _contracts(draft).items()},
        **{f"{name}/{record}.example.json": _example(table) for record, table in tables.items()},
    }


def _avsc(contract: Mapping[str, Any]) -> str:
    """Return a contract as JSON with one line a field."""
    fields = ",\n".join(f"    {json.dumps(field, ensure_ascii=False)}" for field in contract["fields"])
    head = json.dumps({**contract, "fields": []}, indent=2, ensure_ascii=False)
    return head.replace('"fields": []', f'"fields": [\n{fields}\n  ]') + "\n"


def _example(table: pa.Table) -> str:
    """Return the first row as JSON, with times as ISO 8601."""
    row: dict[str, Any] = pl.DataFrame(table.slice(0, 1)).row(0, named=True)
    plain = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        dict(content), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )


def _content(draft: Draft, name: str, contracts: Mapping[str, Any]) -> dict[str, Any]:
    keys = [draft.field(column) for column in draft.wishes.key]
    event = {"contract": contracts[EVENT], "role": "event", "id": _id_field(draft), "key": [*keys]}
    answer = {"contract": contracts[ANSWER], "role": "label", "id": ANSWER_ID, "key": keys}
    return {
        "name": name,
        "description": f"Predicts {draft.wishes.label} of {draft.sheet.path.name}.",
        "task": draft.task,
        "clock": {"kind": "source", "step": show(step(draft))},
        "records": {
            EVENT: event | {"time": draft.field(draft.wishes.time)},
            ANSWER: answer | {"time": ANSWERED_AT, "joins": EVENT_ID},
        },
        "rules": [],
        "label": {"record": ANSWER, "sql": sql_name(draft.field(draft.wishes.label)), **_label_terms(draft)},
        "features": {"rows": [_feature(line) for line in _features(draft)]},
        "prior": _prior(draft),
        "estimator": {"path": _ESTIMATORS[draft.task]},
        **_policy(draft),
    }


def _id_field(draft: Draft) -> str:
    return draft.field(draft.wishes.id) if draft.wishes.id else EVENT_ID


def _features(draft: Draft) -> list[Line]:
    """Return the columns a model sees: features, and keys that were named with --include."""
    return [line for line in draft.lines if line.role == "feature" or _kept_key(draft, line)]


def _kept_key(draft: Draft, line: Line) -> bool:
    return line.role == "key" and line.column in draft.wishes.include


def _feature(line: Line) -> dict[str, str]:
    kind = {"kind": "category"} if line.kind == "string" else {}
    return {"name": line.field, "sql": sql_name(line.field), **kind}


def sql_name(field: str) -> str:
    """Return a field's name as SQL takes it: quoted where it is a word of SQL's own."""
    try:
        plain = pl.sql_expr(field).meta.is_column()
    except pl.exceptions.PolarsError:
        plain = False
    return field if plain else f'"{field}"'


def _label_terms(draft: Draft) -> dict[str, Any]:
    terms: dict[str, Any] = {"maturity": show(_maturity(draft))}
    return terms if draft.task == "regression" else terms | {"classes": _classes(draft)}


def _classes(draft: Draft) -> list[str]:
    """Return the class names in order; numbers by value."""
    found = draft.label.drop_nulls().unique().to_list()
    numbers = all(name.lstrip("-").isdigit() for name in found)
    return sorted(found, key=int) if numbers else sorted(found)


def _delay(draft: Draft) -> int:
    return step(draft) if draft.label_delay is None else draft.label_delay


def _maturity(draft: Draft) -> int:
    """Return a wait that every label of the file has come within, in whole steps."""
    tick, longest = step(draft), _delay(draft)
    if draft.label_times is not None:
        longest = (draft.label_times - draft.times).cast(pl.Int64).max() or 0  # type: ignore[assignment]
    return (ceil(longest / tick) + 1) * tick


def _prior(draft: Draft) -> dict[str, float]:
    """Return the scores of the file as a whole: shares of classes, or the mean and the middle nine tenths."""
    label = draft.label.drop_nulls()
    if draft.task == "regression":
        low, high = label.quantile(0.05), label.quantile(0.95)
        return {"value": _rounded(label.mean()), "lower": _rounded(low), "upper": _rounded(high)}
    return {name: _rounded((label == name).mean()) for name in _classes(draft)}


def _rounded(number: Any) -> float:
    return float(f"{float(number):.6g}")


def _policy(draft: Draft) -> dict[str, Any]:
    """Return training, gates, rollout and drift in steps, so that they suit files of any pace."""
    tick, after = step(draft), draft.wishes.train_after
    judged = min(200, max(10, after // 8))
    per_step = len(draft.times) / (draft.times.cast(pl.Int64) // tick).n_unique()
    wanted, quarter = max(_HOLDOUT_STEPS, ceil(1.5 * judged / per_step)), int(after / per_step / 4)
    holdout = max(1, min(wanted, quarter))  # most of the first training's rows must be left to learn from
    return {
        "training": {
            "train_after": after,
            "holdout": show(holdout * tick),
            "cooldown": show(_COOLDOWN_STEPS * tick),
        },
        "gates": {"min_rows": judged},
        "rollout": {"block": show(tick), **_loss_scale(draft)},
        "drift": {"block": show(tick)},
    }


def _loss_scale(draft: Draft) -> dict[str, float]:
    """Return margin and bound for squared errors, which have the label's unit, as parts of its variance."""
    if draft.task != "regression":
        return {}
    variance = float(np.var(draft.label.drop_nulls().to_numpy()))
    return {"margin": _rounded(0.01 * variance), "bound": _rounded(0.03 * variance)}


def _label_instant(draft: Draft) -> Instant | None:
    form, column = draft.label_form, draft.wishes.label_time
    return Instant(column=column, format=form.format, tz=form.tz) if form and column else None


def _contracts(draft: Draft) -> dict[str, dict[str, Any]]:
    return {EVENT: _event_contract(draft), ANSWER: _answer_contract(draft)}


def _event_contract(draft: Draft) -> dict[str, Any]:
    own_id = (
        f"Column {draft.wishes.id}: the id" if draft.wishes.id else "Digest of the file and number of the row"
    )
    keys = [field for field in _key_fields(draft) if field["name"] != _id_field(draft)]
    time = _required(
        draft.field(draft.wishes.time), _TIMESTAMP, f"Column {draft.wishes.time}: the event time"
    )
    features = [_optional(line.field, line.kind, f"Column {line.column}") for line in draft.role("feature")]
    doc = f"A row of {draft.sheet.path.name}, without its label."
    return {
        "type": "record",
        "name": EVENT,
        "doc": doc,
        "fields": [_required(_id_field(draft), "string", own_id), *keys, time, *features],
    }


def _answer_contract(draft: Draft) -> dict[str, Any]:
    label = draft.wishes.label
    kind = "double" if draft.task == "regression" else "string"
    fields = [
        _required(ANSWER_ID, "string", "The event's id with :answer"),
        _required(EVENT_ID, "string", "The id of the event"),
        *(field for field in _key_fields(draft) if field["name"] != EVENT_ID),
        _required(ANSWERED_AT, _TIMESTAMP, "When the label was known"),
        _required(draft.field(label), kind, f"Column {label}: the label"),
    ]
    doc = f"The label of one row of {draft.sheet.path.name}."
    return {"type": "record", "name": ANSWER, "doc": doc, "fields": fields}


def _key_fields(draft: Draft) -> list[dict[str, Any]]:
    """Return the contract's fields of the key; an id is text, also where it is part of the key."""
    lines = [line for line in draft.lines if line.column in draft.wishes.key]
    kinds = {line.field: "string" if line.column == draft.wishes.id else line.kind for line in lines}
    return [
        _required(line.field, kinds[line.field], f"Column {line.column}: part of the key") for line in lines
    ]


def _required(name: str, kind: Any, doc: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": doc}


def _optional(name: str, kind: Any, doc: str) -> dict[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None, "doc": doc}
