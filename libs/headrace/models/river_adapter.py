"""River behind the ports: models that learn from one label at a time, stored as canonical state."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from river.base import Transformer
from river.compose import Pipeline
from river.preprocessing import StandardScaler

from headrace.models import canonical
from headrace.models.artifact import Manifest, digest_of, pack, unpack
from headrace.models.loading import named
from headrace.models.metrics import residual_interval
from headrace.models.ports import ArtifactError, Dataset, Floats, TrainingError
from headrace.pipeline.definition import Estimator, FeatureView, Task
from headrace.pipeline.expressions import finite

MODEL = "model.json"
Row: TypeAlias = dict[str, float]
Scorer: TypeAlias = Callable[[Row], list[float]]


@dataclass(frozen=True)
class RiverLearner:
    """Learns row by row, in log order, from the named estimator or on top of an earlier artifact's model."""

    estimator: Estimator
    view: FeatureView

    def fit(self, dataset: Dataset) -> bytes:
        """Return the artifact of a new model that has seen every row once."""
        return self.learn(dataset, None)[0]

    def learn(self, dataset: Dataset, base: bytes | None) -> tuple[bytes, Floats]:
        """Return the artifact after the rows and the scores each row got before it was learnt, shape (rows, names).

        Raises ``TrainingError`` when the state could not be restored later.
        """
        model, interval = _restored(base) if base else (self._unlearnt(dataset.seed), (0.0, 0.0))
        score = _scorer(model, dataset.task, dataset.classes, interval)
        before = np.empty((len(dataset.target), len(dataset.classes)))
        for at, (row, label) in enumerate(zip(_rows(dataset.features), _labels(dataset), strict=True)):
            before[at] = score(row)
            model.learn_one(row, label)
        if dataset.task == "regression":
            interval = residual_interval(dataset.target - before[:, 0])
        return pack(self._manifest(dataset, interval), {MODEL: _stored(model)}), before

    def _unlearnt(self, seed: int) -> Any:
        found = named(self.estimator.path)
        if not inspect.isclass(found):
            return found(dict(self.estimator.params), self.view)
        seeded = {"seed": seed} if "seed" in inspect.signature(found).parameters else {}
        model = found(**seeded | self.estimator.params)
        return model if isinstance(model, Pipeline | Transformer) else Pipeline(StandardScaler(), model)

    def _manifest(self, dataset: Dataset, interval: tuple[float, float]) -> Manifest:
        return Manifest(
            kind="online", task=dataset.task, names=dataset.classes, estimator=self.estimator.path,
            features=tuple(dataset.features.schema.names), categories={}, interval=interval,
        )  # fmt: skip


@dataclass(frozen=True)
class RiverPredictor:
    """A loaded model, asked one row at a time, so that no row has companions."""

    digest: str
    manifest: Manifest
    model: Any

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the scores."""
        return self.manifest.names

    def scores(self, columns: pa.RecordBatch) -> Floats:
        """Return probabilities by class (uniform before the first label), or the value with its interval."""
        score = _scorer(self.model, self.manifest.task, self.names, self.manifest.interval)
        found = [score(row) for row in _rows(columns.select(list(self.manifest.features)))]
        return np.asarray(found, dtype=np.float64).reshape(-1, len(self.names))


def load(artifact: bytes, manifest: Manifest, members: Mapping[str, bytes]) -> RiverPredictor:
    """Return the predictor of an unpacked artifact; raise ``ArtifactError`` for state that may not be restored."""
    return RiverPredictor(digest_of(artifact), manifest, canonical.loads(members[MODEL]))


def _restored(artifact: bytes) -> tuple[Any, tuple[float, float]]:
    manifest, members = unpack(artifact)
    return canonical.loads(members[MODEL]), manifest.interval


def _rows(columns: pa.RecordBatch) -> Iterator[Row]:
    """Yield a row as River takes it: numbers by name, a category as ``name=value`` of 1.

    Nothing stands for a null, and for a number that is not finite: one NaN stays in a running mean for ever.
    """
    texts = [pa.types.is_string(f.type) for f in columns.schema]
    names = columns.schema.names
    for cells in zip(*(finite(c).to_pylist() for c in columns.columns), strict=True):
        yield {
            f"{name}={cell}" if text else name: 1.0 if text else cell
            for name, text, cell in zip(names, texts, cells, strict=True)
            if cell is not None
        }


def _labels(dataset: Dataset) -> list[Any]:
    if dataset.task == "regression":
        return list(dataset.target.tolist())
    keys = _keys(dataset.task, dataset.classes)
    return [keys[int(position)] for position in dataset.target]


def _keys(task: Task, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the classes as River wants them: False and True for two, else their names."""
    return (False, True) if task == "binary" else names


def _scorer(model: Any, task: Task, names: tuple[str, ...], interval: tuple[float, float]) -> Scorer:
    if task == "regression":
        return lambda row: _value(model.predict_one(row), interval)
    keys = _keys(task, names)
    return lambda row: _probabilities(model.predict_proba_one(row), keys)


def _probabilities(found: Mapping[Any, float], keys: tuple[Any, ...]) -> list[float]:
    total = sum(found.values())
    return [found.get(key, 0.0) / total for key in keys] if total else [1 / len(keys)] * len(keys)


def _value(found: float | None, interval: tuple[float, float]) -> list[float]:
    value = found or 0.0
    return [value, value + interval[0], value + interval[1]]


def _stored(model: Any) -> bytes:
    name = type(model[-1] if isinstance(model, Pipeline) else model).__name__
    try:
        state = canonical.dumps(model)
        same = canonical.dumps(canonical.loads(state)) == state
    except ArtifactError as error:
        raise TrainingError(f"{name} cannot be stored", str(error), "choose another River model") from error
    if not same:
        raise TrainingError(
            f"{name} does not come back from its state as it was",
            "it holds something that its own copy protocol leaves out",
            "choose another River model",
        )
    return state
