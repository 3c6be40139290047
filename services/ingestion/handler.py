"""Raw events in; validated events, refusals and duplicates out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.bus import hashes
from headrace.bus.refusals import UNREADABLE
from headrace.bus.service import Batch, Context, Emit, Refused, Rows, Step
from headrace.contracts.arrow import as_type, filled, filtered, taken
from headrace.contracts.frame import SIZE
from headrace.contracts.topics import VALIDATED
from headrace.pipeline.claims import BODY, Claimed, Claims
from headrace.pipeline.definition import Definition, Rule
from headrace.pipeline.rules import Checker, checker
from headrace.pipeline.schemas import MARK
from headrace.pipeline.unique import Entry, Holders, entries, repeated, unique_rules


@dataclass(frozen=True)
class Contract:
    """The rules of one pipeline, compiled, and how long accepted ids are remembered."""

    definition: Definition
    checks: Mapping[str, Checker]
    unique: Mapping[str, Sequence[Rule]]


def contract(context: Context) -> Contract:
    """Return the view of the definition at a cut."""
    definition = context.definition
    return Contract(
        definition,
        {record: checker(definition, record) for record in definition.records},
        {name: rules for name in definition.records if (rules := unique_rules(definition, name))},
    )


def handle(batch: Batch, rows: Rows, view: Contract) -> Step:
    """Refuse what breaks the contract, drop what was accepted before, pass the rest on; in log order."""
    refused = [*_undecodable(batch), *_broken_rules(batch, view)]
    bad = np.zeros(len(batch), bool)
    for found in refused:
        bad[found.rows] |= found.severity == "reject"
    if view.unique:
        again = _repeated(batch, ~bad, rows, view)
        refused += again
        for found in again:
            bad[found.rows] |= found.severity == "reject"
    conflicts, duplicates = _claim(batch, np.flatnonzero(~bad), rows, view.definition.dedupe)
    bad[duplicates] = True
    if len(conflicts.rows):
        refused.append(conflicts)
        bad[conflicts.rows] = True
    marks = _marks(refused, len(batch)) if view.definition.quarantines else None
    return Step(emitted={VALIDATED: _validated(batch, ~bad, marks)}, refused=refused, absorbed=duplicates)


def _marks(refused: Sequence[Refused], count: int) -> np.ndarray:
    """Return for each row the first rule that quarantines it, or None."""
    marks = np.full(count, None, object)
    for found in reversed(refused):
        if found.severity == "quarantine":
            marks[found.rows] = found.rule
    return marks


def _undecodable(batch: Batch) -> list[Refused]:
    return [
        _unreadable(row, lost) if lost else _undecoded(row, why)
        for row, why, lost in (
            (row, why, dict(batch.headers[row]).get(UNREADABLE)) for row, why in sorted(batch.broken.items())
        )
    ]


def _undecoded(row: int, why: str) -> Refused:
    return Refused(
        rows=np.array([row]),
        rule="decode",
        path="",
        expected="an Avro record of this topic's schema",
        actual=[why],
        hint="encode with the schema that the registry holds under this topic's subject",
    )


def _unreadable(row: int, why: bytes) -> Refused:
    return Refused(
        rows=np.array([row]),
        rule="unreadable",
        path="",
        expected="a record that can be fetched",
        actual=[why.decode("utf-8", "replace")],
        hint="publish the event again; its bytes are lost to every client",
    )


def _broken_rules(batch: Batch, view: Contract) -> list[Refused]:
    return [
        Refused(selection.rows[v.rows], v.rule, v.path, v.expected, v.actual, v.hint, v.severity)
        for record, selection in batch.records.items()
        for v in view.checks[record](selection.columns, batch.since)
    ]


def _repeated(batch: Batch, good: np.ndarray, rows: Rows, view: Contract) -> list[Refused]:
    """Return the good rows whose values another event has; the others take theirs."""
    ids = batch.lineage["event_id"].to_pylist()
    times = as_type(batch.lineage["event_time"], pa.int64()).to_pylist()
    found: list[Entry] = []
    for record, selection in batch.records.items():
        keep = good[selection.rows]
        at, columns = selection.rows[keep].tolist(), filtered(selection.columns, keep)
        rules = view.unique.get(record, ())
        found += entries(rules, columns, at, [ids[n] for n in at], [times[n] for n in at])
    met = rows["claimed"].index.meet(batch.lineage["event_id"], batch.since, batch.tick)
    claimed = {ids[n] for n in np.flatnonzero(met.held)}
    holders = Holders(rows["values"].get)
    in_order = sorted(found, key=lambda e: e.row)
    broken = repeated(in_order, holders, claimed.__contains__)
    rows["values"].put(list(holders.changed), list(holders.changed.values()))
    return [Refused(v.rows, v.rule, v.path, v.expected, v.actual, v.hint, v.severity) for v in broken]


def _claim(batch: Batch, good: np.ndarray, rows: Rows, memory: int) -> tuple[Refused, np.ndarray]:
    """Claim the ids of good rows; return those that another body holds, and those that came again unchanged."""
    lineage = taken(batch.lineage, good)
    ids, bodies = filled(lineage["event_id"], ""), _digests(batch, good)
    claims: Claims = rows["claimed"].index
    met = claims.meet(ids, batch.since, batch.tick)
    fresh = ~met.held & (met.firsts == np.arange(len(ids)))
    again = np.flatnonzero(~fresh)
    known = np.where(met.held[again, None], met.bodies[again], bodies[met.firsts[again]])
    same = (known == bodies[again]).all(axis=1)
    dues = as_type(lineage["event_time"], pa.int64()).to_numpy() + memory
    if fresh.any():
        claimed = Claimed(filtered(ids, fresh), bodies[fresh], dues[fresh])
        offset = batch.lineage["origin"][0]["offset"].as_py()
        made = claims.claim(claimed, met.numbers[fresh], offset, batch.tick, memory)
        keys, found = zip(*made, strict=True)
        rows["claimed"].put(keys, found)
    conflicts = good[again[~same]]
    refused = Refused(
        rows=conflicts,
        rule="conflict",
        path="",
        expected="the body that was accepted under this event id",
        actual=["another body"] * len(conflicts),
        hint="an accepted event cannot be changed; send a new event with an id of its own",
    )
    return refused, good[again[same]]


def _digests(batch: Batch, rows: np.ndarray) -> np.ndarray:
    """Return what is remembered of each body: the first 16 bytes of its SHA-256."""
    assert batch.bodies is not None  # noqa: S101 -- the raw topic has them
    return hashes.sha256(taken(batch.bodies, rows), skip=SIZE)[:, :BODY]


def _validated(batch: Batch, good: np.ndarray, marks: np.ndarray | None) -> list[Emit]:
    emits = []
    for record, selection in batch.records.items():
        keep = good[selection.rows]
        if keep.any():
            data = filtered(selection.columns, keep).to_struct_array()
            rows = selection.rows[keep]
            columns = pa.RecordBatch.from_arrays([data], names=["data"])
            if marks is not None:
                columns = columns.append_column(MARK, pa.array(marks[rows], pa.string()))
            emits.append(Emit(record, columns, cause=rows))
    return emits
