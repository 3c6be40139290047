"""Requests, results and counts of labels in; trainings and candidates out. One training runs at a time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from headrace.bus.controls import control
from headrace.bus.refusals import derived_id
from headrace.bus.service import Batch, Due, Emit, Rows, Step, Tick
from headrace.contracts.topics import MODELS, PROFILES, QUARANTINE, RETRAIN
from headrace.pipeline.quarantine import fold
from headrace.stats.guard import Request, decide
from services.training.start import Emits, merged, start
from services.training.state import Asked, Running, State, load, save
from services.training.triggers import View, ask, learn_due, wanted

Controls = Sequence[tuple[str, Mapping[str, Any]]]


def handle(batch: Batch, rows: Rows, view: View) -> Step:
    """Note requests, count matured labels, and turn a result into a candidate."""
    before = state = load(rows)
    emits: list[Emit] = []
    if batch.topic is PROFILES:
        state = state.but(labels=state.labels + _matured(batch))
    elif batch.topic is QUARANTINE:
        state = _quarantine(state, batch.controls)
    elif batch.topic is RETRAIN:
        state = _note(state, batch.controls)
    else:
        state, emits = _end(state, batch.controls, batch.tick, view)
    save(rows, before, state)
    counted = np.arange(len(batch) if batch.topic is PROFILES else 0)
    return Step(emitted={MODELS: emits} if emits else {}, absorbed=counted)


def close(due: Due, rows: Rows, tick: Tick, view: View) -> Step:
    """Answer the requests of the tick; then see whether training is due by itself."""
    del due
    before = state = load(rows)
    emitted: Emits = {}
    for request in state.requests:
        state, told = _answer(state, request, tick, view)
        emitted = merged(emitted, told)
    state, told = _by_itself(state.but(requests=()), tick, view)
    save(rows, before, state)
    return Step(emitted=merged(emitted, told))


def _matured(batch: Batch) -> int:
    """Return how many labelled outcomes the profiles of monitoring count; those of serving have no quality."""
    quality = batch.records["Profile"].columns["quality"]
    return int(pc.sum(pc.struct_field(quality, "count")).as_py() or 0)


def _quarantine(state: State, controls: Controls) -> State:
    """Take what is quarantined or released; an online model that may have learnt otherwise learns from the start."""
    held = state.quarantine
    for name, record in controls:
        held = fold(held, name, record)
        if name != "QuarantineEnded":
            state = state.but(learnt=None, learnt_tick=0)
    return state.but(kept_quarantine=held.state())


def _poisoned(state: State, running: Running) -> str | None:
    """Return why a training's data cannot be trusted any more: labels or inputs it learnt from were quarantined meanwhile."""
    stretches = state.quarantine.stretches()
    fresh = [s for s in stretches if s[:2] not in running.quarantine and s[1] < running.until]
    names = sorted({name for name, _, _ in fresh})
    return f"{', '.join(names)} were quarantined after it began" if names else None


def _note(state: State, controls: Controls) -> State:
    for name, record in controls:
        if name == "RetrainRequested":
            request = Asked(request_id=record["request_id"], trigger=record["trigger"])
            came = None if state.awaited == request.request_id else state.awaited
            state = state.but(requests=(*state.requests, request), awaited=came)
        elif name in ("RetrainPaused", "RetrainResumed"):
            state = state.but(guard=state.guard.pausing(paused=name == "RetrainPaused"))
    return state


def _end(state: State, controls: Controls, tick: int, view: View) -> tuple[State, list[Emit]]:
    """Turn the first result of the running training into its end; any other result was answered before."""
    emits = []
    for name, record in controls:
        running = state.running
        if running is None or record["effect_id"] != running.effect_id:
            continue
        common = {"training_id": running.training_id, "pipeline": view.definition.name, "tick": tick}
        state = state.but(running=None, guard=state.guard.finished(running.request_id))
        if name == "EffectFailed":
            emits.append(control("TrainingFailed", **common, error=record["error"]))
            continue
        if error := _poisoned(state, running):
            emits.append(control("TrainingFailed", **common, error=error))
            continue
        found = json.loads(record["result"])
        if view.online:
            state = state.but(learnt=found["model_digest"], learnt_tick=running.to_tick)
        identity = derived_id("candidate", running.training_id, found["model_digest"])
        about = {"candidate_id": identity, "request_id": running.request_id}
        emits.append(control("ModelCandidate", **common, **about, model_name=view.definition.name, **found))
    return state, emits


def _answer(state: State, asked: Asked, tick: Tick, view: View) -> tuple[State, Emits]:
    refusal = None
    if state.labels < wanted(view.definition.training):
        refusal = f"too-few-labels: {state.labels} of {wanted(view.definition.training)} have matured"
    else:
        request = Request(asked.request_id, asked.trigger)
        guard, decision = decide(state.guard, request, tick.time, view.definition.training)
        state = state.but(guard=guard)
        refusal = decision.reason if decision.action == "refuse" else None
    if refusal is None:
        return start(state, asked, tick, view)
    told = {"request_id": asked.request_id, "pipeline": tick.pipeline, "tick": tick.n}
    return state, {MODELS: [control("RetrainRefused", **told, reason=refusal)]}


def _by_itself(state: State, tick: Tick, view: View) -> tuple[State, Emits]:
    """Learn on, or ask for a training on the topic where everyone asks: it comes back at the next tick."""
    guard = state.guard
    if guard.paused or guard.running or state.awaited:
        return state, {}
    if not view.online:
        return ask(state, tick, view)
    if not learn_due(state, view.definition.training):
        return state, {}
    learning = Asked(request_id=derived_id("learn", tick.pipeline, tick.n), trigger="volume")
    return start(state.but(guard=replace(guard, running=learning.request_id)), learning, tick, view)
