"""Label contracts: whether a block of a slice's labels looks like the blocks before it.

Five rules over a block (a day by default), each a distance on a log scale from the median of the slice's conforming
reference blocks, against a declared limit: ``rate`` (log odds of the last class), ``volume``, ``delay`` (median from
event to label), ``unit`` (median size of the measured value) and ``constant`` (every value the same). ``unit`` and
``constant`` breach at once, the others when two blocks in a row do. The limits are wide, and days, not labels, are what
they are set against: a test simulates dependent days and holds the false alarms to one in 3,650 slice-days.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

AT_ONCE = frozenset({"constant", "unit"})
STEPS = 8  # buckets to a factor of e: a median is known within 13 %
Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a block may lie from its reference: ``rate`` in log odds, the others as factors either way."""

    rate: float
    volume: float
    delay: float
    unit: float
    reference: int
    at_least: int  # reference blocks before anything is judged
    labels: int  # labels of a block below which only its volume is judged
    confirm: int  # blocks in a row that make a breach of a rule that is not at once


class Summary(NamedTuple):
    """What a block comes down to; None where it has too few labels or nothing of the kind."""

    labels: int
    rate: float | None = None
    delay: float | None = None
    unit: float | None = None
    constant: bool = False


class Breach(NamedTuple):
    """A rule that a block broke: what was expected and found, in the rule's own unit."""

    rule: str
    expected: float
    actual: float


class Counted(NamedTuple):
    """Exact counts of a block's labels: they add up in any order."""

    labels: int = 0
    positive: int = 0
    low: float | None = None
    high: float | None = None
    sizes: Counts = MappingProxyType({})
    delays: Counts = MappingProxyType({})

    def plus(self, other: "Counted") -> "Counted":
        """Return both together."""
        lows = [x for x in (self.low, other.low) if x is not None]
        highs = [x for x in (self.high, other.high) if x is not None]
        return Counted(
            self.labels + other.labels,
            self.positive + other.positive,
            min(lows, default=None),
            max(highs, default=None),
            _added(self.sizes, other.sizes),
            _added(self.delays, other.delays),
        )

    def summary(self, limits: Limits, *, classes: bool) -> Summary:
        """Return what the rules look at; ``classes`` says whether there is a rate."""
        if self.labels < limits.labels:
            return Summary(self.labels)
        odds = math.log((self.positive + 0.5) / (self.labels - self.positive + 0.5))
        return Summary(
            self.labels,
            odds if classes else None,
            _middle(self.delays),
            _middle(self.sizes),
            constant=self.low is not None and self.low == self.high,
        )


def counted(
    positive: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], delays: npt.NDArray[np.float64]
) -> Counted:
    """Return the counts of labels; a value that is not finite is left out of what is counted of values."""
    finite = values[np.isfinite(values)]
    return Counted(
        len(positive),
        int(positive.sum()),
        float(finite.min()) if len(finite) else None,
        float(finite.max()) if len(finite) else None,
        _buckets(finite),
        _buckets(delays[np.isfinite(delays)]),
    )


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of one slice: reference blocks, a breach that waits to be confirmed, the open stretch."""

    reference: tuple[Summary, ...] = ()
    since: int | None = None
    waited: int = 0
    stretch: str | None = None
    breach: Breach | None = None
    judged: int | None = None  # where the last block began that was judged

    def judge(self, start: int, seen: Summary, limits: Limits) -> Self:
        """Return the watch after the block that began at ``start``; ``stretch`` stays the caller's to name.

        ``breach`` is set when the block broke a rule for good and ``since`` is where that began. Labels that come
        after their block was judged are too few to be a block, and are not judged again.
        """
        if self.judged is not None and start <= self.judged:
            return self
        return replace(self._after(start, seen, limits), judged=start)

    def _after(self, start: int, seen: Summary, limits: Limits) -> Self:
        found = breaches(seen, self.reference, limits)
        now = [b for b in found if b.rule in AT_ONCE or self.waited + 1 >= limits.confirm]
        if found:
            since = start if self.since is None else self.since
            return replace(self, since=since, waited=self.waited + 1, breach=now[0] if now else None)
        if self.stretch is not None and seen.labels < limits.labels:
            return self
        kept = (*self.reference, seen)[-limits.reference :] if seen.labels else self.reference
        return replace(self, reference=kept, since=None, waited=0, breach=None)

    def afresh(self) -> Self:
        """Return the watch without a reference: what comes is the new normal."""
        return type(self)(judged=self.judged)

    def named(self, stretch: str | None) -> Self:
        """Return the watch with its open stretch named, or none."""
        return replace(self, stretch=stretch)

    def state(self) -> list[Any]:
        """Return JSON values that :meth:`restore` takes back."""
        return [self.reference, self.since, self.waited, self.stretch, self.breach, self.judged]

    @classmethod
    def restore(cls, state: Sequence[Any]) -> Self:
        """Return the watch that :meth:`state` gave."""
        reference, since, waited, stretch, breach, judged = state
        held = Breach(*breach) if breach else None
        return cls(tuple(Summary(*s) for s in reference), since, waited, stretch, held, judged)


def breaches(seen: Summary, reference: Sequence[Summary], limits: Limits) -> list[Breach]:
    """Return the rules that a block breaks, the surest first."""
    if len(reference) < limits.at_least:
        return []
    found = []
    if seen.constant and not all(s.constant for s in reference):
        found.append(Breach("constant", 0.0, 1.0))
    compared: list[tuple[str, float | None, list[float | None], float]] = [
        ("unit", seen.unit, [s.unit for s in reference], math.log(limits.unit)),
        ("rate", seen.rate, [s.rate for s in reference], limits.rate),
        ("delay", seen.delay, [s.delay for s in reference], math.log(limits.delay)),
        ("volume", math.log(seen.labels + 1), [math.log(s.labels + 1) for s in reference], math.log(limits.volume)),
    ]  # fmt: skip
    for rule, value, others, limit in compared:
        known = [x for x in others if x is not None]
        if value is None or len(known) < limits.at_least:
            continue
        expected = median(known)
        if rule == "volume" and expected < math.log(limits.labels):
            continue
        if abs(value - expected) > limit:
            found.append(Breach(rule, expected, value))
    return found


def _buckets(values: npt.NDArray[np.float64]) -> dict[str, int]:
    keys, counts = np.unique(np.floor(np.log1p(np.abs(values)) * STEPS).astype(np.int64), return_counts=True)
    return {str(key): int(count) for key, count in zip(keys, counts, strict=True)}


def _middle(counts: Counts) -> float | None:
    """Return the log of the median of one plus the size, at its bucket's middle."""
    left = sum(counts.values()) / 2
    for key in sorted(map(int, counts)):
        left -= counts[str(key)]
        if left <= 0:
            return (key + 0.5) / STEPS
    return None


def _added(one: Counts, other: Counts) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
