"""Predictions meet their labels here: an outcome for each event, labelled, or unlabelled when its time is up."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus.chunks import MICROS, ORIGIN
from headrace.bus.refusals import derived_id
from headrace.bus.service import Batch, Context, Due, Emit, Row, Rows, Step, Tick
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.catalogue import schema
from headrace.contracts.topics import OUTCOMES, PREDICTIONS, PROFILES, SHADOW_PREDICTIONS
from headrace.models.loss import losses
from headrace.pipeline.definition import Definition
from headrace.pipeline.labels import compile_label
from headrace.stats import profiles

SCORES = pa.map_(pa.string(), pa.float64())
PENDING = pa.schema(
    [
        ("entity_key", pa.string()),
        ("event_time", pa.int64()),
        ("origin", ORIGIN),
        ("tick", pa.int64()),
        ("prediction_id", pa.string()),
        ("model_digest", pa.string()),
        ("route", pa.string()),
        ("scores", SCORES),
        ("challenger_digest", pa.string()),
        ("challenger_scores", SCORES),
        ("due", pa.int64()),
    ]
)
LABELS = pa.schema(
    [
        ("label", pa.string()),
        ("value", pa.float64()),
        ("label_event_id", pa.string()),
        ("labelled_at", pa.int64()),
        ("partition", pa.int32()),
        ("due", pa.int64()),
    ]
)
QUALITY = pa.schema([("counted", pa.string())])
_CHALLENGER = PENDING.get_field_index("challenger_digest")
_OUTCOME = arrow_schema(schema("Outcome"))
_PROFILE = arrow_schema(schema("Profile"))


@dataclass(frozen=True)
class View:
    """The definition at a cut and its label expression, compiled."""

    definition: Definition
    label: Callable[[pa.RecordBatch], pa.Array]


def labels(context: Context) -> View:
    """Return the view of the definition at a cut."""
    return View(context.definition, compile_label(context.definition))


def handle(batch: Batch, rows: Rows, view: View) -> Step:
    """Remember predictions, and join a tick's labels with them."""
    done = np.arange(len(batch))
    if batch.topic is PREDICTIONS:
        _remember(batch, rows, view)
    elif batch.topic is SHADOW_PREDICTIONS:
        _pair(batch, rows)
    else:
        joined = _join(batch, rows, view)
        if joined:
            return Step(emitted={OUTCOMES: [_outcomes(joined, batch.tick, view, rows)]}, absorbed=done)
    return Step(absorbed=done)


def close(due: Due, rows: Rows, tick: Tick, view: View) -> Step:
    """Tell whose time is up, and give out the tick's quality profile."""
    ended = _waited(rows)
    answered = {key for key, _, _ in ended}
    ended += [(key, row, None) for key, row in due["pending"] if key not in answered]
    ended += [(key, _unknown(row), row) for key, row in due["labels"]]
    emitted: dict[Any, list[Emit]] = {}
    if ended:
        emitted[OUTCOMES] = [_outcomes(ended, tick.n, view, rows)]
    held = rows["quality"].all()
    if held:
        rows["quality"].delete([key for key, _ in held])
        emitted[PROFILES] = [_quality_profile(tick, held[0])]
    return Step(emitted=emitted)


def _remember(batch: Batch, rows: Rows, view: View) -> None:
    columns = batch.records["Prediction"].columns
    times = columns["event_time"].cast(pa.int64()).to_pylist()
    count = len(batch)
    found = list(
        zip(
            columns["entity_key"].to_pylist(),
            times,
            columns["origin"].to_pylist(),
            columns["tick"].to_pylist(),
            columns["prediction_id"].to_pylist(),
            columns["model_digest"].to_pylist(),
            columns["route"].to_pylist(),
            columns["scores"].to_pylist(),
            [None] * count,
            [None] * count,
            [time + view.definition.label.maturity for time in times],
            strict=True,
        )
    )
    rows["pending"].put(columns["event_id"].to_pylist(), found)


def _pair(batch: Batch, rows: Rows) -> None:
    """Put the challenger's scores beside the champion's."""
    columns = batch.records["Prediction"].columns
    keys = columns["event_id"].to_pylist()
    held = rows["pending"].get(keys)
    second = zip(columns["model_digest"].to_pylist(), columns["scores"].to_pylist(), strict=True)
    paired = [
        (key, (*row[:_CHALLENGER], *scored, row[-1]))
        for key, row, scored in zip(keys, held, second, strict=True)
        if row is not None
    ]
    rows["pending"].put([key for key, _ in paired], [row for _, row in paired])


Joined = tuple[str, Row, Row | None]


def _join(batch: Batch, rows: Rows, view: View) -> list[Joined]:
    """Return the predictions whose label came, and those that waited for this one; a label alone waits its time."""
    record = view.definition.records[view.definition.label.record]
    found = batch.of(view.definition.label.record)
    joined: list[Joined] = []
    if found is not None:
        data = pa.RecordBatch.from_struct_array(found.columns["data"])
        keys = data[record.joins].cast(pa.string()).to_pylist()
        told = _told(found.columns, view.label(data), batch.partition, view)
        pending = dict(zip(keys, rows["pending"].get(keys), strict=True))
        for key, label in zip(keys, told, strict=True):
            row = pending.pop(
                key, None
            )  # the first label answers; a second one waits like one that came alone
            if row is not None:
                joined.append((key, row, label))
            elif rows["labels"].get([key])[0] is not None:
                joined.append((key, _unknown(label), label))
            else:
                rows["labels"].put([key], [label])
        rows["pending"].delete([key for key, row, _ in joined if row[4]])
    return joined


