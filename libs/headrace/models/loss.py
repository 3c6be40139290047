"""The loss of one answer, as outcomes carry it: log loss in nats for classes, squared error for values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.models.metrics import row_losses
from headrace.pipeline.definition import Task

Scores = Sequence[tuple[str, float]] | None


def losses(task: Task, scores: Sequence[Scores], answers: Sequence[Any]) -> pa.DoubleArray:
    """Return the loss of each row; null where the scores or the answer are missing, or the loss is not finite."""
    known = [bool(held) and answer is not None for held, answer in zip(scores, answers, strict=True)]
    pairs = [(dict(held or ()), answer) for held, answer, k in zip(scores, answers, known, strict=True) if k]
    if task == "regression":
        given, wanted = [held["value"] for held, _ in pairs], [answer for _, answer in pairs]
    else:
        given, wanted = [held.get(answer, 0.0) for held, answer in pairs], [0.0] * len(pairs)
    found = np.zeros(len(known))
    mask = np.array(known, bool)
    found[mask] = row_losses(task, np.array(given, np.float64).reshape(-1, 1), np.array(wanted, np.float64))
    return pa.array(found, mask=~(mask & np.isfinite(found)))
