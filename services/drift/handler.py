"""Profiles in; once a block, a look at what changed: drift signals out, and for an alarm a request to retrain."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus.controls import control
from headrace.bus.refusals import derived_id
from headrace.bus.service import Batch, Context, Due, Emit, Rows, Step, Tick
from headrace.contracts.topics import DRIFT, RETRAIN
from headrace.models import adwin
from headrace.pipeline.definition import Definition
from headrace.stats.detectors import Block, DriftMonitor, Signal, monitor
from headrace.stats.profiles import MILLION, FeatureProfile, Profile, merge, profile
from services.drift.state import (
    JUDGED,
    OPEN,
    TABLE,
    Judged,
    Open,
    load_bag,
    load_judged,
    load_open,
    save,
    save_bag,
)


@dataclass(frozen=True)
class Policy:
    """What to watch, and the budget, as the definition at a cut has it."""

    definition: Definition
    kinds: Mapping[str, str]
    monitor: DriftMonitor

    def begin(self, time: int) -> int:
        """Return when the block began that the instants just before ``time`` belong to (microseconds)."""
        length, offset = self.definition.drift.block, self.definition.clock.offset
        return (time - 1 - offset) // length * length + offset

    def fitted(self, seen: Profile) -> Profile:
        """Return a profile of exactly the watched features: what nobody counted is empty, the rest falls away."""
        if [(f["name"], f["kind"]) for f in seen["features"]] == sorted(self.kinds.items()):
            return seen
        known = {f["name"]: f for f in seen["features"] if self.kinds.get(f["name"]) == f["kind"]}
        return profile(
            [known.get(n) or _empty(n, k) for n, k in self.kinds.items()], seen["scores"], seen["quality"]
        )

    def without_labels(self, seen: Profile) -> Profile:
        """Return a profile without the features that are made of labels, which are not to be trusted."""
        record = self.definition.label.record
        made = {w.name for w in self.definition.features.windows if w.record == record}
        kept = [f for f in seen["features"] if f["name"] not in made]
        return profile(kept, seen["scores"], seen["quality"])


def policy(context: Context) -> Policy:
    """Return the view of the definition at a cut."""
    definition = context.definition
    categories = definition.features.categories
    kinds = {name: "category" if name in categories else "number" for name in definition.features.names}
    drift = definition.drift
    watch = monitor(
        list(kinds), reference_blocks=drift.reference_blocks, false_alarm_blocks=drift.false_alarm_blocks
    )
    return Policy(definition, kinds, watch)


def handle(batch: Batch, rows: Rows, view: Policy) -> Step:
    """Add profiles to the open block; counts are exact, so their order does not matter."""
    columns = batch.records["Profile"].columns
    block = load_open(rows)
    if block is None:
        time = columns["time"].cast(pa.int64())[0].as_py()  # one tick, one time
        block = Open(max(view.begin(time), load_judged(rows).until), (), profile([], {}))
    for record in columns.drop_columns(["time"]).to_pylist(maps_as_pydicts="strict"):
        block = _added(block, record)
    save(rows, OPEN, block)
    return Step(absorbed=np.arange(len(batch)))


def close(due: Due, rows: Rows, tick: Tick, view: Policy) -> Step:
    """Judge the open block once the tick's time has passed its end."""
    del due
    block = load_open(rows)
    if block is None or tick.time < (until := block.at + view.definition.drift.block):
        return Step()
    rows[TABLE.name].delete([OPEN])
    if block.distrusted:  # what it counted says nothing, not even as a reference
        held = load_judged(rows)
        save(rows, JUDGED, Judged(until, held.champion, held.evidence))
        return Step()
    found = [_detected(signal, block, tick) for signal in _judge(block, until, rows, view)]
    emitted = {DRIFT: [control("DriftDetected", **fields) for fields in found]} if found else {}
    alarms = [fields for fields in found if fields["level"] == "alarm"]
    if alarms and view.definition.drift.retrain:
        emitted[RETRAIN] = [_request(alarms, tick)]
    return Step(emitted=emitted)


