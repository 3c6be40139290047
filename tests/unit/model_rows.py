"""A small labelled stream with a gap in a number, a gap in a category, and something to learn."""

import sys
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.pipeline.definition import Definition, Estimator

BOOSTING = Estimator(path="sklearn.ensemble:HistGradientBoostingClassifier", params={"max_iter": 8})
LOGISTIC = Estimator(path="sklearn.linear_model:LogisticRegression")
ONLINE = Estimator(path="river.linear_model:LogisticRegression", kind="online")
CLASSES = {"binary": ["no", "yes"], "multiclass": ["low", "middle", "high"], "regression": None}


def definition(estimator: Estimator, task: str = "binary") -> Definition:
    event = {"contract": {}, "role": "event", "id": "id", "key": ["id"], "time": "at"}
    return Definition.model_validate({
        "name": "toy",
        "task": task,
        "records": {"Event": event, "Answer": {**event, "role": "label", "joins": "id"}},
        "label": {"record": "Answer", "sql": "label", "classes": CLASSES[task]},
        "features": {"rows": [
            {"name": "gap", "sql": "gap"},
            {"name": "place", "sql": "place", "kind": "category"},
            {"name": "size", "sql": "size"},
        ]},
        "estimator": estimator.model_dump(),
        "prior": {"value": 0.0} if task == "regression" else dict.fromkeys(CLASSES[task], 0.5),
    })  # fmt: skip


def rows(count: int = 900, task: str = "binary") -> pa.Table:
    chance = np.random.default_rng(5)
    gap = [None if i % 11 == 0 else float(v) for i, v in enumerate(chance.normal(size=count))]
    size = chance.normal(size=count)
    place = [None if i == 0 else "abcde"[i] for i in chance.integers(0, 5, count)]
    return pa.table(
        {
            "gap": pa.array(gap, pa.float64()),
            "place": pa.array(place, pa.string()),
            "size": size,
            "label": _labels(np.array([g or 0.0 for g in gap]) + size + chance.normal(size=count), task),
            "event_time": pa.array(np.arange(count) * 1_000_000, pa.timestamp("us", tz="UTC")),
            "tick": pa.array(np.arange(count) // 100, pa.int64()),
            "event_id": pa.array([f"e{i}" for i in range(count)]),
        }
    )


def _labels(score: Any, task: str) -> pa.Array:
    if task == "regression":
        return pa.array(score)
    bounds = [0.0] if task == "binary" else [-0.5, 0.8]
    return pa.array([CLASSES[task][i] for i in np.digitize(score, bounds)])


if __name__ == "__main__":  # another process: print the digests of what it fits
    from headrace.models.training import train

    for name in sys.argv[1:]:
        print(train(definition(globals()[name]), rows(), None, 700_000_000).digest)  # noqa: T201
