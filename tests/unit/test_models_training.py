import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from model_rows import BOOSTING, CLASSES, LOGISTIC, ONLINE, definition, rows

from headrace.models import dataset as data
from headrace.models.kinds import load
from headrace.models.padded import SHAPE, SHAPES, harmless, padded
from headrace.models.ports import TrainingError
from headrace.models.prior import Prior
from headrace.models.training import learn, train
from headrace.pipeline.definition import Estimator

HOLDOUT = 700_000_000
ROOT = Path(__file__).parents[2]
REGRESSORS = {
    "batch": Estimator(path="sklearn.ensemble:HistGradientBoostingRegressor", params={"max_iter": 8}),
    "linear": Estimator(path="sklearn.linear_model:Ridge"),
    "online": Estimator(path="river.linear_model:LinearRegression", kind="online"),
}
SEVERAL = [BOOSTING, LOGISTIC, Estimator(path="river.linear_model:SoftmaxRegression", kind="online")]


def _in_another_process(*names: str, **variables: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'libs'}:{ROOT}", **variables}
    command = [sys.executable, str(Path(__file__).parent / "model_rows.py"), *names]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


def test_two_processes_fit_the_same_bytes_whatever_their_hash_seed_and_threads():
    names = ("BOOSTING", "LOGISTIC", "ONLINE")
    here = [train(definition(e), rows(), None, HOLDOUT).digest for e in (BOOSTING, LOGISTIC, ONLINE)]
    assert _in_another_process(*names, PYTHONHASHSEED="7", OMP_NUM_THREADS="2") == here


@pytest.mark.parametrize("estimator", [BOOSTING, LOGISTIC, ONLINE], ids=lambda e: e.path)
def test_a_row_has_the_same_bits_at_every_position_and_in_every_company(estimator):
    features = data.dataset(definition(estimator), rows(), 0).features
    model = load(train(definition(estimator), rows(), None, HOLDOUT).artifact)
    together = model.scores(features.slice(0, 256))
    for position in range(256):
        assert np.array_equal(model.scores(features.slice(position, 1))[0], together[position])
    shifted = model.scores(pa.concat_batches([features.slice(500, 37), features.slice(0, 256)]))
    assert np.array_equal(shifted[37:], together)
    many = pa.concat_batches([features.slice(0, 256)] * 17)
    assert np.array_equal(model.scores(many.slice(19)), np.tile(together, (17, 1))[19:])


