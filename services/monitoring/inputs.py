"""Rules about blocks at work: records are counted by rule and block, and judged once their block has ended."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace.bus.controls import control
from headrace.bus.refusals import derived_id
from headrace.bus.service import Batch, Emit, Rows, Table, Tick
from headrace.contracts.arrow import as_type
from headrace.pipeline.blocks import EMPTY, Counted, Found, Watch, counted, expected, length
from headrace.pipeline.definition import Definition, Rule
from headrace.pipeline.quarantine import Quarantine, fold, records_of, records_slice

BLOCKS = Table("input_blocks", pa.schema([("records", pa.int64()), ("nulls", pa.int64())]))
WATCHES = Table("input_watches", pa.schema([("next", pa.int64()), ("stretch", pa.string())]))
STRETCHES = Table("input_stretches", pa.schema([("text", pa.string())]))
_ALL = "all"


def count(batch: Batch, rows: Rows, definition: Definition) -> None:
    """Add a batch of validated records to the blocks of the rules that judge them."""
    for rule in definition.block_rules:
        found = batch.of(rule.record)
        if found is None:
            continue
        times = as_type(found.columns["event_time"], pa.int64()).to_numpy()
        column = pa.RecordBatch.from_struct_array(found.columns["data"])[rule.column]
        new = counted(rule, column, times, definition.clock.offset)
        keys = [f"{start:020d}|{rule.name}|{batch.partition}" for start in new]
        held = [row or EMPTY for row in rows[BLOCKS.name].get(keys)]
        sums = [(a + c, b + d) for (a, b), (c, d) in zip(held, new.values(), strict=True)]
        rows[BLOCKS.name].put(keys, sums)


def judge(rows: Rows, tick: Tick, definition: Definition) -> list[Emit]:
    """Judge the blocks that ended by this tick, and return what begins or ends a quarantine."""
    known = {rule.name: rule for rule in definition.block_rules}
    ended: dict[str, dict[int, Counted]] = defaultdict(dict)
    for key, row in rows[BLOCKS.name].all() if known else ():
        start, _, name = key.partition("|")
        rule = known.get(name.partition("|")[0])
        if rule is None or int(start) + length(rule) <= tick.time:
            rows[BLOCKS.name].delete([key])
            ended[name][int(start)] = Counted(*row)
    watches = {name: Watch(*row) for name, row in rows[WATCHES.name].all()} if known else {}
    emits = []
    for name in sorted({*watches, *ended}):
        rule = known.get(name.partition("|")[0])
        if rule is None:
            continue
        watch, found = watches.get(name, Watch()).judge(rule, ended.get(name, {}), tick.time)
        for block in found:
            watch, told = _told(watch, rule, name, block, tick)
            emits += told
        if watch != watches.get(name):
            rows[WATCHES.name].put([name], [(watch.next, watch.stretch)])
    return emits


def broken(rows: Rows, definition: Definition) -> list[str]:
    """Return the partitions, as text, whose records break a rule about blocks now."""
    known = {rule.name for rule in definition.block_rules}
    watches = rows[WATCHES.name].all() if known else []
    parts = [(name.split("|"), stretch) for name, (_, stretch) in watches]
    return sorted({partition for (name, partition), stretch in parts if stretch and name in known})


def note(rows: Rows, name: str, fields: Mapping[str, Any]) -> None:
    """Take a record of control.quarantine: later labels of events in a stretch of inputs are no quality either."""
    held = _held(rows)
    after = fold(held, name, fields)
    kept = Quarantine({key: s for key, s in after.held.items() if records_of(s[0])})
    if kept != held:
        rows[STRETCHES.name].put([_ALL], [(json.dumps(kept.state(), sort_keys=True),)])


def apart(
    rows: Rows, definition: Definition, events: Sequence[int | None], labels: Sequence[int | None]
) -> list[bool]:
    """Tell for each outcome whether its event or its label lies in a stretch (event times in microseconds)."""
    held = _held(rows)
    at = [(definition.event, events), (definition.label.record, labels)]
    names = [(records_slice(record), times) for record, times in at]
    return [
        any(times[n] is not None and held.covers(name, times[n] or 0) for name, times in names)
        for n in range(len(events))
    ]


def _held(rows: Rows) -> Quarantine:
    row = rows[STRETCHES.name].get([_ALL])[0]
    return Quarantine.restore(json.loads(row[0])) if row else Quarantine()


def _told(watch: Watch, rule: Rule, name: str, block: Found, tick: Tick) -> tuple[Watch, list[Emit]]:
    about = {
        "pipeline": tick.pipeline,
        "tick": tick.n,
        "time": tick.time,
        "slice": records_slice(rule.record),
    }
    if not block.good and watch.stretch is None:
        identity = derived_id("quarantine", tick.pipeline, "inputs", name, block.start)
        told = {"rule": rule.name, "path": rule.column, "expected": expected(rule), "actual": block.actual}
        detail = f"{rule.name} of {rule.record}: {block.actual} where {expected(rule)} were expected"
        begun = control(
            "InputsQuarantined",
            quarantine_id=identity,
            **about,
            since=block.start,
            **told,
            hint=rule.hint,
            detail=detail,
        )
        return Watch(watch.next, identity), [begun]
    if block.good and watch.stretch is not None:
        ended = control("QuarantineEnded", quarantine_id=watch.stretch, **about, until=block.start)
        return Watch(watch.next, None), [ended]
    return watch, []
