"""Feature vectors in; a prediction for each, and a second one while a challenger is in shadow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus.refusals import derived_id, derived_ids
from headrace.bus.service import Batch, Context, Due, Emit, Rows, Step, Tick
from headrace.contracts.arrow import arrow_schema, as_type, filtered, in_turn, same
from headrace.contracts.catalogue import schema
from headrace.contracts.topics import DEPLOYMENTS, PREDICTIONS, PROFILES, QUARANTINE, SHADOW_PREDICTIONS
from headrace.models.deployed import Deployed, Version
from headrace.models.kinds import load
from headrace.models.ports import VALUE, Floats, Predictor
from headrace.models.prior import Prior
from headrace.pipeline.definition import Definition
from headrace.pipeline.quarantine import Quarantine, Stretch
from headrace.pipeline.schemas import MARK, marked
from headrace.pipeline.suspects import Mask, apart, suspects, without
from headrace.stats import profiles
from services.serving import counted

_SCORES = pa.map_(pa.string(), pa.float64())
_PREDICTION = arrow_schema(schema("Prediction"))
_EXPLANATION = _PREDICTION.field("explanation").type
_PROFILE = arrow_schema(schema("Profile"))


@dataclass(frozen=True)
class Model:
    """A version that answers, and how its answers are marked."""

    version: Version
    predictor: Predictor
    route: str
    status: str


@dataclass(frozen=True)
class View:
    """The models that answer at a cut, and the stretches of labels that are quarantined then."""

    definition: Definition
    champion: Model
    challenger: Model | None
    stretches: Sequence[Stretch] = ()


def models(context: Context) -> View:
    """Load the models that the deployments topic names at a cut; without one, the declared prior answers."""
    definition = context.definition
    deployed: Deployed = context.controls.get(DEPLOYMENTS) or Deployed()

    def loaded(version: Version, route: str) -> Model:
        return Model(version, load(context.artifacts.get(version.digest)), route, "ok")

    names = definition.label.classes or [name for name in VALUE if name in definition.prior]
    declared = Prior(tuple(names), tuple(definition.prior[name] for name in names))
    fallback = Model(
        Version(f"{definition.name}-prior", 0, declared.digest), declared, "fallback", "fallback"
    )
    return View(
        definition,
        loaded(deployed.champion, "champion") if deployed.champion else fallback,
        loaded(deployed.challenger, "shadow") if deployed.challenger else None,
        (context.controls.get(QUARANTINE) or Quarantine()).stretches(),
    )


def handle(batch: Batch, rows: Rows, view: View) -> Step:
    """Answer every feature vector, and count what was seen and can be trusted into the tick's profile."""
    vectors = batch.records["FeatureVector"].columns
    values = pa.RecordBatch.from_struct_array(vectors["values"])
    times = as_type(batch.lineage["event_time"], pa.int64()).to_numpy()
    suspect = suspects(view.definition, view.stretches, times, values)
    told = without(values, suspect)
    held = [
        mask
        for mask in (marked(vectors), apart(view.definition, view.stretches, times, values))
        if mask is not None
    ]
    quarantined: Mask | None = np.logical_or.reduce(held) if held else None
    doubts = [*suspect.values(), *([] if quarantined is None else [quarantined])]
    doubted = np.logical_or.reduce(doubts) if doubts else None
    emitted = {PREDICTIONS: [_predictions(view.champion, vectors, told, doubted, view.definition)]}
    if view.challenger is not None:
        emitted[SHADOW_PREDICTIONS] = [_predictions(view.challenger, vectors, told, doubted, view.definition)]
    seen = emitted[PREDICTIONS][0].columns
    if quarantined is not None:
        values, seen = filtered(values, ~quarantined), filtered(seen, ~quarantined)
    if seen.num_rows:
        _count(batch, rows, values, seen, view.definition)
    return Step(emitted=emitted)


def close(due: Due, rows: Rows, tick: Tick, view: View) -> Step:
    """Give out the tick's profile and begin a new one."""
    del due
    found = counted.taken(rows["profile"])
    if found is None:
        return Step()
    partition, profile = found
    record = {
        "profile_id": derived_id("profile", "serving", tick.pipeline, partition, tick.n),
        "pipeline": tick.pipeline,
        "partition": partition,
        "tick": tick.n,
        "time": tick.time,
        "producer": "serving",
        "champion": view.champion.version.digest,
        **_as_record(profile),
    }
    return Step(emitted={PROFILES: [Emit("Profile", pa.RecordBatch.from_pylist([record], schema=_PROFILE))]})


