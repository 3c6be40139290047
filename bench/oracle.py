"""What must come out, computed from the events alone in numpy: no service, no peer and no window code takes part."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.job import Events

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
HOUR = 3_600_000_000
CENT = 100
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Expected:
    """The score of every event that must be answered, by id; the ids that must be refused."""

    scores: Mapping[str, float]
    refused: frozenset[str]


@dataclass(frozen=True)
class Verdict:
    """What differs: ids without an answer, answers too many, answers that are not the right one."""

    lost: int
    duplicated: int
    wrong: int


def answered(events: Events) -> Ints:
    """Return the rows that must get a prediction: good ones, each id once, the first time it comes."""
    _, first = np.unique(events.number, return_index=True)
    first.sort()
    return first[events.good[first]]


def features(events: Events, rows: Ints) -> Floats:
    """Return the features of these rows, in the order of the pipeline file."""
    taken = events.columns.take(rows)
    amount = taken["amount"].to_numpy()
    at = taken["at"].cast("int64").to_numpy()
    device = taken["device"].dictionary_encode().indices.to_numpy().astype(np.int64)
    cents = np.rint(amount * CENT).astype(np.int64)
    counts = _before(device, at, np.ones_like(cents), HOUR, HOUR // 12)
    hour = _before(device, at, cents, HOUR, HOUR // 12)
    six = _before(device, at, cents, 6 * HOUR, HOUR // 2)
    return np.column_stack([
        amount, taken["speed"].to_numpy(), taken["ratio"].to_numpy(), taken["items"].to_numpy(),
        taken["kind"].to_numpy(zero_copy_only=False) == "a", counts, hour / CENT, six / CENT,
    ]).astype(np.float64)  # fmt: skip


def _before(device: Ints, at: Ints, values: Ints, window: int, tile: int) -> Ints:
    """Return for each row the sum over earlier rows of its device in the last ``window``, in whole tiles.

    Event times rise, so a device's rows sorted by place are sorted by tile, and a sum is a difference of two
    running totals.
    """
    tiles = at // tile
    order = np.argsort(device, kind="stable")
    place = device[order] * (tiles.max() + window // tile + 1) + tiles[order]
    oldest = np.searchsorted(place, place - window // tile, side="right")
    begins = np.searchsorted(device[order], device[order], side="left")
    totals = np.concatenate([[0], np.cumsum(values[order])])
    sums = np.empty_like(values)
    sums[order] = totals[np.arange(len(order))] - totals[np.maximum(oldest, begins)]
    return sums


def expected(events: Events, score: Callable[[Floats], Floats]) -> Expected:
    """Return what must come out of these events under a model."""
    rows = answered(events)
    ids = np.array(events.columns["id"].to_pylist(), dtype=object)
    found = score(features(events, rows))
    return Expected(
        dict(zip(ids[rows].tolist(), found.tolist(), strict=True)), frozenset(ids[~events.good].tolist())
    )


def check(wanted: Expected, scored: Sequence[tuple[str, float]], refused: Sequence[str]) -> Verdict:
    """Compare what came out with what must; an answer to a refused or unknown event is wrong."""
    times, refusals = Counter(i for i, _ in scored), Counter(refused)
    lost = len(wanted.scores.keys() - times.keys()) + len(wanted.refused - refusals.keys())
    extra = sum(n - 1 for n in times.values()) + sum(n - 1 for n in refusals.values())
    off = sum(abs(wanted.scores.get(i, np.inf) - s) > TOLERANCE for i, s in scored)
    return Verdict(lost, extra, int(off) + len(refusals.keys() - wanted.refused))
