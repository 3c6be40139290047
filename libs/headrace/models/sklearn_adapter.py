"""scikit-learn behind the ports: any classifier or regressor by name, or a function that builds one.

The model sees a float64 matrix in the order of the feature view, categories as positions, missing as NaN. This module
imports scikit-learn (1.4 s, 130 MB), so it is imported only where such a model is fitted or loaded.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from headrace.models import encoding, skops_store
from headrace.models.artifact import Manifest, digest_of, pack
from headrace.models.linear import shortcut
from headrace.models.loading import named
from headrace.models.padded import SHAPE, harmless, padded
from headrace.models.ports import Dataset, Floats, TrainingError
from headrace.models.threads import single_thread
from headrace.pipeline.definition import Estimator, FeatureView

MODEL = "model.skops"


@dataclass(frozen=True)
class SklearnLearner:
    """Fits the estimator that a definition names."""

    estimator: Estimator
    view: FeatureView

    def fit(self, dataset: Dataset) -> bytes:
        """Return the artifact; raise ``TrainingError`` for one class only, or rows the estimator refuses."""
        columns, model = self.fitted(dataset)
        manifest = Manifest(
            kind="batch",
            task=dataset.task,
            names=dataset.classes,
            estimator=self.estimator.path,
            features=columns.features,
            categories=columns.categories,
        )
        return pack(manifest, {MODEL: skops_store.dumps(model)})

    def fitted(self, dataset: Dataset) -> tuple[encoding.Encoding, Any]:
        """Return the encoding of the rows and the estimator fitted on it; raises as ``fit``."""
        single_thread()
        columns = encoding.learn(dataset.features)
        model = _seeded(self._unfitted(columns), dataset.seed)
        regression = dataset.task == "regression"
        target = dataset.target if regression else dataset.target.astype(np.int64)
        if not regression and len(np.unique(target)) == 1:
            raise TrainingError(
                "all labels are of one class", "a classifier needs two", "wait for more labels"
            )
        try:
            model.fit(columns.matrix(dataset.features), target)
        except ValueError as error:
            raise TrainingError(f"{self.estimator.path} refused the rows", str(error)) from error
        return columns, model

    def _unfitted(self, columns: encoding.Encoding) -> Any:
        found = named(self.estimator.path)
        if not inspect.isclass(found):
            return found(dict(self.estimator.params), self.view)
        return _prepared(found(**self.estimator.params), columns)


def _prepared(model: Any, columns: encoding.Encoding) -> Any:
    """Return a plain estimator made fit for our matrix: told its categories, or with imputing and one-hot before it."""
    if model.get_params().get("categorical_features", ()) in (None, "from_dtype"):
        return model.set_params(categorical_features=columns.positions)
    if get_tags(model).input_tags.allow_nan:
        return model
    numbers = [i for i in range(len(columns.features)) if i not in columns.positions]
    filled = partial(SimpleImputer, keep_empty_features=True)
    return make_pipeline(
        ColumnTransformer(
            [
                ("numbers", make_pipeline(filled(), StandardScaler()), numbers),
                (
                    "categories",
                    make_pipeline(
                        filled(strategy="constant", fill_value=-1.0),
                        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                    ),
                    columns.positions,
                ),
            ]
        ),
        model,
    )


def _seeded(model: BaseEstimator, seed: int) -> Any:
    open_seeds = [
        k for k, v in model.get_params().items() if k.rpartition("__")[2] == "random_state" and v is None
    ]
    return model.set_params(**dict.fromkeys(open_seeds, seed))


@dataclass(frozen=True)
class SklearnPredictor:
    """A loaded estimator, asked on batches of these shapes only."""

    digest: str
    manifest: Manifest
    model: Any
    shapes: tuple[int, ...] = (SHAPE,)
    quick: Callable[[Floats], Floats] | None = None  # for finite rows, where there is such a way

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the scores."""
        return self.manifest.names

    def scores(self, columns: pa.RecordBatch) -> Floats:
        """Return probabilities by class, or the value with its interval, one row a row."""
        return padded(self._ask, self._known.matrix(columns), self.shapes)

    def tried(self) -> "SklearnPredictor":
        """Return the predictor with all shapes and shortcuts that change no bits."""
        width = len(self._known.features)
        shapes = harmless(self._ask, width, self._known.positions)
        return replace(self, shapes=shapes, quick=shortcut(self.model, width, shapes))

    @property
    def _known(self) -> encoding.Encoding:
        return encoding.Encoding(self.manifest.features, self.manifest.categories)

    @property
    def _ask(self) -> Callable[[Floats], Floats]:
        return self._value if self.manifest.task == "regression" else self._probabilities

    def _probabilities(self, matrix: Floats) -> Floats:
        out = np.zeros((len(matrix), len(self.names)))
        ask = self.quick if self.quick and np.isfinite(matrix).all() else self.model.predict_proba
        out[:, self.model.classes_] = ask(matrix)
        return out

    def _value(self, matrix: Floats) -> Floats:
        value: Floats = np.asarray(self.model.predict(matrix), dtype=np.float64)
        return np.stack([value, *(value + end for end in self.manifest.interval)], axis=1)


def load(artifact: bytes, manifest: Manifest, members: Mapping[str, bytes]) -> SklearnPredictor:
    """Return the predictor of an unpacked artifact; raise ``ArtifactError`` when its model may not be loaded."""
    single_thread()
    return SklearnPredictor(digest_of(artifact), manifest, skops_store.loads(members[MODEL])).tried()