@pytest.mark.parametrize("rows_asked", [0, 1, 255, 256, 257, 900, 2_047, 2_048, 2_049, 4_396])
@pytest.mark.parametrize("shapes", [SHAPES, SHAPES[:1], (256, 1_024)])
def test_a_model_is_asked_in_known_shapes_only_and_every_row_is_answered(rows_asked, shapes):
    asked = []

    def score(matrix):
        asked.append(len(matrix))
        return matrix[:, :1] * 2

    matrix = np.arange(rows_asked * 3.0).reshape(rows_asked, 3)
    assert np.array_equal(padded(score, matrix, shapes), matrix[:, :1] * 2)
    assert set(asked) <= set(shapes)
    assert len(asked) == max(1, -(-rows_asked // shapes[-1]))


def test_a_model_whose_bits_depend_on_the_shape_is_asked_in_the_small_one():
    def by_row(matrix):
        return matrix.cumsum(axis=1)[:, -1:]

    def by_shape(matrix):  # the order of the sum depends on how many rows there are, as in BLAS
        parts = np.split(matrix, [1 if len(matrix) > SHAPE else 2], axis=1)
        return sum(part.sum(axis=1, keepdims=True) for part in parts)

    def refusing(matrix):
        raise ValueError(f"{len(matrix)} rows")

    assert harmless(by_row, 5) == SHAPES
    assert harmless(by_shape, 5) == (SHAPE,)
    assert harmless(refusing, 5) == (SHAPE,)
    assert harmless(lambda m: np.full(len(m), np.nan), 5) == (SHAPE,)


@pytest.mark.parametrize("estimator", SEVERAL, ids=lambda e: e.path)
def test_probabilities_of_several_classes_stand_in_the_declared_order(estimator):
    found = train(definition(estimator, "multiclass"), rows(task="multiclass"), None, HOLDOUT)
    held = data.dataset(definition(estimator, "multiclass"), rows(task="multiclass"), 0)
    scores = load(found.artifact).scores(held.features)
    assert load(found.artifact).names == tuple(CLASSES["multiclass"])
    assert np.allclose(scores.sum(axis=1), 1)
    assert found.loss < np.log(3)
    assert np.mean(scores.argmax(axis=1) == held.target) > 0.5


def test_a_class_that_no_row_shows_has_a_score_of_zero():
    table = rows(task="multiclass")
    seen = table.filter(pa.array([label != "middle" for label in table["label"].to_pylist()]))
    model = load(train(definition(LOGISTIC, "multiclass"), seen, None, HOLDOUT).artifact)
    scores = model.scores(data.one_batch(table.select(["gap", "place", "size"])))
    assert (scores[:, 1] == 0).all()
    assert np.allclose(scores.sum(axis=1), 1)


@pytest.mark.parametrize("estimator", REGRESSORS.values(), ids=REGRESSORS)
def test_a_regression_gives_a_value_inside_an_interval_that_holds_most_answers(estimator):
    toy, table = definition(estimator, "regression"), rows(task="regression")
    held = data.dataset(toy, table, 0)
    scores = load(train(toy, table, None, HOLDOUT).artifact).scores(held.features)
    inside = (scores[:, 1] <= held.target) & (held.target <= scores[:, 2])
    assert (scores[:, 1] < scores[:, 0]).all()
    assert 0.8 < inside[700:].mean() < 0.97


def test_the_champion_is_judged_on_the_same_rows():
    champion = Prior(("no", "yes"), (0.5, 0.5))
    found = train(definition(BOOSTING), rows(), champion, HOLDOUT)
    assert found.champion_loss == pytest.approx(np.log(2))
    assert (found.rows, found.holdout_rows, found.champion_digest) == (900, 200, champion.digest)
    assert found.loss < found.champion_loss
    assert found.metrics["log_loss"] == found.loss


def test_held_out_rows_do_not_reach_the_model():
    table = rows()
    flipped = ["no" if i >= 700 else v for i, v in enumerate(table["label"].to_pylist())]
    other = table.set_column(3, "label", pa.array(flipped))
    features = data.dataset(definition(LOGISTIC), table, 0).features
    fitted = [load(train(definition(LOGISTIC), t, None, HOLDOUT).artifact) for t in (table, other)]
    assert np.array_equal(*(model.scores(features) for model in fitted))


def test_learning_in_two_goes_is_learning_in_one():
    toy, table = definition(ONLINE), rows()
    whole = learn(toy, None, table, None)
    half = learn(toy, None, table.slice(0, 400), None)
    both = learn(toy, half.artifact, table.slice(400), None)
    assert both.digest == whole.digest
    assert whole.loss == pytest.approx((half.loss * 400 + both.loss * 500) / 900)


def test_a_row_is_scored_before_it_is_learnt():
    assert learn(definition(ONLINE), None, rows().slice(0, 1), None).loss == pytest.approx(np.log(2))


def test_the_dataset_digest_depends_on_values_and_order_alone():
    table = rows()
    chunked = pa.concat_tables([table.slice(0, 13), table.slice(13, 400), table.slice(413)])
    digest = data.records_digest(table)
    assert data.records_digest(chunked) == digest
    assert data.records_digest(table.take(list(range(899, -1, -1)))) != digest
    assert data.records_digest(table.set_column(0, "gap", pa.nulls(900, pa.float64()))) != digest
    assert data.records_digest(pa.table({"a": ["b", "cd"]})) != data.records_digest(
        pa.table({"a": ["bc", "d"]})
    )
    assert data.records_digest(pa.table({"a": [None, ""]})) != data.records_digest(
        pa.table({"a": ["", None]})
    )


@pytest.mark.parametrize(
    ("table", "holdout_from", "reason"),
    [
        (rows(), 0, "0 rows to fit on"),
        (rows(), 10**12, "0 held out"),
        (rows().slice(0, 0), HOLDOUT, "no labelled rows"),
        (rows().set_column(3, "label", pa.array(["yes"] * 900)), HOLDOUT, "one class"),
        (rows().set_column(3, "label", pa.array(["maybe"] * 900)), HOLDOUT, "not a class"),
    ],
)
def test_rows_that_do_not_allow_a_fit_say_why(table, holdout_from, reason):
    with pytest.raises(TrainingError, match=reason):
        train(definition(BOOSTING), table, None, holdout_from)


def test_an_estimator_nobody_can_find_is_a_configuration_error():
    from headrace.errors import ConfigurationError  # noqa: PLC0415

    for path in ("sklearn.ensemble:Nothing", "no.such.module:Thing", "sklearn.ensemble"):
        with pytest.raises(ConfigurationError, match="estimator"):
            train(definition(Estimator(path=path)), rows(), None, HOLDOUT)


def test_an_unknown_or_missing_category_is_scored_as_missing():
    model = load(train(definition(BOOSTING), rows(), None, HOLDOUT).artifact)
    batch = pa.RecordBatch.from_pydict({
        "gap": pa.array([0.1] * 2, pa.float64()), "place": pa.array([None, "zanzibar"]), "size": pa.array([0.2] * 2),
    })  # fmt: skip
    first, second = model.scores(batch)
    assert np.array_equal(first, second)
