"""Loss and quality of scores against labels: float64, folded in row order by numpy alone.

A target is the position of the true class, or the true value for a regression.
"""

import numpy as np

from headrace.models.ports import Floats
from headrace.pipeline.definition import Task

CLIP = 1e-6
"""A smaller probability of what happened counts as this, so that one surprise costs at most 13.8 nats."""


def row_losses(task: Task, scores: Floats, target: Floats) -> Floats:
    """Return one loss a row: log loss in nats, or the squared error of a regression's value, which may be infinite."""
    if task == "regression":
        with np.errstate(over="ignore"):
            return np.square(scores[:, 0] - target)
    likelihood = scores[np.arange(len(target)), target.astype(np.int64)]
    return -np.log(np.clip(likelihood, CLIP, 1.0))


def mean_loss(task: Task, scores: Floats, target: Floats) -> float:
    """Return the mean of ``row_losses``; NaN without rows."""
    return float(row_losses(task, scores, target).mean()) if len(target) else float("nan")


def auc(score: Floats, positive: Floats) -> float:
    """Return the chance that a positive row outscores a negative one, ties counted half; NaN with one class only.

    The Mann-Whitney statistic over mean ranks, whose doubles are whole numbers: exact below 2**53.
    """
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    twice_rank = (2 * np.cumsum(count) - count + 1)[place]
    hits = int(positive.sum())
    misses = len(positive) - hits
    if not hits or not misses:
        return float("nan")
    return float((twice_rank[positive == 1].sum() - hits * (hits + 1)) / (2 * hits * misses))


def brier(scores: Floats, target: Floats) -> float:
    """Return the mean squared distance of the last class's probability from 0 or 1 (binary), or summed over classes."""
    hit = np.zeros_like(scores)
    hit[np.arange(len(target)), target.astype(np.int64)] = 1.0
    squares = np.square(scores - hit)
    return float((squares[:, -1] if scores.shape[1] == 2 else squares.sum(axis=1)).mean())  # noqa: PLR2004


def summary(task: Task, scores: Floats, target: Floats) -> dict[str, float]:
    """Return the named metrics of a task; what cannot be told (no rows, one class only) is left out."""
    if not len(target):
        return {}
    loss = mean_loss(task, scores, target)
    if task == "regression":
        error = scores[:, 0] - target
        return {"mse": loss, "mae": float(np.abs(error).mean()), "bias": float(error.mean())}
    found = {"log_loss": loss, "brier": brier(scores, target)}
    if task == "binary":
        found["auc"] = auc(scores[:, -1], target)
    return {name: value for name, value in found.items() if not np.isnan(value)}


def residual_interval(residuals: Floats, share: float = 0.9) -> tuple[float, float]:
    """Return the two residual quantiles that hold the middle ``share`` of rows the model had not seen."""
    if not len(residuals):
        return (0.0, 0.0)
    tail = (1 - share) / 2
    return float(np.quantile(residuals, tail)), float(np.quantile(residuals, 1 - tail))