def _added(block: Open, record: Mapping[str, Any]) -> Open:
    champions = block.champions
    if record["producer"] == "serving" and record["champion"] not in champions[-1:]:
        champions = (*champions, record["champion"])
    counted = Profile(features=record["features"], scores=record["scores"], quality=record["quality"])
    suspect = block.suspect or bool(record.get("suspect"))
    distrusted = block.distrusted or bool(record.get("distrusted"))
    return Open(block.at, champions, merge(block.profile, counted), suspect, distrusted)


def _judge(block: Open, until: int, rows: Rows, view: Policy) -> list[Signal]:
    """Let every detector look at a block, and keep what they remember."""
    held, bag = load_judged(rows), load_bag(rows)
    watch = view.monitor.restore(
        {"bag": [(at, view.fitted(p)) for at, p in bag], "evidence": held.evidence or {}}
    )
    counted = view.without_labels(block.profile) if block.suspect else block.profile
    seen, champion = view.fitted(counted), block.champions[-1] if block.champions else held.champion
    if champion != held.champion:
        watch = watch.rebase([Block(at, _without_model(p)) for at, p in watch.latest()])
    if len(block.champions) > 1:  # of a block with two masters only the inputs are comparable
        seen = _without_model(seen)
    watch, signals = watch.block(block.at, seen)
    save_bag(rows, bag, watch)
    save(rows, JUDGED, Judged(until, champion, watch.state()["evidence"]))
    return [*signals, *_second_opinion(watch)]


def _empty(name: str, kind: str) -> FeatureProfile:
    return FeatureProfile(name=name, kind=kind, count=0, nulls=0, buckets={})


def _without_model(seen: Profile) -> Profile:
    """Return the part of a profile that no model had a hand in."""
    return profile(seen["features"], {})


def _second_opinion(watch: DriftMonitor) -> list[Signal]:
    """Return a warning when river's ADWIN cuts the champion's mean losses after the last block; it spends no budget."""
    labelled = [(b.at, q) for b in watch.bag if (q := b.profile["quality"]) is not None and q["count"]]
    if not labelled or labelled[-1][0] != watch.bag[-1].at:
        return []
    cut = adwin.last_cut([q["loss_sum"] / q["count"] / MILLION for _, q in labelled])
    if cut is None:
        return []
    since = labelled[-cut.width][0]
    return [Signal("adwin", "", "all", "warning", 0.0, adwin.DELTA, since, cut.moved)]


def _detected(signal: Signal, block: Open, tick: Tick) -> dict[str, Any]:
    """Return the fields of a DriftDetected; its id says what was seen in which block."""
    named = (signal.detector, signal.feature, signal.slice, signal.level)
    return {
        "signal_id": derived_id("drift", tick.pipeline, block.at, *named),
        "pipeline": tick.pipeline,
        "tick": tick.n,
        "time": tick.time,
        **asdict(signal),
        "detail": _sentence(signal),
    }


def _sentence(signal: Signal) -> str:
    what = f"{signal.detector} of {signal.feature}" if signal.feature else signal.detector
    if signal.detector == "adwin":
        return f"river's ADWIN: the mean loss of a block moved by {signal.effect:+.4f}"
    return f"{what} changed by {signal.effect:.4f}; evidence {signal.e_value:.3g}, {signal.level} at {signal.threshold:.3g}"


def _request(alarms: Sequence[Mapping[str, Any]], tick: Tick) -> Emit:
    """Return one request for a block's alarms; the first of them is its cause."""
    cause = alarms[0]["signal_id"]
    return control(
        "RetrainRequested",
        request_id=derived_id("retrain", cause),
        pipeline=tick.pipeline,
        tick=tick.n,
        time=tick.time,
        trigger="drift",
        reason="; ".join(alarm["detail"] for alarm in alarms),
        cause_id=cause,
        requested_by="drift",
    )
