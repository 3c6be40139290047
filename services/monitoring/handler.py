"""Predictions meet their labels here: an outcome for each event, labelled, or unlabelled when its time is up."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus.chunks import ORIGIN
from headrace.bus.refusals import derived_id
from headrace.bus.service import Batch, Context, Due, Emit, Row, Rows, Step, Tick
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.catalogue import schema
from headrace.contracts.shape import MICROS
from headrace.contracts.topics import OUTCOMES, PREDICTIONS, PROFILES, QUARANTINE, SHADOW_PREDICTIONS
from headrace.models.loss import losses
from headrace.pipeline.definition import Definition
from headrace.pipeline.labels import compile_contract, compile_label
from headrace.pipeline.schemas import MARK
from headrace.stats import profiles
from services.monitoring import contracts, inputs, marks

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
        ("slice", pa.string()),
        ("measure", pa.float64()),
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
    contract: Callable[[pa.RecordBatch], tuple[pa.Array, pa.Array | None]]


def labels(context: Context) -> View:
    """Return the view of the definition at a cut."""
    definition = context.definition
    return View(definition, compile_label(definition), compile_contract(definition))


def handle(batch: Batch, rows: Rows, view: View) -> Step:
    """Remember predictions, and join a tick's labels with them."""
    if batch.topic is QUARANTINE:
        for name, record in batch.controls:
            inputs.note(rows, name, record)
            if name == "QuarantineReleased":
                contracts.release(rows, record["quarantine_id"])
        return Step()
    done = np.arange(len(batch))
    if batch.topic is PREDICTIONS:
        _remember(batch, rows, view)
    elif batch.topic is SHADOW_PREDICTIONS:
        _pair(batch, rows)
    else:
        inputs.count(batch, rows, view.definition)
        joined = _join(batch, rows, view)
        if joined:
            return Step(emitted={OUTCOMES: [_outcomes(joined, batch.tick, view, rows, {})]}, absorbed=done)
    return Step(absorbed=done)


def close(due: Due, rows: Rows, tick: Tick, view: View) -> Step:
    """Tell whose time is up, and give out the tick's quality profile."""
    ended = _waited(due, rows)
    answered = {key for key, _, _ in ended}
    ended += [(key, row, None) for key, row in due["pending"] if key not in answered]
    ended += [(key, _unknown(row), row) for key, row in due["labels"] if key not in answered]
    emitted: dict[Any, list[Emit]] = {}
    if ended:
        emitted[OUTCOMES] = [_outcomes(ended, tick.n, view, rows, due)]
    found = [*contracts.judge(rows, tick, view.definition), *inputs.judge(rows, tick, view.definition)]
    if found:
        emitted[QUARANTINE] = found
    held = rows["quality"].all()
    rows["quality"].delete([key for key, _ in held])
    if distrusted := inputs.broken(rows, view.definition):
        emitted[PROFILES] = [_profile(tick, distrusted[0], "", None, distrusted=True)]
    elif held:
        emitted[PROFILES] = [_quality_profile(tick, held, contracts.broken(rows))]
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
    marks.remember(rows, marks.EVENT, columns, view.definition.label.maturity)


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
        marks.remember(rows, marks.LABEL, found.columns, view.definition.label.maturity)
        data = pa.RecordBatch.from_struct_array(found.columns["data"])
        keys = data[record.joins].cast(pa.string()).to_pylist()
        told = _told(found.columns, data, batch.partition, view)
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


def _waited(due: Due, rows: Rows) -> list[Joined]:
    """Return the labels that came in an earlier tick than their prediction, with it.

    Either may be due at this very close: what is due has left its table, and still meets its other side.
    """
    waiting = sorted({**dict(rows["labels"].all()), **dict(due["labels"])}.items())
    over = dict(due["pending"])
    held = rows["pending"].get([key for key, _ in waiting])
    joined: list[Joined] = [
        (key, found, label)
        for (key, label), row in zip(waiting, held, strict=True)
        if (found := row or over.get(key)) is not None
    ]
    for table in ("labels", "pending"):
        rows[table].delete([key for key, _, _ in joined])
    return joined


