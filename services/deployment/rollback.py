"""An operator's way back: the previous champion at the next close, with who asked and why."""

from headrace.bus.controls import control
from headrace.bus.refusals import derived_id
from headrace.bus.service import Emit, Tick
from headrace.pipeline.definition import Definition
from services.deployment.rollout import Answer, about, evidence, refused
from services.deployment.state import Model, Rollback, State

REMEMBERED = 1_000  # command ids kept to know a repeated one


def note(state: State, command: Rollback) -> State:
    """Return the state with a command to answer; a repeated id is the same command and is answered once."""
    if command.command_id in (*state.answered, *(c.command_id for c in state.commands)):
        return state
    return state.model_copy(update={"commands": (*state.commands, command)})


def answer(state: State, tick: Tick, view: Definition) -> Answer:
    """Carry out the commands of a tick in the order they came; each is answered by an event."""
    emits: list[Emit] = []
    for command in state.commands:
        state, told = _carry_out(state, command, tick, view)
        emits += told
    answered = (*state.answered, *(c.command_id for c in state.commands))[-REMEMBERED:]
    return state.model_copy(update={"commands": (), "answered": answered}), emits


def _carry_out(state: State, command: Rollback, tick: Tick, view: Definition) -> Answer:
    target = _target(state, command)
    if isinstance(target, str):
        return state, [_refusal(command, target, tick)]
    state, ended = _without_rollout(state, command, tick, view)
    champion = state.champion or target
    told = about(tick, target, derived_id("rollback", tick.pipeline, command.command_id))
    emit = control("RolledBack", **told, from_version=champion.version, by=command.by, why=command.why)
    line = tuple(m for m in (*state.former, champion) if m.version < target.version)
    return state.model_copy(update={"champion": target, "former": line}), [*ended, emit]


def _refusal(command: Rollback, reason: str, tick: Tick) -> Emit:
    told = {"command_id": command.command_id, "by": command.by, "why": command.why, "reason": reason}
    return control("RollbackRefused", **told, pipeline=tick.pipeline, tick=tick.n, time=tick.time)


def _without_rollout(state: State, command: Rollback, tick: Tick, view: Definition) -> Answer:
    """End the open rollout: what it was held against is going."""
    if state.rollout is None:
        return state, []
    reason = f"its champion, version {state.rollout.champion.version}, was rolled back by {command.by}"
    return refused(state, state.rollout, tick, reason, evidence(view, state.rollout))


def _target(state: State, command: Rollback) -> Model | str:
    """Return the version to go back to, or why there is none.

    Only a version that was champion once qualifies: no other has been shown to serve.
    """
    wanted = command.to_version
    if wanted is None:
        return state.former[-1] if state.former else "there is no earlier champion"
    if state.champion and state.champion.version == wanted:
        return f"version {wanted} is the champion"
    found = [m for m in state.champions if m.version == wanted]
    return found[0] if found else f"version {wanted} was never champion"
