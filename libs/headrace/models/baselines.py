"""What simple policies would have scored on the same events, features and labels, month by month.

``one_feature`` is a logistic regression on a single feature and ``static`` the pipeline's own estimator, both fitted once
on what was known at the first training; ``always_retrain`` is refitted at the start of every month on the month before,
``cron_all`` on everything known by then. No gates, no shadow, nothing held out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.linear_model import LogisticRegression

from headrace.models import dataset as data
from headrace.models.metrics import summary
from headrace.models.ports import Dataset, Floats
from headrace.models.sklearn_adapter import SklearnLearner
from headrace.models.threads import single_thread
from headrace.pipeline.definition import Definition

FEWEST = 100
"""Events that make a month: a few push-backs after the year's last midnight do not."""
Mask = npt.NDArray[np.bool_]
Figures = dict[str, dict[str, float]]
"""Metric, then policy, to its figure."""


@dataclass(frozen=True)
class Labelled:
    """Events with a label, in event-time order; times in microseconds."""

    features: pa.RecordBatch
    target: Floats
    event_time: npt.NDArray[np.int64]
    labelled_at: npt.NDArray[np.int64]

    def rows(self, mask: Mask) -> pa.RecordBatch:
        """Return the features of some rows."""
        return self.features.filter(pa.array(mask))


def join(definition: Definition, features: pa.Table, labels: pa.Table) -> Labelled:
    """Join ``features`` (event_id, event_time and the view's columns) with ``labels`` (event_id, label, labelled_at).

    Events without a label are left out. The order is that of event time, ties by id.
    """
    both = features.join(labels.select(["event_id", "label", "labelled_at"]), "event_id", join_type="inner")
    both = both.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    columns = data.one_batch(both.select([*definition.features.names, "label", "event_time", "labelled_at"]))
    return Labelled(
        columns.select(definition.features.names),
        data.target(definition, columns.column("label")),
        _micros(columns.column("event_time")),
        _micros(columns.column("labelled_at")),
    )


def months(definition: Definition, event_time: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
    """Return the month of each event, counted from where the pipeline's clock begins its days."""
    return (event_time - definition.clock.offset).astype("datetime64[us]").astype("datetime64[M]")


def baselines(definition: Definition, held: Labelled, one_feature: str) -> dict[str, Figures]:
    """Return month (``2013-02``) to metric to policy to figure, from the month of the first training on."""
    return by_month(definition, held.event_time, held.target, policies(definition, held, one_feature))


def policies(definition: Definition, held: Labelled, one_feature: str) -> dict[str, Floats]:
    """Return the scores of the four policies, shape (rows, classes); each saw the labels that had arrived by then.

    ``definition`` has a ``training.first_at`` and a batch estimator. Rows of months that are not reported keep even odds.
    """
    single_thread()
    first = _first(definition)
    return {
        "one_feature": _one_feature(held, one_feature, first),
        "static": _scored(definition, held, [(held.labelled_at < first, _all(held))]),
        "always_retrain": _scored(definition, held, _refits(definition, held, expanding=False)),
        "cron_all": _scored(definition, held, _refits(definition, held, expanding=True)),
    }


def by_month(
    definition: Definition, event_time: npt.NDArray[np.int64], target: Floats, scored: Mapping[str, Floats]
) -> dict[str, Figures]:
    """Return month to metric to policy to figure, for scores of shape (rows, classes) a policy."""
    month = months(definition, event_time)
    found: dict[str, Figures] = {}
    for name in _reported(definition, event_time):
        rows = month == name
        told = {p: summary(definition.task, scores[rows], target[rows]) for p, scores in scored.items()}
        metrics = sorted({metric for figures in told.values() for metric in figures})
        found[str(name)] = {m: {p: told[p][m] for p in told if m in told[p]} for m in metrics}
    return found


def _first(definition: Definition) -> int:
    at = definition.training.first_at
    if at is None:
        raise ValueError("the baselines need training.first_at")
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000


def _reported(definition: Definition, event_time: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
    names, counts = np.unique(
        months(definition, event_time[event_time >= _first(definition)]), return_counts=True
    )
    return names[counts >= FEWEST]


def _refits(definition: Definition, held: Labelled, *, expanding: bool) -> Iterator[tuple[Mask, Mask]]:
    """Yield (rows known at the start of a month, rows of that month), first the month of the first training."""
    month = months(definition, held.event_time)
    for name in _reported(definition, held.event_time):
        starts = int(name.astype("datetime64[us]").astype(np.int64)) + definition.clock.offset
        known = held.labelled_at < starts
        yield known if expanding else known & (month == name - 1), month == name


def _scored(definition: Definition, held: Labelled, fits: Iterable[tuple[Mask, Mask]]) -> Floats:
    learner = SklearnLearner(definition.estimator, definition.features)
    names = data.names(definition)
    out = np.full((len(held.target), len(names)), 1 / len(names))
    for fit, score in fits:
        rows = Dataset(held.rows(fit), held.target[fit], definition.task, names, definition.training.seed)
        columns, model = learner.fitted(rows)
        out[np.ix_(score, model.classes_)] = model.predict_proba(columns.matrix(held.rows(score)))
    return out


def _one_feature(held: Labelled, name: str, first: int) -> Floats:
    known = held.labelled_at < first
    value = pc.fill_null(held.features.column(name), 0.0).to_numpy(zero_copy_only=False)[:, None]
    model = LogisticRegression().fit(value[known], held.target[known])
    scores: Floats = model.predict_proba(value)
    return scores


def _all(held: Labelled) -> Mask:
    return np.ones(len(held.target), dtype=np.bool_)


def _micros(column: pa.Array) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
    return found