def _told(columns: pa.RecordBatch, data: pa.RecordBatch, partition: int, view: View) -> list[Row]:
    times = columns["event_time"].cast(pa.int64()).to_pylist()
    ids = columns["event_id"].to_pylist()
    labels = view.label(data)
    slices, measures = view.contract(data)
    numeric = view.definition.task == "regression"
    if measures is None:
        measures = labels if numeric else pa.nulls(len(labels), pa.float64())
    return [
        (None if numeric else label, label if numeric else None, event_id, time, partition,
         name or contracts.ALL, measure, time + view.definition.label.maturity)
        for label, event_id, time, name, measure in zip(
            labels.to_pylist(), ids, times, slices.to_pylist(), measures.to_pylist(), strict=True)
    ]  # fmt: skip


def _unknown(label: Row) -> Row:
    """Return a stand-in for the prediction of a label that answers no event we know."""
    origin = {"topic": "", "partition": label[4], "offset": -1, "ordinal": 0}
    return ("", label[3], origin, -1, "", "", "", None, None, None, 0)


def _outcomes(joined: Sequence[Joined], tick: int, view: View, rows: Rows, due: Due) -> Emit:
    """Return outcomes of predictions and their labels (None: it never came; no prediction: it came for nobody)."""
    columns = dict(zip(PENDING.names, zip(*(row for _, row, _ in joined), strict=True), strict=True))
    told = dict(
        zip(LABELS.names, zip(*(label or _NEVER for _, _, label in joined), strict=True), strict=True)
    )
    task = view.definition.task
    answers = told["value"] if task == "regression" else told["label"]
    loss = losses(task, columns["scores"], answers)
    record = {
        **_identity(joined, columns, told, tick),
        **_answer(columns, told),
        "loss": loss,
        "challenger_loss": losses(task, columns["challenger_scores"], answers),
    }
    doubts: Sequence[str | None] = [None] * len(joined)
    if view.definition.quarantines:
        doubts = marks.rules(rows, due, [key for key, _, _ in joined], told["label_event_id"])
        record[MARK] = pa.array(doubts, pa.string())
    _count(rows, view.definition, columns, told, loss, doubts)
    return Emit("Outcome", pa.RecordBatch.from_pydict(record), lineage=_lineage(joined, columns, tick))


Columns = Mapping[str, Sequence[Any]]


def _lineage(joined: Sequence[Joined], columns: Columns, tick: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "event_id": [key for key, _, _ in joined],
            "entity_key": columns["entity_key"],
            "event_time": pa.array(columns["event_time"], pa.int64()).cast(MICROS),
            "origin": pa.array(columns["origin"], ORIGIN),
            "tick": pa.array([tick] * len(joined), pa.int64()),
        }
    )


def _identity(joined: Sequence[Joined], columns: Columns, told: Columns, tick: int) -> dict[str, Any]:
    status = ["late" if not row[4] else "labelled" if label else "unlabelled" for _, row, label in joined]
    return {
        "outcome_id": [
            derived_id("outcome", prediction, key, answer, told_by, tick)
            for prediction, (key, *_), answer, told_by in zip(
                columns["prediction_id"], joined, status, told["label_event_id"], strict=True
            )
        ],
        "prediction_id": columns["prediction_id"],
        "predicted_tick": columns["tick"],
        "status": status,
    }


