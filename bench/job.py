"""The job that every row does: the events, the features a model sees, and the model.

Readings of many devices arrive on a topic of six partitions, framed Avro. One in a hundred breaks a rule and is
refused, one in a thousand comes twice and counts once. For each good one: the count and the sum of the amounts of its
device over the last hour (tiles of five minutes) and the sum over six hours (tiles of thirty), all before itself; a
logistic model; one Avro record out.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PIPELINE = Path(__file__).parent / "pipeline"
PARTITIONS = 6
RECORD_BYTES = 72  # of a framed event, on average
KEYS = 10_000
SEED = 4
REFUSED, TWICE = 0.01, 0.001
BEGIN = 2_051_222_400_000_000  # 2035: a wall tick never expires a window or an id in the middle of a run
STEP = 50_000  # microseconds of event time between two events
KINDS = np.array(["a", "b", "c", "d"])
FAR = 5_000  # a copy comes at most this many events after its original


@dataclass(frozen=True)
class Events:
    """Events in the order of the log: the columns of Reading, and which event each row is (a copy: its original's)."""

    columns: pa.RecordBatch
    number: npt.NDArray[np.int64]
    good: npt.NDArray[np.bool_]

    def part(self, start: int, stop: int) -> "Events":
        """Return the events from one place in the log to another."""
        return Events(self.columns.slice(start, stop - start), self.number[start:stop], self.good[start:stop])


def events(count: int, keys: int = KEYS, seed: int = SEED) -> Events:
    """Return ``count`` events; another count gives other events from the same distribution."""
    chance = np.random.default_rng(seed)
    copies = int(count * TWICE)
    fresh = count - copies
    amount = np.round(chance.gamma(2.0, 60.0, fresh).clip(0, 1000), 2)
    items = chance.integers(0, 101, fresh)
    kind = KINDS[chance.integers(0, 4, fresh)]
    bad = chance.random(fresh) < REFUSED
    way = chance.integers(0, 3, fresh)
    amount[bad & (way == 0)] = -1.0
    items[bad & (way == 1)] = 1_000
    kind[bad & (way == 2)] = "z"  # noqa: PLR2004
    columns = {
        "id": pa.array([f"{seed:04x}-{n:012x}" for n in range(fresh)]),
        "device": pa.array([f"device-{k:06d}" for k in chance.integers(0, keys, fresh)]),
        "at": pa.array(BEGIN + STEP * np.arange(fresh), pa.timestamp("us", tz="UTC")),
        "amount": amount,
        "speed": chance.normal(20.0, 5.0, fresh),
        "ratio": chance.random(fresh),
        "items": pa.array(items, pa.int32()),
        "kind": pa.array(kind, pa.string()),
    }
    originals = chance.choice(np.flatnonzero(~bad), copies, replace=False)
    places = np.concatenate([np.arange(fresh), originals + chance.integers(1, FAR, copies)])
    order = np.argsort(places, kind="stable")
    number = np.concatenate([np.arange(fresh), originals])[order]
    return Events(pa.RecordBatch.from_pydict(columns).take(pa.array(number)), number, ~bad[number])


def estimator(params: dict[str, Any], view: object) -> Any:
    """Return the unfitted model; the pipeline file names this function."""
    del view
    return make_pipeline(StandardScaler(), LogisticRegression(**params))


def labels(features: npt.NDArray[np.float64], seed: int = SEED) -> npt.NDArray[np.float64]:
    """Return a made-up truth that depends on the features, to fit the model on."""
    chance = np.random.default_rng(seed)
    centred = (features - features.mean(axis=0)) / features.std(axis=0)
    weights = np.linspace(-1.0, 1.0, features.shape[1])
    truth: npt.NDArray[np.bool_] = centred @ weights + chance.logistic(size=len(features)) > 0
    return truth.astype(np.float64)
