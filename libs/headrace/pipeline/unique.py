"""Rules of the kind ``unique``: a value that another event had within a window is broken; in log order, per partition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.pipeline.definition import SEVERITIES, Definition, Rule
from headrace.pipeline.durations import show
from headrace.pipeline.rules import Violation

Holder = tuple[str, int, int]  # id and time of the event that has the value, and when it lets go of it
Look = Callable[[Sequence[str]], Sequence[Any]]


@dataclass(slots=True)
class Holders:
    """Who holds which value: what was held before (``look``), and what changed since."""

    look: Look
    changed: dict[str, Holder] = field(default_factory=dict)

    def of(self, key: str) -> Holder | None:
        """Return who holds a value, or None."""
        found: Holder | None = self.changed.get(key) or self.look([key])[0]
        return found


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that no other rule turns down: its event's id and time (microseconds), and its values by rule."""

    row: int
    event: str
    time: int
    values: Sequence[tuple[Rule, Any]] = ()


def unique_rules(definition: Definition, record: str) -> list[Rule]:
    """Return the rules of the kind ``unique`` of a record type; the gravest come first."""
    mine = [rule for rule in definition.rules if rule.record == record and rule.kind == "unique"]
    return sorted(mine, key=lambda rule: SEVERITIES.index(rule.severity))


def entries(
    rules: Sequence[Rule],
    columns: pa.RecordBatch,
    rows: Sequence[int],
    ids: Sequence[str],
    times: Sequence[int],
) -> list[Entry]:
    """Return the entries of rows of one record type; all sequences are as long as ``columns``."""
    values = [columns.column(rule.column).to_pylist() for rule in rules]
    return [
        Entry(row, event, time, [(rule, held[n]) for rule, held in zip(rules, values, strict=True)])
        for n, (row, event, time) in enumerate(zip(rows, ids, times, strict=True))
    ]


def repeated(found: Sequence[Entry], holders: Holders, known: Callable[[str], bool]) -> list[Violation]:
    """Return what rows repeat; the others take their values. ``found`` are all rows of a batch, in log order.

    Events whose id is ``known``, and those that come again within the batch, are another rule's concern: they neither
    break one here nor take a value.
    """
    broken: dict[str, tuple[Rule, list[tuple[int, str]]]] = {}
    taken: set[str] = set()
    for entry in found:
        if entry.event in taken or known(entry.event):
            continue
        wanted, good = _asked(entry, holders, broken)
        if good:
            holders.changed |= wanted
            taken.add(entry.event)
    return [_violation(rule, rows) for rule, rows in broken.values()]


def _asked(
    entry: Entry, holders: Holders, broken: dict[str, tuple[Rule, list[tuple[int, str]]]]
) -> tuple[dict[str, Holder], bool]:
    """Return the values a row takes, and whether it passes; note what it breaks."""
    wanted: dict[str, Holder] = {}
    for rule, value in entry.values:
        within = rule.within or 0
        if value is None:
            continue
        key = f"{rule.name}|{value}"
        holder = holders.of(key)
        if holder is None or abs(entry.time - holder[1]) >= within:
            wanted[key] = (entry.event, entry.time, entry.time + within)
            continue
        broken.setdefault(rule.name, (rule, []))[1].append((entry.row, f"{value}, which {holder[0]} has"))
        if rule.severity == "reject":
            return {}, False
    return wanted, True


def _violation(rule: Rule, found: Sequence[tuple[int, str]]) -> Violation:
    rows = np.array([row for row, _ in found], np.int64)
    expected = f"a value that no other event had within {show(rule.within or 0)}"
    return Violation(rows, rule.name, rule.severity, rule.column, expected, [t for _, t in found], rule.hint)
