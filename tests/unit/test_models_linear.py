import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from headrace.models.artifact import Manifest
from headrace.models.linear import shortcut
from headrace.models.padded import SHAPES
from headrace.models.sklearn_adapter import SklearnPredictor

WIDTH = 5


def fitted(model, *, classes=2):
    chance = np.random.default_rng(1)
    rows = chance.normal(3, 20, (600, WIDTH))
    return model.fit(
        rows, np.digitize(rows[:, 0] + chance.normal(size=600), np.linspace(-9, 15, classes - 1))
    )


ALIKE = [
    LogisticRegression(),
    make_pipeline(StandardScaler(), LogisticRegression(fit_intercept=False)),
    make_pipeline(StandardScaler(with_mean=False), StandardScaler(with_std=False), LogisticRegression(C=9.0)),
]


@pytest.mark.parametrize("model", ALIKE, ids=str)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), scale=st.sampled_from([1e-300, 1e-3, 1.0, 1e6, 1e300]))
def test_the_shortcut_has_the_bits_of_the_model(model, seed, scale):
    model = fitted(model)
    ask = shortcut(model, WIDTH, SHAPES)
    rows = scale * np.random.default_rng(seed).normal(size=(SHAPES[0], WIDTH))
    with np.errstate(over="ignore", invalid="ignore"):
        assert ask(rows).tobytes() == model.predict_proba(rows).tobytes()


class Doubled(StandardScaler):
    def transform(self, rows):
        return 2 * super().transform(rows)


@pytest.mark.parametrize(
    "model",
    [
        fitted(LogisticRegression(), classes=3),
        fitted(make_pipeline(MinMaxScaler(), LogisticRegression())),
        fitted(make_pipeline(Doubled(), LogisticRegression())),
    ],
    ids=["three classes", "another scaler", "a scaler of one's own"],
)
def test_other_models_have_no_shortcut(model):
    assert shortcut(model, WIDTH, SHAPES) is None


def test_a_model_that_answers_otherwise_has_none():
    model = fitted(LogisticRegression())
    model.predict_proba = lambda rows: np.full((len(rows), 2), 0.5)
    assert shortcut(model, WIDTH, SHAPES) is None


def test_what_is_not_finite_is_left_to_the_model():
    names = tuple("abcde")
    manifest = Manifest("batch", "binary", ("no", "yes"), "a regression", names, {})
    predictor = SklearnPredictor("", manifest, fitted(LogisticRegression())).tried()
    assert predictor.quick
    with pytest.raises(ValueError, match="NaN"):
        predictor.scores(pa.RecordBatch.from_pydict(dict.fromkeys(names, pa.array([None], pa.float64()))))
