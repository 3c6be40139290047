"""What all peers share: where things are, the plain checks, the windows and the model. No Headrace code.

Each is written for speed in plain Python: a deque of tiles with running totals for each device, one pass an event.
"""

import json
import os
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np

FOLDER = Path(__file__).parent
SCORE = (FOLDER / "Score.avsc").read_text()
READING = json.loads((FOLDER.parent / "pipeline" / "Reading.avsc").read_text())
KINDS = frozenset("abcd")
MOST_AMOUNT, MOST_ITEMS = 1_000, 100
TILE_1H, TILE_6H, TILES = 300, 1_800, 12  # seconds, seconds, tiles in either window


@dataclass(frozen=True)
class Places:
    """The broker, the registry, the topics and the model that the bench names in the environment."""

    bootstrap: str = field(default_factory=lambda: os.environ["BENCH_BOOTSTRAP"])
    registry: str = field(default_factory=lambda: os.environ["BENCH_REGISTRY"])
    model: str = field(default_factory=lambda: os.environ["BENCH_MODEL"])
    score_id: int = field(default_factory=lambda: int(os.environ["BENCH_SCORE_ID"]))
    events: str = "bench.events.v1"
    scores: str = "bench.scores.v1"
    refusals: str = "bench.refusals.v1"


def problem(row: Mapping[str, Any]) -> str | None:
    """Return the rule that a reading breaks, or None: the plain checks of who uses no pydantic."""
    if not 0 <= row["amount"] <= MOST_AMOUNT:
        return "amount-possible"
    if not 0 <= row["items"] <= MOST_ITEMS:
        return "items-possible"
    return None if row["kind"] in KINDS else "kind-known"


class Sums:
    """Count and sum over a window of tiles; cents are integers, so sums are exact."""

    __slots__ = ("count", "tiles", "total")

    def __init__(self) -> None:
        self.tiles: deque[list[int]] = deque()
        self.count = self.total = 0

    def before(self, tile: int) -> tuple[int, int]:
        """Return count and sum of what was added in the window that ends with ``tile``."""
        tiles = self.tiles
        while tiles and tiles[0][0] <= tile - TILES:
            _, count, total = tiles.popleft()
            self.count -= count
            self.total -= total
        return self.count, self.total

    def add(self, tile: int, cents: int) -> None:
        """Add one value; tiles come in order."""
        tiles = self.tiles
        if tiles and tiles[-1][0] == tile:
            tiles[-1][1] += 1
            tiles[-1][2] += cents
        else:
            tiles.append([tile, 1, cents])
        self.count += 1
        self.total += cents


class Windows:
    """Both windows of every device."""

    def __init__(self) -> None:
        self.hour: defaultdict[str, Sums] = defaultdict(Sums)
        self.six: defaultdict[str, Sums] = defaultdict(Sums)

    def features(self, row: Mapping[str, Any]) -> list[float]:
        """Return what the model sees of a reading, then count the reading in."""
        device, amount = row["device"], row["amount"]
        at: datetime = row["at"]
        seconds, cents = at.timestamp(), round(amount * 100)
        hour, six = self.hour[device], self.six[device]
        tile, wide = int(seconds // TILE_1H), int(seconds // TILE_6H)
        count, sum_1h = hour.before(tile)
        _, sum_6h = six.before(wide)
        hour.add(tile, cents)
        six.add(wide, cents)
        kind_a = 1.0 if row["kind"] == "a" else 0.0
        return [amount, row["speed"], row["ratio"], row["items"], kind_a, count, sum_1h / 100, sum_6h / 100]


class Model:
    """The logistic model, asked for many rows at once."""

    def __init__(self, path: str) -> None:
        self._model = joblib.load(path)

    def scores(self, features: Sequence[Sequence[float]]) -> list[float]:
        """Return the probability of a failure, one a row."""
        found: list[float] = self._model.predict_proba(np.array(features, dtype=np.float64))[:, 1].tolist()
        return found
