"""Sequential tests of a challenger by betting on bounded block means.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B, 2024): if x >= -a and
E[x | past] <= 0, then prod(1 + bet_t * x_t) with a predictable bet in [0, 1/a] is a non-negative supermartingale, so by
Ville's inequality it ever reaches 1/alpha with probability at most alpha, whenever one looks. A fixed mixture of two
bets (a cautious and a bold share of the largest) needs no estimate and no logarithm: capitals are plain products.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

Verdict = Literal["promote", "refuse", "continue"]

SHARES = (0.5, 0.9)  # of the largest bet; 0.9 survives one block at the bound, 0.5 shrugs it off
STAKES = (0.1, 0.9)  # capital each share begins with; they add up to one


@dataclass(frozen=True, slots=True)
class RolloutTest:
    """Two e-processes over d = mean loss of champion minus challenger, one number a block, clipped to +-``bound``.

    ``not_worse`` bets against "the challenger's mean is worse by ``margin`` or more", ``worse`` against "it is no worse
    at all". Each errs with probability at most ``alpha`` over the whole rollout, in the mean of the clipped differences.
    Differences and margins are in units of loss (nats). Raise ``ValueError`` unless 0 < margin < bound.
    """

    margin: float
    alpha: float
    bound: float
    blocks: int = 0
    total: float = 0.0
    not_worse: tuple[float, ...] = STAKES
    worse: tuple[float, ...] = STAKES

    def __post_init__(self) -> None:
        """Refuse bounds under which no bet is possible."""
        if not (0 < self.margin < self.bound and 0 < self.alpha < 1):
            raise ValueError(
                f"need 0 < margin < bound and 0 < alpha < 1, got {self.margin}, {self.bound}, {self.alpha}"
            )

    def update(self, difference: float) -> Self:
        """Return the test after one more block; raise ``ValueError`` on a difference that is not finite."""
        if not math.isfinite(difference):
            raise ValueError("a block's loss difference is not finite")
        d = min(max(difference, -self.bound), self.bound)
        return replace(
            self,
            blocks=self.blocks + 1,
            total=self.total + d,
            not_worse=_wager(self.not_worse, d + self.margin, self.bound - self.margin),
            worse=_wager(self.worse, -d, self.bound),
        )

    @property
    def mean(self) -> float:
        """Return the mean clipped difference so far, above zero where the challenger is better."""
        return self.total / self.blocks if self.blocks else 0.0

    @property
    def promote_e(self) -> float:
        """Return the evidence that the challenger is not worse by the margin."""
        return sum(self.not_worse)

    @property
    def refuse_e(self) -> float:
        """Return the evidence that the challenger is worse."""
        return sum(self.worse)

    def verdict(self, min_blocks: int, max_blocks: int) -> Verdict:
        """Return what the evidence allows: a worse model goes first, and an undecided one is refused at the end."""
        if self.blocks < min_blocks:
            return "continue"
        if self.refuse_e >= 1 / self.alpha:
            return "refuse"
        if self.promote_e >= 1 / self.alpha:
            return "promote"
        return "refuse" if self.blocks >= max_blocks else "continue"

    def state(self) -> dict[str, float]:
        """Return what a table keeps of the test (all numbers); :meth:`restore` takes it back, to the bit."""
        capitals = {"not_worse": self.not_worse, "worse": self.worse}
        flat = {f"{name}_{i}": capital for name, held in capitals.items() for i, capital in enumerate(held)}
        return {"blocks": float(self.blocks), "total": self.total, **flat}

    def restore(self, state: Mapping[str, float]) -> Self:
        """Return this test (its margin, alpha and bound) with the evidence that :meth:`state` gave."""
        return replace(
            self,
            blocks=int(state["blocks"]),
            total=state["total"],
            not_worse=tuple(state[f"not_worse_{i}"] for i in range(len(SHARES))),
            worse=tuple(state[f"worse_{i}"] for i in range(len(SHARES))),
        )


def _wager(capitals: tuple[float, ...], gain: float, most: float) -> tuple[float, ...]:
    """Return each capital after betting its share of the largest safe stake, 1/``most``, on ``gain`` >= -``most``."""
    return tuple(held * (1 + share * gain / most) for held, share in zip(capitals, SHARES, strict=True))
