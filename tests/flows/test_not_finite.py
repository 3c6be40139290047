"""NaN and infinities, planted where producers and models could: refused or taken for missing, by a declared rule."""

import math

import numpy as np
import pyarrow as pa
import pytest
from mints import HOUR, hour, pipeline
from test_label_contracts import loop_of, of

from headrace.contracts.topics import (
    FEATURES,
    MODELS,
    OUTCOMES,
    PREDICTIONS,
    PROFILES,
    RECEIPTS,
    RETRAIN,
)
from headrace.models.adwin import last_cut
from headrace.models.kinds import learner, load, online_learner
from headrace.models.loss import losses
from headrace.models.ports import Dataset, TrainingError
from headrace.pipeline.expressions import NUMBER, TEXT, compile_sql
from headrace.stats import profiles
from headrace.stats.eprocess import RolloutTest
from services.serving import handler as serving

ODD = (math.nan, math.inf, -math.inf)
ONLINE = {"path": "river.linear_model:LogisticRegression", "kind": "online"}


def planted(number):
    """Return an hour whose first three tosses have odd biases, and whose next three are answered by odd numbers."""
    events = [(name, dict(row)) for name, row in hour(number)]
    tosses = [row for name, row in events if name == "Toss"]
    answers = {row["toss_id"]: row for name, row in events if name == "Side"}
    for row, odd in zip(tosses, ODD, strict=False):
        row["bias"] = odd
    for row, odd in zip(tosses[3:], ODD, strict=False):
        answers[row["toss_id"]]["rolled"] = odd
    return events


def numbers(value):
    """Yield every float in nested plain values."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for held in value.values():
            yield from numbers(held)
    elif isinstance(value, list):
        for held in value:
            yield from numbers(held)


@pytest.mark.parametrize("estimator", [pipeline().estimator.model_dump(), ONLINE])
def test_nothing_that_is_not_finite_is_learnt_served_counted_or_told(estimator):
    training = {"train_after": 60, "cooldown": "1h", "holdout": "1h"}
    loop = loop_of(pipeline(estimator=estimator, training=training))
    for number in range(4):
        loop.publish((number + 1) * HOUR, planted(number))
    assert of(loop, MODELS, "TrainingFailed") == []
    assert {p["route"] for p in of(loop, PREDICTIONS, "Prediction")} == {"fallback", "champion"}
    for topic in (FEATURES, PREDICTIONS, OUTCOMES, PROFILES, RETRAIN, MODELS):
        assert all(math.isfinite(n) for _, fields in loop.records(topic) for n in numbers(fields)), topic
    odd = {
        row["toss_id"] for n in range(4) for name, row in planted(n) if not math.isfinite(row.get("bias", 0))
    }
    biases = {v["values"]["bias"] for v in of(loop, FEATURES, "FeatureVector") if v["event_id"] in odd}
    assert (len(odd), biases) == (12, {None})
    refused = [r for r in of(loop, RECEIPTS, "Receipt") if r["rule"] == "label"]
    assert len(refused) == 12


def test_an_expression_reads_and_makes_nulls():
    schema = pa.schema([("a", pa.float64()), ("b", pa.float64())])
    batch = pa.RecordBatch.from_pydict({"a": [1.0, *ODD, 3.0], "b": [1.0, 1.0, 1.0, 1.0, 0.0]}, schema=schema)
    wanted = {
        "bare": ("a", NUMBER),
        "made": ("a / b", NUMBER),
        "word": ("CASE WHEN a > 0 THEN 'up' END", TEXT),
    }
    found = compile_sql(wanted, schema)(batch).to_pydict()
    assert found["bare"] == [1.0, None, None, None, 3.0]
    assert found["made"] == [1.0, None, None, None, None]
    assert found["word"] == ["up", None, None, None, "up"]


@pytest.mark.parametrize(
    ("kind", "path"), [("batch", "sklearn.linear_model:LogisticRegression"), ("online", ONLINE["path"])]
)
def test_a_learner_and_a_predictor_take_them_for_missing(kind, path):
    definition = pipeline(estimator={"path": path, "kind": kind})
    chance = np.random.default_rng(3)
    bias = chance.normal(0, 1, 200)
    target = (bias > 0).astype(float)

    def rows(values):
        count = len(values)
        return pa.RecordBatch.from_pydict(
            {"bias": pa.array(values, pa.float64()), "mint": ["east"] * count, "rolled_1h": [1.0] * count}
        )

    def artifact(first):
        fit = (learner if kind == "batch" else online_learner)(definition).fit
        return fit(
            Dataset(
                rows([*first, *bias.tolist()]),
                np.append([1.0] * len(first), target),
                "binary",
                ("tail", "head"),
            )
        )

    missing = artifact([None] * 3)
    assert artifact(ODD) == missing
    model = load(missing)
    assert model.scores(rows(ODD)).tolist() == model.scores(rows([None] * 3)).tolist()
    with pytest.raises(TrainingError, match="not finite"):
        Dataset(rows(bias), np.append(target[:-1], math.nan), "regression", ("value", "lower", "upper"))


@pytest.mark.parametrize("odd", ODD)
def test_a_detector_refuses_them(odd):
    with pytest.raises(ValueError, match="not finite"):
        last_cut([0.1, odd, 0.2])
    with pytest.raises(ValueError, match="not finite"):
        RolloutTest(0.01, 0.03, 0.05).update(odd)
    with pytest.raises(ValueError, match="not finite"):
        profiles.quality([0.5, odd])
    assert profiles.feature("x", "number", [1.0, odd])["nulls"] == 1


def test_a_loss_that_is_not_finite_is_none():
    assert losses("regression", [[("value", 1.0)], [("value", 1e200)]], [2.0, -1e200]).to_pylist() == [
        1.0,
        None,
    ]
    assert losses("binary", [[("a", math.nan)]], ["a"]).to_pylist() == [None]


def test_the_prior_answers_where_a_model_gives_none():
    found, lost = serving._known(np.array([[0.2, 0.8], [math.nan, 1.0]]), ("tail", "head"), pipeline())
    assert (found.tolist(), lost.tolist()) == ([[0.2, 0.8], [0.5, 0.5]], [False, True])