def _answer(columns: Columns, told: Columns) -> dict[str, Any]:
    return {
        "model_digest": columns["model_digest"],
        "route": columns["route"],
        "scores": _maps(columns["scores"]),
        "challenger_digest": pa.array(columns["challenger_digest"], pa.string()),
        "challenger_scores": _maps(columns["challenger_scores"]),
        "label": pa.array(told["label"], pa.string()),
        "label_value": pa.array(told["value"], pa.float64()),
        "label_event_id": pa.array(told["label_event_id"], pa.string()),
        "labelled_at": pa.array(told["labelled_at"], pa.int64()).cast(MICROS),
        "slice": pa.array(told["slice"], pa.string()),
    }


_NEVER: Row = (None,) * len(LABELS)


def _maps(scores: Sequence[Any]) -> pa.Array:
    return pa.array([s or [] for s in scores], SCORES)


def _count(
    rows: Rows,
    definition: Definition,
    columns: Columns,
    told: Columns,
    loss: pa.Array,
    doubts: Sequence[str | None],
) -> None:
    """Add labelled outcomes to the blocks of their label contract and, if sound, to the tick's quality, by slice."""
    known = np.flatnonzero(np.asarray(loss.is_valid())).tolist()
    if not known:
        return
    names = ("partition", "slice", "measure", "label", "labelled_at")
    picked: dict[str, list[Any]] = {name: [told[name][i] for i in known] for name in names}
    picked["event_time"] = [columns["event_time"][i] for i in known]
    contracts.count(rows, definition, picked)
    if definition.block_rules:
        apart = inputs.apart(rows, definition, columns["event_time"], told["labelled_at"])
        known = [i for i in known if not apart[i]]
    known = [i for i in known if doubts[i] is None]
    if not known:
        return
    places: dict[str, list[int]] = defaultdict(list)
    for i in known:
        places[f"{told['partition'][i]}|{told['slice'][i]}"].append(i)
    for key, at in sorted(places.items()):
        counted = _quality(definition, columns, told, loss, at)
        held = rows["quality"].get([key])[0]
        merged = profiles.merge(json.loads(held[0])["profile"], counted) if held else counted
        rows["quality"].put([key], [(json.dumps({"profile": merged}, sort_keys=True),)])
    last = {"champion": columns["model_digest"][known[-1]]}
    rows["quality"].put([str(told["partition"][known[-1]])], [(json.dumps(last),)])


def _quality(
    definition: Definition, columns: Columns, told: Columns, loss: pa.Array, at: Sequence[int]
) -> profiles.Profile:
    values = loss.take(pa.array(at)).to_numpy()
    if definition.task != "binary" or not definition.label.classes:
        return profiles.profile([], {}, profiles.quality(values, [], []))
    positive = definition.label.classes[-1]
    predicted = [dict(columns["scores"][i])[positive] for i in at]
    happened = [told["label"][i] == positive for i in at]
    return profiles.profile([], {}, profiles.quality(values, predicted, happened))


def _quality_profile(tick: Tick, held: Sequence[tuple[str, Row]], broken: Collection[str]) -> Emit:
    """Return the tick's quality over the slices whose labels can be trusted; null when there is none."""
    (partition, last), *counted = [(key, json.loads(text)) for key, (text,) in held]
    sound = [told["profile"] for key, told in counted if key not in broken]
    quality = profiles.merge(*sound)["quality"] if sound else None
    return _profile(tick, partition, last["champion"], quality, suspect=bool(broken))


def _profile(
    tick: Tick,
    partition: str,
    champion: str,
    quality: Any,
    *,
    suspect: bool = False,
    distrusted: bool = False,
) -> Emit:
    record = {
        "profile_id": derived_id("profile", "monitoring", tick.pipeline, partition, tick.n),
        "pipeline": tick.pipeline,
        "partition": int(partition),
        "tick": tick.n,
        "time": tick.time,
        "producer": "monitoring",
        "champion": champion,
        "features": [],
        "scores": [],
        "quality": quality,
        "suspect": suspect,
        "distrusted": distrusted or None,
    }
    return Emit("Profile", pa.RecordBatch.from_pylist([record], schema=_PROFILE))
