"""The start of a training: its data are fixed here, as a range of ticks, before anything is read."""

import json

from headrace.bus.controls import control, effect
from headrace.bus.refusals import derived_id
from headrace.bus.service import Emit, Tick
from headrace.contracts.topics import MODELS, TRAINING_EFFECTS, Topic
from services.training.state import Asked, Running, State
from services.training.triggers import View

FIRST_TICK = 1
Emits = dict[Topic, list[Emit]]


def start(state: State, asked: Asked, tick: Tick, view: View) -> tuple[State, Emits]:
    """Begin a training on everything labelled up to this tick: a fit from the first tick on, or learning on.

    All records of the tick are on the topics when it closes here: monitoring, whose profiles are input, closed it.
    """
    from_tick = state.learnt_tick + 1 if view.online else FIRST_TICK
    training_id = derived_id("training", asked.request_id, from_tick, tick.n)
    training = view.definition.training
    data = {
        "from_tick": from_tick,
        "to_tick": tick.n,
        "holdout_from": tick.time - view.definition.label.maturity - training.holdout,
        "seed": training.seed,
    }
    left_out = state.quarantine.stretches()
    common = {"training_id": training_id, "request_id": asked.request_id}
    told = control(
        "TrainingStarted",
        **common,
        **data,
        pipeline=tick.pipeline,
        tick=tick.n,
        trigger=asked.trigger,
        quarantine=json.dumps(left_out),
    )
    running = Running(
        **common,
        effect_id=derived_id("effect", training_id),
        to_tick=tick.n,
        until=tick.time,
        quarantine=tuple(s[:2] for s in left_out),
    )
    payload = {**common, **data, "champion_digest": view.champion, "quarantine": left_out}
    if view.online:
        payload["continue_from"] = state.learnt
    kind = "learn" if view.online else "fit"
    request = effect(running.effect_id, tick.pipeline, tick.n, kind, payload)
    return state.but(running=running, learnt_labels=state.labels), {
        MODELS: [told],
        TRAINING_EFFECTS: [request],
    }


def merged(first: Emits, second: Emits) -> Emits:
    """Return the emits of both, topic by topic in this order."""
    return {topic: [*first.get(topic, []), *second.get(topic, [])] for topic in {**first, **second}}
