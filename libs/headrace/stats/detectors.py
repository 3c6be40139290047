"""Drift detectors: one bet a block on the rank of today's unlikeness, Shiryaev-Roberts sums of the bets, one budget.

* The bet. Today's block and the ``n`` before it are exchangeable while nothing changes, so the rank of today's
  unlikeness among all of them is uniform and independent of earlier ranks, whatever the data (Vovk, Gammerman, Shafer,
  "Algorithmic Learning in a Random World", 2005, theorem 8.2). :func:`e_value` turns the rank into an e-value by a
  mixture of step calibrators (Vovk and Wang, "E-values", Annals of Statistics 2021). The bag of blocks grows: against a
  fixed reference the ranks of later days share its luck, and that breaks the promise.
* Dependence. Each bet pays its square root: days are not exchangeable but correlated, a lag-1 correlation of 1/3
  doubles a sum's variance, and half the log-wealth pays for it (simulated to 0.5 in the tests).
* The alarm. R = (R + 1) * e reaches A after A blocks or more in expectation while nothing changes (Shin, Ramdas,
  Rinaldo, "E-detectors", NEJSDS 2023; with conformal ranks Vovk et al., "Retrain or not retrain", COPA 2021).
* The budget. A statistic with share w alarms at A = false_alarm_blocks / w: its false alarms come at a rate of at most
  w / false_alarm_blocks, the shares add up to one, and rates of any dependent detectors add (union bound).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from headrace.stats.profiles import Profile
from headrace.stats.unlikeness import Statistic, statistic

Level = Literal["warning", "alarm"]

STEPS = (0.05, 0.1, 0.2, 0.4)  # top shares of the ranks that the calibrator bets on, in equal parts
WAGER = 0.9  # part of the wealth at stake; the rest is kept against a run of ordinary days
HORIZON = 4  # reference lengths after which the oldest blocks leave the bag, to bound the state
SHARES = {"distribution": 0.5, "scores": 0.1, "loss": 0.2, "calibration": 0.2}


class Block(NamedTuple):
    """One block: when it began (microseconds UTC) and what it counted."""

    at: int
    profile: Profile


class Evidence(NamedTuple):
    """One detector's state: Shiryaev-Roberts sum, CUSUM product, and the block where that product last began."""

    total: float = 0.0
    cusum: float = 0.0
    first: int = 0

    def bet(self, e: float, at: int) -> "Evidence":
        """Return the evidence after a block whose e-value is ``e``."""
        first = self.first if self.cusum > 1 else at
        return Evidence((self.total + 1) * e, max(self.cusum, 1.0) * e, first)


@dataclass(frozen=True, slots=True)
class Signal:
    """A warning or an alarm: what changed, how sure, since which block (microseconds UTC), and by how much.

    ``effect`` is a distance in [0, 1] (Kolmogorov-Smirnov or total variation) for distributions and scores, and the
    rise of the mean loss (nats) or of the expected calibration error otherwise, since ``first_block``.
    """

    detector: str
    feature: str
    slice: str
    level: Level
    e_value: float
    threshold: float
    first_block: int
    effect: float


@dataclass(frozen=True, slots=True)
class DriftMonitor:
    """All detectors of one pipeline. It collects ``reference_blocks`` blocks before its first bet.

    ``shares`` maps each statistic's key to its part of the budget; ``evidence`` holds the detectors' states.
    """

    reference_blocks: int
    false_alarm_blocks: float
    shares: Mapping[str, float]
    bag: tuple[Block, ...] = ()
    evidence: Mapping[str, Evidence] | None = None

    def block(self, at: int, profile: Profile) -> tuple[Self, list[Signal]]:
        """Return the monitor after one closed block, and its signals in the order of ``shares``.

        ``profile`` is the merged profile of the block; its quality holds the labels that matured in it. Raise
        ``ValueError`` when a monitored feature is missing.
        """
        bag = (*self.bag, Block(at, profile))[-HORIZON * self.reference_blocks :]
        if len(bag) <= self.reference_blocks:
            return replace(self, bag=bag), []
        held, signals = dict(self.evidence or {}), []
        for key, share in self.shares.items():
            before = held.get(key, Evidence())
            held[key], signal = _look(statistic(key, profile), bag, before, self.false_alarm_blocks / share)
            signals += [signal] if signal else []
        return replace(self, bag=bag, evidence=held), signals

    def rebase(self, reference: Sequence[Block]) -> Self:
        """Return the monitor with a new reference (the blocks before a champion change) and no evidence."""
        return replace(self, bag=tuple(reference), evidence=None)

    def latest(self, blocks: int | None = None) -> tuple[Block, ...]:
        """Return the last ``blocks`` blocks of the bag, by default as many as a reference has."""
        return self.bag[-(blocks or self.reference_blocks) :]

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON values; :meth:`restore` takes it back, to the bit."""
        held = {key: list(evidence) for key, evidence in (self.evidence or {}).items()}
        return {"bag": [[block.at, block.profile] for block in self.bag], "evidence": held}

    def restore(self, state: Mapping[str, Any]) -> Self:
        """Return this monitor (its budget and shares) with a state that :meth:`state` gave."""
        held = {key: Evidence(*values) for key, values in state["evidence"].items()}
        return replace(self, bag=tuple(Block(at, profile) for at, profile in state["bag"]), evidence=held)


def monitor(
    features: Sequence[str], *, reference_blocks: int = 28, false_alarm_blocks: float = 30
) -> DriftMonitor:
    """Return a monitor of these features, the scores, loss and calibration, with the budget split by ``SHARES``."""
    each = SHARES["distribution"] / max(len(features), 1)
    named = {f"distribution:{name}": each for name in features}
    rest = {f"{name}:": share for name, share in SHARES.items() if name != "distribution"}
    return DriftMonitor(reference_blocks, false_alarm_blocks, named | rest)


def e_value(rank: int, blocks: int) -> float:
    """Return the e-value of today's rank (1: the most unlike) among ``blocks``; over uniform ranks its mean is one."""
    tops = [math.ceil(step * blocks) for step in STEPS]
    won = sum(blocks / top for top in tops if rank <= top) / len(STEPS)
    return 1 - WAGER + WAGER * won


def discounted(e: float) -> float:
    """Return the e-value that a bet on correlated blocks may count: half the log-wealth (see the module's text)."""
    return math.sqrt(e)


def _look(
    measured: Statistic, bag: Sequence[Block], before: Evidence, threshold: float
) -> tuple[Evidence, Signal | None]:
    """Return one detector's state after the last block of ``bag``, and what it has to say; an empty block is no bet."""
    everything = measured.table([block.profile for block in bag])
    seen = np.asarray(everything.any(axis=1))
    if not seen[-1]:
        return before, None
    table, times = everything[seen], np.array([block.at for block in bag])[seen]
    after = before.bet(discounted(e_value(measured.rank(table), len(table))), bag[-1].at)
    level = _level(before.total, after.total, threshold)
    if level is None:
        return after, None
    signal = Signal(
        detector=measured.detector,
        feature=measured.feature,
        slice="all",
        level=level,
        e_value=after.total,
        threshold=threshold if level == "alarm" else math.sqrt(threshold),
        first_block=after.first,
        effect=measured.effect(table, times >= after.first),
    )
    return (Evidence() if level == "alarm" else after), signal


def _level(before: float, after: float, threshold: float) -> Level | None:
    """Return the level just reached: an alarm at the threshold, a warning on the way up past half its logarithm."""
    if after >= threshold:
        return "alarm"
    return "warning" if before < math.sqrt(threshold) <= after else None
