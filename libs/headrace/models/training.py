"""Fit and judge a model: a function of the definition, the rows and the champion.

The seed derives from the dataset's digest, so the same rows give the same bytes; the last stretch is held out to judge
the candidate, and there is no second fit on all rows after that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from headrace.models import dataset as data
from headrace.models.artifact import digest_of, pack, unpack
from headrace.models.kinds import learner, load, online_learner
from headrace.models.metrics import mean_loss, residual_interval, summary
from headrace.models.ports import Dataset, Floats, Predictor, TrainingError
from headrace.pipeline.definition import Definition

Stretches: TypeAlias = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Trained:
    """A candidate and the evidence for it; both losses are means over the same ``holdout_rows``."""

    artifact: bytes
    digest: str
    dataset_digest: str
    seed: int
    rows: int
    holdout_rows: int
    loss: float
    champion_digest: str | None
    champion_loss: float | None
    metrics: dict[str, float]


def train(
    definition: Definition,
    rows: pa.Table,
    champion: Predictor | None,
    holdout_from: int,
    quarantine: Stretches = (),
) -> Trained:
    """Fit on the rows before ``holdout_from`` (microseconds of event time) and judge on the others.

    ``rows`` as ``headrace.models.dataset`` says, in log order, without the labels in ``quarantine``. Raises ``TrainingError`` when nothing is left on
    either side, or the estimator refuses the rows.
    """
    dataset_digest, seed = _identity(definition, rows, holdout_from, quarantine)
    early = pc.less(rows.column("event_time").cast(pa.int64()), holdout_from)
    seen, held = rows.filter(early), rows.filter(pc.invert(early))
    if not seen.num_rows or not held.num_rows:
        raise TrainingError(
            f"{seen.num_rows} rows to fit on and {held.num_rows} held out: both are needed",
            "the rows do not reach to both sides of the hold-out",
            "wait for more labels, or shorten training.holdout",
        )
    judged = data.dataset(definition, held, seed)
    artifact = _with_interval(learner(definition).fit(data.dataset(definition, seen, seed)), judged)
    evidence = _evidence(load(artifact).scores(judged.features), judged, champion)
    return Trained(artifact, digest_of(artifact), dataset_digest, seed, rows.num_rows, **evidence)


def learn(
    definition: Definition,
    base: bytes | None,
    rows: pa.Table,
    champion: Predictor | None,
    quarantine: Stretches = (),
) -> Trained:
    """Learn the rows one label at a time, on top of the ``base`` artifact when there is one.

    The losses are progressive: each row is scored before it is learnt, by the champion on the same rows.
    """
    dataset_digest, seed = _identity(definition, rows, None, quarantine)
    fresh = data.dataset(definition, rows, seed)
    artifact, before = online_learner(definition).learn(fresh, base)
    evidence = _evidence(before, fresh, champion)
    return Trained(artifact, digest_of(artifact), dataset_digest, seed, rows.num_rows, **evidence)


def _identity(
    definition: Definition, rows: pa.Table, holdout_from: int | None, quarantine: Stretches
) -> tuple[str, int]:
    if not rows.num_rows:
        raise TrainingError("there are no labelled rows", "nothing has matured yet", "wait for labels")
    found = data.digest(data.manifest(definition, rows, holdout_from, quarantine))
    return found, (int(found[:8], 16) + definition.training.seed) % 2**31


def _with_interval(artifact: bytes, judged: Dataset) -> bytes:
    """Return a regression's artifact with the interval that its residuals on unseen rows ask for."""
    manifest, members = unpack(artifact)
    if manifest.task != "regression":
        return artifact
    residuals = judged.target - load(artifact).scores(judged.features)[:, 0]
    return pack(replace(manifest, interval=residual_interval(residuals)), members)


def _evidence(scores: Floats, judged: Dataset, champion: Predictor | None) -> dict[str, Any]:
    task, target = judged.task, judged.target
    return {
        "holdout_rows": len(target),
        "loss": mean_loss(task, scores, target),
        "champion_digest": champion.digest if champion else None,
        "champion_loss": mean_loss(task, champion.scores(judged.features), target) if champion else None,
        "metrics": summary(task, scores, target),
    }
