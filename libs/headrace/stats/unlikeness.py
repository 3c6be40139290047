"""How unlike the others each block is: the statistics that the drift detectors rank.

Every statistic treats its blocks alike (each against the pool of the others, or each for itself), so exchangeable blocks
give exchangeable numbers. Numbers: Kolmogorov-Smirnov distance over buckets in value order, nulls first; categories:
total variation; loss: its mean, which only alarms upwards; calibration: expected calibration error (Naeini et al. 2015).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from headrace.stats.profiles import (
    CALIBRATION_BINS,
    MILLION,
    Counts,
    FeatureProfile,
    Kind,
    Profile,
    Quality,
    ordered,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One monitored statistic.

    ``table`` counts blocks (a row a block; rows of zeros saw nothing; rows add up to their pool), ``measure`` gives the
    unlikeness of each row. ``rising`` tells a statistic of which only the rise is news from a distance.
    """

    detector: str
    feature: str
    table: Callable[[Sequence[Profile]], Floats]
    measure: Callable[[Floats], Floats]
    rising: bool

    def rank(self, table: Floats) -> int:
        """Return the last row's rank, 1 for the most unlike of all; a tie counts against it."""
        unlike = self.measure(table)
        return int((unlike >= unlike[-1]).sum())

    def effect(self, table: Floats, changed: Bools) -> float:
        """Return the size of a change: the distance between two pools of blocks, or the rise from one to the other."""
        pools = self.measure(np.stack([table[changed].sum(axis=0), table[~changed].sum(axis=0)]))
        return float(pools[0] - pools[1] if self.rising else pools[0])


def statistic(key: str, like: Profile) -> Statistic:
    """Return the statistic of a key: ``distribution:<feature>``, ``scores:``, ``loss:`` or ``calibration:``.

    ``like`` is a profile of the pipeline, which knows the feature's kind; raise ``ValueError`` where it has none.
    """
    detector, _, name = key.partition(":")
    if detector == "distribution":
        kind: Kind = "category" if _named(like, name)["kind"] == "category" else "number"
        return Statistic(
            detector, name, partial(_feature_table, name, kind), partial(distances, kind=kind), rising=False
        )
    return _OTHERS[detector]


def distances(table: Floats, kind: Kind) -> Floats:
    """Return each row's distance, in [0, 1], to the pool of the other rows (blocks by buckets, in value order)."""
    apart = _shares(table) - _shares(table.sum(axis=0) - table)
    far: Floats = (
        np.abs(apart).sum(axis=1) / 2 if kind == "category" else np.abs(np.cumsum(apart, axis=1)).max(axis=1)
    )
    return far


def _shares(counts: Floats) -> Floats:
    shares: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _feature_table(name: str, kind: Kind, blocks: Sequence[Profile]) -> Floats:
    features = [_named(block, name) for block in blocks]
    nulls = np.array([[feature["nulls"]] for feature in features], dtype=np.float64)
    return np.hstack([nulls, _matrix([feature["buckets"] for feature in features], kind)])


def _named(block: Profile, name: str) -> FeatureProfile:
    for feature in block["features"]:
        if feature["name"] == name:
            return feature
    raise ValueError(f"the block's profile has no feature {name}")


def _matrix(blocks: Sequence[Counts], kind: Kind) -> Floats:
    """Return the blocks' counts, a row a block, a column a bucket in value order."""
    keys = ordered(dict.fromkeys(set().union(*blocks), 0), kind)
    place = {key: column for column, key in enumerate(keys)}
    matrix = np.zeros((len(blocks), len(place)))
    for row, counts in zip(matrix, blocks, strict=True):
        row[[place[key] for key in counts]] = list(counts.values())
    return matrix


def _scores_table(blocks: Sequence[Profile]) -> Floats:
    return _matrix([block["scores"] for block in blocks], "number")


def _labelled(block: Profile) -> Quality:
    return block["quality"] or Quality(count=0, loss_sum=0, calibration=[])


def _loss_table(blocks: Sequence[Profile]) -> Floats:
    qualities = [_labelled(block) for block in blocks]
    return np.array([[q["count"], q["loss_sum"]] for q in qualities], dtype=np.float64)


def _mean_loss(table: Floats) -> Floats:
    mean: Floats = table[:, 1] / np.maximum(table[:, 0], 1) / MILLION
    return mean


def _calibration_table(blocks: Sequence[Profile]) -> Floats:
    """Return, per block, the bins' counts, then their predicted sums, then their positives."""
    table = np.zeros((len(blocks), 3, CALIBRATION_BINS))
    for row, block in zip(table, blocks, strict=True):
        for place, b in enumerate(_labelled(block)["calibration"]):
            row[:, place] = b["count"], b["predicted_sum"], b["positives"]
    return table.reshape(len(blocks), -1)


def _calibration_error(table: Floats) -> Floats:
    """Return the mean gap between predicted and true share over bins, weighted by rows."""
    counts, predicted, positives = table.reshape(len(table), 3, CALIBRATION_BINS).transpose(1, 0, 2)
    gaps = np.abs(predicted - positives * MILLION).sum(axis=1)
    error: Floats = gaps / np.maximum(counts.sum(axis=1), 1) / MILLION
    return error


_OTHERS = {
    "scores": Statistic("scores", "", _scores_table, partial(distances, kind="number"), rising=False),
    "loss": Statistic("loss", "", _loss_table, _mean_loss, rising=True),
    "calibration": Statistic("calibration", "", _calibration_table, _calibration_error, rising=True),
}
