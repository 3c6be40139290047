"""Label contracts at work: labels are counted by block and slice, and judged once their block has ended."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus.controls import control
from headrace.bus.refusals import derived_id
from headrace.bus.service import Emit, Rows, Table, Tick
from headrace.pipeline.definition import Definition
from headrace.stats.label_rules import Counted, Limits, Watch, counted

BLOCKS = Table("label_blocks", pa.schema([("counted", pa.string())]))
WATCHES = Table("label_watches", pa.schema([("text", pa.string())]))
ALL = "all"
MINUTE = 60_000_000


def limits(definition: Definition) -> Limits:
    """Return the limits that a definition declares."""
    told = definition.label.contract
    return Limits(
        told.rate, told.volume, told.delay, told.unit,
        told.reference_blocks, told.min_reference, told.min_labels, told.confirm,
    )  # fmt: skip


def count(rows: Rows, definition: Definition, told: Mapping[str, Sequence[Any]]) -> None:
    """Add labels to their blocks: columns partition, slice, measure, label, labelled_at and event_time."""
    length, offset = definition.label.contract.block, definition.clock.offset
    classes = definition.label.classes or [""]
    at = np.asarray(told["labelled_at"], np.int64)
    positive = np.array([label == classes[-1] for label in told["label"]], np.bool_)
    values = np.array([np.nan if v is None else v for v in told["measure"]], np.float64)
    delays = (at - np.asarray(told["event_time"], np.int64)) / MINUTE
    places: dict[str, list[int]] = defaultdict(list)
    starts = ((at - offset) // length * length + offset).tolist()
    for i, (start, partition, name) in enumerate(zip(starts, told["partition"], told["slice"], strict=True)):
        places[f"{start:020d}|{partition}|{name}"].append(i)
    keys = sorted(places)
    held = rows[BLOCKS.name].get(keys)
    changed = []
    for key, row in zip(keys, held, strict=True):
        at_key = places[key]
        new = counted(positive[at_key], values[at_key], delays[at_key])
        before = Counted(*json.loads(row[0])) if row else Counted()
        changed.append((json.dumps(before.plus(new), sort_keys=True),))
    rows[BLOCKS.name].put(keys, changed)


def judge(rows: Rows, tick: Tick, definition: Definition) -> list[Emit]:
    """Judge the blocks that ended by this tick, oldest first, and return what begins or ends a quarantine.

    A block without any label in any slice says nothing: the stream was silent, not its labels.
    """
    ended: dict[int, dict[str, Counted]] = defaultdict(dict)
    for key, (text,) in rows[BLOCKS.name].all():
        began, _, name = key.partition("|")
        if int(began) + definition.label.contract.block <= tick.time:
            ended[int(began)][name] = Counted(*json.loads(text))
            rows[BLOCKS.name].delete([key])
    if not ended:
        return []
    bounds = limits(definition)
    watches = {name: Watch.restore(json.loads(text)) for name, (text,) in rows[WATCHES.name].all()}
    emits = []
    for start in sorted(ended):
        for name in sorted({*watches, *ended[start]}):
            seen = ended[start].get(name, Counted()).summary(bounds, classes=bool(definition.label.classes))
            watch = watches.get(name, Watch()).judge(start, seen, bounds)
            watches[name], told = _told(watch, name, start, tick)
            emits += told
    names = sorted(watches)
    rows[WATCHES.name].put(names, [(json.dumps(watches[name].state()),) for name in names])
    return emits


def release(rows: Rows, quarantine_id: str) -> None:
    """Take an operator's word: an open stretch that is released is the new normal, so its reference begins again."""
    for name, (text,) in rows[WATCHES.name].all():
        watch = Watch.restore(json.loads(text))
        if watch.stretch == quarantine_id:
            rows[WATCHES.name].put([name], [(json.dumps(watch.afresh().state()),)])


def broken(rows: Rows) -> set[str]:
    """Return the slices, as ``partition|slice``, whose labels break their contract now."""
    watches = ((name, Watch.restore(json.loads(text))) for name, (text,) in rows[WATCHES.name].all())
    return {name for name, watch in watches if watch.stretch is not None}


def _told(watch: Watch, name: str, start: int, tick: Tick) -> tuple[Watch, list[Emit]]:
    label_slice = name.partition("|")[2]
    common = {"pipeline": tick.pipeline, "tick": tick.n, "time": tick.time, "slice": label_slice}
    if watch.stretch is None and watch.breach is not None:
        identity = derived_id("quarantine", tick.pipeline, name, watch.since)
        rule, expected, actual = watch.breach
        figures = {"rule": rule, "expected": expected, "actual": actual}
        detail = f"{rule} of {label_slice}: {actual:.2f} where {expected:.2f} was expected (log scale)"
        begun = control(
            "LabelsQuarantined", quarantine_id=identity, **common, since=watch.since, **figures, detail=detail
        )
        return watch.named(identity), [begun]
    if watch.stretch is not None and watch.since is None:
        ended = control("QuarantineEnded", quarantine_id=watch.stretch, **common, until=start)
        return watch.named(None), [ended]
    return watch, []
