"""Gates: what a candidate must show before it may become a challenger. Every gate is judged, none stops the others."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Bounds(Protocol):
    """What the gates read of a definition's ``Gates``."""

    @property
    def max_worse(self) -> float:
        """Return the loss above the champion's that still passes."""

    @property
    def max_bytes(self) -> int:
        """Return the largest artifact that passes."""

    @property
    def min_rows(self) -> int:
        """Return the fewest hold-out rows on which the gates judge."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a candidate shows: losses on one hold-out, its rows, the artifact's bytes, and batch invariance if tested."""

    loss: float
    champion_loss: float | None
    holdout_rows: int
    artifact_bytes: int
    batch_invariant: bool | None = None


class Gate(NamedTuple):
    """One gate's answer: the value it looked at and the bound it held it to."""

    name: str
    passed: bool
    value: float
    bound: float


def judge(evidence: Evidence, bounds: Bounds) -> list[Gate]:
    """Return every gate's answer; a loss that is not a number passes none. The candidate passes if all do."""
    finite = math.isfinite(evidence.loss)
    gates = [
        Gate("loss_is_finite", finite, float(finite), 1.0),
        Gate("min_rows", evidence.holdout_rows >= bounds.min_rows, evidence.holdout_rows, bounds.min_rows),
        Gate(
            "max_bytes",
            evidence.artifact_bytes <= bounds.max_bytes,
            evidence.artifact_bytes,
            bounds.max_bytes,
        ),
    ]
    if evidence.champion_loss is not None:
        worse = evidence.loss - evidence.champion_loss
        gates.append(Gate("loss_vs_champion", worse <= bounds.max_worse, worse, bounds.max_worse))
    if evidence.batch_invariant is not None:
        gates.append(Gate("batch_invariance", evidence.batch_invariant, float(evidence.batch_invariant), 1.0))
    return gates


def passed(gates: list[Gate]) -> bool:
    """Return whether every gate passed."""
    return all(gate.passed for gate in gates)
