"""When a training is due by itself: the first one, the schedule, and enough labels for an online model."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headrace.bus.controls import control
from headrace.bus.refusals import derived_id
from headrace.bus.service import Context, Emit, Tick
from headrace.contracts.topics import DEPLOYMENTS, RETRAIN, Topic
from headrace.pipeline.definition import Definition, Training
from headrace.pipeline.durations import show
from services.training.state import State

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class View:
    """The definition, and the digest of the champion (None: the prior answers)."""

    definition: Definition
    champion: str | None

    @property
    def online(self) -> bool:
        """Tell whether the model learns on from its last snapshot."""
        return self.definition.estimator.kind == "online"


def training_view(context: Context) -> View:
    """Return what training goes by at a cut."""
    deployed = context.controls.get(DEPLOYMENTS)
    champion = deployed.champion if deployed else None
    return View(context.definition, champion.digest if champion else None)


def wanted(training: Training) -> int:
    """Return how many matured labels a first training needs; with a date for it, one."""
    return training.train_after if training.first_at is None else 1


def learn_due(state: State, training: Training) -> bool:
    """Tell whether an online model has enough new labels for its next snapshot."""
    fresh = state.labels - state.learnt_labels
    return fresh >= (training.learn_every if state.learnt else wanted(training))


def ask(state: State, tick: Tick, view: View) -> tuple[State, dict[Topic, list[Emit]]]:
    """Ask for a training that is due: the first, or the next of the schedule."""
    found = _due(state, tick.time, view)
    if found is None:
        return state, {}
    trigger, reason = found
    identity = derived_id("retrain", tick.pipeline, trigger, tick.n)
    request = control(
        "RetrainRequested",
        request_id=identity,
        pipeline=tick.pipeline,
        tick=tick.n,
        time=tick.time,
        trigger=trigger,
        reason=reason,
        requested_by="training",
    )
    return state.but(awaited=identity, asked_at=tick.time), {RETRAIN: [request]}


def _due(state: State, now: int, view: View) -> tuple[str, str] | None:
    """Return trigger and reason of what is due.

    Whatever came of the last attempt, the next waits: for the cooldown while there is no champion, else for the
    schedule's turn.
    """
    training = view.definition.training
    last = max(
        [*state.guard.starts[-1:], *([state.asked_at] if state.asked_at is not None else [])], default=None
    )
    if view.champion is None:
        waited = last is None or now >= last + max(training.cooldown, 1)
        due = waited and _first_due(state, now, training)
        how = "volume" if training.first_at is None else "schedule"
        return (how, f"no champion yet, {state.labels} matured labels") if due else None
    if training.every and (last is None or now >= last + training.every):
        return "schedule", f"{show(training.every)} after the last"
    return None


def _first_due(state: State, now: int, training: Training) -> bool:
    if training.first_at is not None and now < (training.first_at - EPOCH) // timedelta(microseconds=1):
        return False
    return state.labels >= wanted(training)
