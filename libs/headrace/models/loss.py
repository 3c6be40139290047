"""The loss of one answer, as outcomes carry it: log loss in nats for classes, squared error for values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

FLOOR = 1e-6  # a probability below this counts as this, so that one sure and wrong answer stays finite

Scores = Sequence[tuple[str, float]] | None


def losses(task: str, scores: Sequence[Scores], answers: Sequence[Any]) -> pa.DoubleArray:
    """Return the loss of each row; null where the scores or the answer are missing."""
    name = (lambda _: "value") if task == "regression" else (lambda answer: answer)
    given = [
        dict(held).get(name(answer), 0.0) if held and answer is not None else None
        for held, answer in zip(scores, answers, strict=True)
    ]
    missing = np.array([g is None for g in given], bool)
    values = np.array([0.0 if g is None else g for g in given])
    if task == "regression":
        wanted = np.array([0.0 if a is None else a for a in answers])
        return pa.array((values - wanted) ** 2, mask=missing)
    return pa.array(-np.log(np.clip(values, FLOOR, 1.0)), mask=missing)