def _waited(rows: Rows) -> list[Joined]:
    """Return the labels that came in an earlier tick than their prediction, with it."""
    waiting = rows["labels"].all()
    held = rows["pending"].get([key for key, _ in waiting])
    joined: list[Joined] = [
        (key, row, label) for (key, label), row in zip(waiting, held, strict=True) if row is not None
    ]
    for table in ("labels", "pending"):
        rows[table].delete([key for key, _, _ in joined])
    return joined


def _told(columns: pa.RecordBatch, labels: pa.Array, partition: int, view: View) -> list[Row]:
    times = columns["event_time"].cast(pa.int64()).to_pylist()
    ids = columns["event_id"].to_pylist()
    numeric = view.definition.task == "regression"
    return [
        (None if numeric else label, label if numeric else None, event_id, time, partition,
         time + view.definition.label.maturity)
        for label, event_id, time in zip(labels.to_pylist(), ids, times, strict=True)
    ]  # fmt: skip


def _unknown(label: Row) -> Row:
    """Return a stand-in for the prediction of a label that answers no event we know."""
    origin = {"topic": "", "partition": label[4], "offset": -1, "ordinal": 0}
    return ("", label[3], origin, -1, "", "", "", None, None, None, 0)


def _outcomes(joined: Sequence[Joined], tick: int, view: View, rows: Rows) -> Emit:
    """Return outcomes of predictions and their labels (None: it never came; no prediction: it came for nobody)."""
    columns = dict(zip(PENDING.names, zip(*(row for _, row, _ in joined), strict=True), strict=True))
    told = dict(
        zip(LABELS.names, zip(*(label or _NEVER for _, _, label in joined), strict=True), strict=True)
    )
    status = ["late" if not row[4] else "labelled" if label else "unlabelled" for _, row, label in joined]
    task = view.definition.task
    answers = told["value"] if task == "regression" else told["label"]
    loss = losses(task, columns["scores"], answers)
    lineage = pa.RecordBatch.from_pydict(
        {
            "event_id": [key for key, _, _ in joined],
            "entity_key": columns["entity_key"],
            "event_time": pa.array(columns["event_time"], pa.int64()).cast(MICROS),
            "origin": pa.array(columns["origin"], ORIGIN),
            "tick": pa.array([tick] * len(joined), pa.int64()),
        }
    )
    record = {
        "outcome_id": [
            derived_id("outcome", prediction, key, answer, told_by, tick)
            for prediction, (key, *_), answer, told_by in zip(
                columns["prediction_id"], joined, status, told["label_event_id"], strict=True
            )
        ],
        "prediction_id": columns["prediction_id"],
        "model_digest": columns["model_digest"],
        "route": columns["route"],
        "scores": _maps(columns["scores"]),
        "challenger_digest": pa.array(columns["challenger_digest"], pa.string()),
        "challenger_scores": _maps(columns["challenger_scores"]),
        "label": pa.array(told["label"], pa.string()),
        "label_value": pa.array(told["value"], pa.float64()),
        "label_event_id": pa.array(told["label_event_id"], pa.string()),
        "labelled_at": pa.array(told["labelled_at"], pa.int64()).cast(MICROS),
        "predicted_tick": columns["tick"],
        "loss": loss,
        "challenger_loss": losses(task, columns["challenger_scores"], answers),
        "status": status,
    }  # fmt: skip
    _count(rows, view.definition, columns, answers, loss)
    return Emit("Outcome", pa.RecordBatch.from_pydict(record), lineage=lineage)


_NEVER: Row = (None,) * len(LABELS)


def _maps(scores: Sequence[Any]) -> pa.Array:
    return pa.array([s or [] for s in scores], SCORES)


def _count(
    rows: Rows,
    definition: Definition,
    columns: Mapping[str, Sequence[Any]],
    answers: Sequence[Any],
    loss: pa.Array,
) -> None:
    """Add labelled outcomes to the tick's quality."""
    known = np.flatnonzero(np.asarray(loss.is_valid())).tolist()
    if not known:
        return
    values = loss.take(pa.array(known)).to_numpy()
    predicted: list[float] = []
    happened: list[bool] = []
    if definition.task == "binary" and definition.label.classes:
        positive = definition.label.classes[-1]
        predicted = [dict(columns["scores"][i])[positive] for i in known]
        happened = [answers[i] == positive for i in known]
    counted = profiles.profile([], {}, profiles.quality(values, predicted, happened))
    partition = str(columns["origin"][known[0]]["partition"])
    held = rows["quality"].get([partition])[0]
    champion = columns["model_digest"][known[-1]]
    merged = profiles.merge(json.loads(held[0])["profile"], counted) if held else counted
    rows["quality"].put(
        [partition], [(json.dumps({"champion": champion, "profile": merged}, sort_keys=True),)]
    )


def _quality_profile(tick: Tick, held: tuple[str, Row]) -> Emit:
    partition, (text,) = held
    counted = json.loads(text)
    record = {
        "profile_id": derived_id("profile", "monitoring", tick.pipeline, partition, tick.n),
        "pipeline": tick.pipeline,
        "partition": int(partition),
        "tick": tick.n,
        "time": tick.time,
        "producer": "monitoring",
        "champion": counted["champion"],
        "features": [],
        "scores": [],
        "quality": counted["profile"]["quality"],
    }
    return Emit("Profile", pa.RecordBatch.from_pylist([record], schema=_PROFILE))
