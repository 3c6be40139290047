"""Registered versions, commands and outcomes in; who serves, who is tried and who goes back out.

Records are collected as they come and decided on at the close of the tick: first what operators ask for, then what
the blocks that ended say, then who is tried next.
"""

from headrace.bus.service import Batch, Context, Due, Rows, Step, Tick
from headrace.contracts.topics import ALIASES, COMMANDS, DEPLOYMENTS, OUTCOMES, QUARANTINE
from headrace.pipeline.definition import Definition
from headrace.pipeline.quarantine import fold
from services.deployment import rollback, rollout
from services.deployment.blocks import collect, sums
from services.deployment.state import Model, Rollback, load, save


def policy(context: Context) -> Definition:
    """Return the definition: all that deployment goes by besides its own state."""
    return context.definition


def handle(batch: Batch, rows: Rows, view: Definition) -> Step:
    """Note versions and commands; add outcomes of the pair in shadow to their blocks."""
    if batch.topic is OUTCOMES:
        return collect(batch, rows, view)
    before = state = load(rows)
    for name, record in batch.controls:
        if batch.topic is ALIASES and name == "ModelVersionRegistered":
            version = Model(
                name=record["model_name"], version=record["version"], digest=record["model_digest"]
            )
            state = state.model_copy(update={"waiting": (*state.waiting, version)})
        if batch.topic is COMMANDS and name == "RollbackRequested":
            state = rollback.note(state, Rollback.model_validate(record, extra="ignore"))
        if batch.topic is QUARANTINE:
            state = state.model_copy(update={"kept_quarantine": fold(state.quarantine, name, record).state()})
    save(rows, before, state)
    return Step()


def decide(due: Due, rows: Rows, tick: Tick, view: Definition) -> Step:
    """Close the tick: answer commands, judge blocks, begin the next rollout."""
    del due
    before = load(rows)
    state, emits = rollback.answer(before, tick, view)
    state, judged = rollout.judge(state, sums(rows, state.quarantine, view), tick, view)
    state, begun = rollout.begin(state, tick, view)
    if state.rollout is None or state.rollout.rollout_id != (before.rollout and before.rollout.rollout_id):
        rows["blocks"].delete([key for key, _ in rows["blocks"].all()])
    state = state.model_copy(update={"closed": tick.time})
    save(rows, before, state)
    told = [*emits, *judged, *begun]
    return Step(emitted={DEPLOYMENTS: told} if told else {})
