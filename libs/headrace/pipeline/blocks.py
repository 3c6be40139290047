"""Rules of the kinds ``volume`` and ``null_rate``: a block of records, per partition, is judged once it has ended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.pipeline.definition import DAY, Rule
from headrace.pipeline.durations import show
from headrace.pipeline.expressions import finite


class Counted(NamedTuple):
    """A block's records, and how many of them have no value in the rule's column (a number must be finite)."""

    records: int = 0
    nulls: int = 0


EMPTY = Counted()


def length(rule: Rule) -> int:
    """Return the microseconds of a rule's block."""
    return rule.block or DAY


def counted(rule: Rule, column: pa.Array, times: npt.NDArray[np.int64], offset: int) -> dict[int, Counted]:
    """Return by the begin of its block what a batch adds; ``times`` and ``offset`` are in microseconds."""
    starts, at = np.unique((times - offset) // length(rule) * length(rule) + offset, return_inverse=True)
    missing = np.asarray(finite(column).is_null())
    records = np.bincount(at, minlength=len(starts))
    nulls = np.bincount(at, weights=missing, minlength=len(starts)).astype(np.int64)
    return {
        s: Counted(r, n) for s, r, n in zip(starts.tolist(), records.tolist(), nulls.tolist(), strict=True)
    }


class Found(NamedTuple):
    """What a block came to: whether it conforms, and the figure that says so."""

    start: int
    good: bool
    actual: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of a rule in a partition: where the next block begins, and the open stretch."""

    next: int | None = None
    stretch: str | None = None

    def judge(self, rule: Rule, ended: Mapping[int, Counted], now: int) -> tuple["Watch", list[Found]]:
        """Return the watch and the verdicts on the blocks that ended by ``now``, oldest first.

        Blocks without a record are judged by volume too, a run of them as one; nothing is said of their nulls. The
        first block of a partition may have begun before the stream did: no minimum holds for it. What comes after its
        block was judged is not judged again.
        """
        found, after = [], self.next
        for start, seen in self._in_turn(rule, ended, now):
            verdict = _verdict(rule, seen, first=after is None)
            after = start + length(rule)
            if verdict is not None:
                found.append(Found(start, *verdict))
        if after is not None and now > after:
            after += (now - after) // length(rule) * length(rule)
        return replace(self, next=after), found

    def _in_turn(self, rule: Rule, ended: Mapping[int, Counted], now: int) -> Iterator[tuple[int, Counted]]:
        after = self.next
        for start in sorted(ended):
            if after is not None and start < after:
                continue
            if after is not None and start > after:
                yield after, EMPTY
            yield start, ended[start]
            after = start + length(rule)
        if after is not None and after + length(rule) <= now:
            yield after, EMPTY


def expected(rule: Rule) -> str:
    """Return in words what a block has to look like."""
    if rule.kind == "null_rate":
        return f"at most {rule.maximum:g} of the values of {show(length(rule))} missing"
    bounds = [("at least", rule.minimum), ("at most", rule.maximum)]
    said = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    return f"{said} records in {show(length(rule))}"


def _verdict(rule: Rule, seen: Counted, *, first: bool) -> tuple[bool, str] | None:
    if rule.kind == "null_rate":
        share = seen.nulls / seen.records if seen.records else 0.0
        return (share <= (rule.maximum or 0.0), f"{share:.4f}") if seen.records else None
    low = 0 if rule.minimum is None or first else rule.minimum
    high = np.inf if rule.maximum is None else rule.maximum
    return bool(low <= seen.records <= high), str(seen.records)