def _predictions(
    model: Model,
    vectors: pa.RecordBatch,
    values: pa.RecordBatch,
    doubted: Mask | None,
    definition: Definition,
) -> Emit:
    names = model.predictor.names
    scores, lost = _known(model.predictor.scores(values), names, definition)
    count, doubted = len(scores), lost if doubted is None else doubted | lost
    version = model.version
    columns = {
        "prediction_id": _ids(version, vectors),
        "pipeline": same(definition.name, count),
        "pipeline_digest": vectors["pipeline_digest"],
        "feature_view_version": vectors["feature_view_version"],
        "features_hash": vectors["features_hash"],
        "model_name": same(version.name, count),
        "model_version": same(version.version, count, pa.int32()),
        "model_digest": same(version.digest, count),
        "route": same(model.route, count),
        "task": same(definition.task, count),
        "scores": _by_name(names, scores),
        "label": _best(names, scores, definition),
        "explanation": _unexplained(count),
        "status": _statuses(model, doubted),
        "revision": same(0, count, pa.int32()),
        "supersedes": pa.nulls(count, pa.string()),
    }
    if MARK in vectors.schema.names:
        columns[MARK] = vectors[MARK]
    return Emit("Prediction", pa.RecordBatch.from_pydict(columns), cause=np.arange(count))


def _known(scores: Floats, names: Sequence[str], definition: Definition) -> tuple[Floats, Mask]:
    """Return the scores with the declared prior where a model gave none that are finite, and where that was."""
    lost: Mask = ~np.asarray(np.isfinite(scores).all(axis=1))
    if not lost.any():
        return scores, lost
    middle = definition.prior.get("value", 0.0)
    prior = np.array([definition.prior.get(name, middle) for name in names])
    return np.where(lost[:, None], prior, scores), lost


def _by_name(names: Sequence[str], scores: Floats) -> pa.MapArray:
    """Return scores, a row of one for each name, as maps."""
    each, count = len(names), len(scores)
    offsets = np.arange(0, count * each + 1, each, dtype=np.int32)
    keys = in_turn(tuple(names), count * each)
    return pa.MapArray.from_arrays(offsets, keys, pa.array(scores.ravel()), _SCORES)


def _best(names: Sequence[str], scores: Floats, definition: Definition) -> pa.Array:
    """Return the class of the highest score, the first of equal ones; a regression has none."""
    if definition.task == "regression":
        return pa.nulls(len(scores), pa.string())
    return pa.array(names, pa.string()).take(pa.array(scores.argmax(axis=1)))


def _statuses(model: Model, doubted: Mask) -> pa.Array:
    if not doubted.any():
        return same(model.status, len(doubted))
    return pa.array(["fallback" if doubt else model.status for doubt in doubted.tolist()])


def _unexplained(count: int) -> pa.ListArray:
    none = pa.array([], _EXPLANATION.value_type)
    return pa.ListArray.from_arrays(np.zeros(count + 1, np.int32), none, type=_EXPLANATION)


def _ids(version: Version, vectors: pa.RecordBatch) -> pa.Array:
    """Return the ids of first-revision predictions (DESIGN 5: UUIDv5 over all that decides them)."""
    decided = [vectors[name] for name in ("pipeline_digest", "feature_view_version", "event_id")]
    return derived_ids(["prediction", version.digest, *decided, *vectors["origin"].flatten(), "0"])


def _count(
    batch: Batch, rows: Rows, values: pa.RecordBatch, predictions: pa.RecordBatch, definition: Definition
) -> None:
    categories = definition.features.categories
    numbers = [name for name in values.schema.names if name not in categories]
    features = profiles.numbers(numbers, [values[name].to_numpy(zero_copy_only=False) for name in numbers])
    features += [profiles.feature(name, "category", values[name].to_pylist()) for name in categories]
    profile = profiles.profile(features, _seen(predictions, definition))
    counted.add(rows["profile"], batch.partition, profile)


def _seen(predictions: pa.RecordBatch, definition: Definition) -> dict[str, int]:
    """Count the score that drift watches: of the last class, or the value."""
    scores = predictions["scores"]
    width = len(scores.items) // max(len(scores), 1)
    table = scores.items.to_numpy().reshape(-1, width)
    if definition.task == "regression":
        return profiles.scores(table[:, 0], probability=False)
    return profiles.scores(table[:, -1])


def _as_record(profile: profiles.Profile) -> dict[str, Any]:
    features = [{**f, "buckets": sorted(f["buckets"].items())} for f in profile["features"]]
    return {"features": features, "scores": sorted(profile["scores"].items()), "quality": profile["quality"]}
