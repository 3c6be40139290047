"""A challenger's way: tried in shadow, then promoted or refused on evidence."""

from collections.abc import Mapping

from headrace.bus.controls import control
from headrace.bus.refusals import derived_id
from headrace.bus.service import Emit, Tick
from headrace.pipeline.definition import Definition
from headrace.stats.eprocess import RolloutTest
from services.deployment.blocks import block_start
from services.deployment.state import Model, Rollout, State

Answer = tuple[State, list[Emit]]


def evidence(view: Definition, rollout: Rollout | None) -> RolloutTest:
    """Return the e-processes of a rollout as they stand, or fresh ones."""
    policy = view.rollout
    test = RolloutTest(margin=policy.margin, alpha=policy.alpha, bound=policy.bound)
    return test.restore(rollout.evidence) if rollout else test


def rollout_id(pipeline: str, model: Model) -> str:
    """Return the id of the one rollout a version ever gets."""
    return derived_id("rollout", pipeline, model.version, model.digest)


def about(tick: Tick, model: Model, identity: str) -> dict[str, object]:
    """Return the fields that every decision about a version begins with."""
    return {
        "rollout_id": identity, "pipeline": tick.pipeline, "tick": tick.n, "time": tick.time,
        "model_name": model.name, "version": model.version, "model_digest": model.digest,
    }  # fmt: skip


def judge(
    state: State, blocks: Mapping[int, tuple[int, float, float]], tick: Tick, view: Definition
) -> Answer:
    """Bet once on each block that ended, in time order, until the evidence decides.

    A block waits one more tick, since what its labels are worth is told at the close that ends it. The bets are made
    anew each time, so that labels quarantined later leave no trace in the evidence.
    """
    rollout = state.rollout
    if rollout is None:
        return state, []
    test = evidence(view, None)
    for start, (count, champion_loss, challenger_loss) in blocks.items():
        end = start + view.rollout.block
        if end > state.closed:
            break
        test = test.update((champion_loss - challenger_loss) / count)
        verdict = test.verdict(view.rollout.min_blocks, view.rollout.max_blocks)
        if end <= rollout.judged:
            continue
        if verdict == "promote":
            return promoted(state, rollout.challenger, tick, _sentence(test, view, verdict), test)
        if verdict == "refuse":
            return refused(state, rollout, tick, _sentence(test, view, verdict), test)
    since = block_start(tick.time, view)
    changes = {"evidence": test.state(), "since": since, "judged": state.closed}
    return state.model_copy(update={"rollout": rollout.model_copy(update=changes)}), []


def begin(state: State, tick: Tick, view: Definition) -> Answer:
    """Promote where there is nothing to compare with; else try the newest version, when no other is being tried.

    A rollout that began is never cut short by a newer version: with a slow stream of evidence and a fast stream
    of candidates none would ever end. The newest waits its turn; the older ones that waited are refused untried.
    """
    emits: list[Emit] = []
    while state.waiting and (state.champion is None or view.rollout.mode == "direct"):
        first, *rest = state.waiting
        reason = "direct" if state.champion else "first model"
        state, told = promoted(state.model_copy(update={"waiting": tuple(rest)}), first, tick, reason)
        emits += told
    if state.champion is None or state.rollout or not state.waiting:
        return state, emits
    *stale, newest = state.waiting
    emits += [_untried(model, newest, tick) for model in stale]
    opened, started = _started(state.champion, newest, tick, view)
    return state.model_copy(update={"rollout": opened, "waiting": ()}), [*emits, started]


def promoted(state: State, model: Model, tick: Tick, reason: str, test: RolloutTest | None = None) -> Answer:
    """Make a version champion; the one before it steps into the line that a rollback goes back along."""
    before = state.champion
    emit = control(
        "Promoted",
        **about(tick, model, rollout_id(tick.pipeline, model)),
        from_version=before.version if before else None,
        **_figures(test, test.promote_e if test else 1.0),
        reason=reason,
    )
    changes = {
        "champion": model,
        "former": (*state.former, before) if before else (),
        "champions": (*state.champions, model),
        "rollout": None,
    }
    return state.model_copy(update=changes), [emit]


def refused(state: State, rollout: Rollout, tick: Tick, reason: str, test: RolloutTest) -> Answer:
    """End the open rollout without a promotion."""
    told = about(tick, rollout.challenger, rollout.rollout_id)
    emit = control("ShadowRefused", **told, **_figures(test, test.refuse_e), reason=reason)
    return state.model_copy(update={"rollout": None}), [emit]


def _started(champion: Model, model: Model, tick: Tick, view: Definition) -> tuple[Rollout, Emit]:
    identity = rollout_id(tick.pipeline, model)
    rollout = Rollout(
        rollout_id=identity,
        challenger=model,
        champion=champion,
        since=block_start(tick.time, view),
        evidence=evidence(view, None).state(),
    )
    told = about(tick, model, identity)
    emit = control(
        "ShadowStarted", **told, champion_version=champion.version, champion_digest=champion.digest
    )
    return rollout, emit


def _untried(model: Model, newer: Model, tick: Tick) -> Emit:
    reason = f"superseded by version {newer.version} before it was tried"
    return control(
        "ShadowRefused",
        **about(tick, model, rollout_id(tick.pipeline, model)),
        **_figures(None, 1.0),
        reason=reason,
    )


def _figures(test: RolloutTest | None, e_value: float) -> dict[str, object]:
    """Return the figures of a decision; the record counts a challenger's loss less the champion's."""
    return {
        "blocks": test.blocks if test else 0,
        "mean_difference": 0.0 - test.mean if test else 0.0,
        "e_value": e_value,
    }


def _sentence(test: RolloutTest, view: Definition, verdict: str) -> str:
    policy = view.rollout
    if verdict == "promote":
        return f"not worse by more than {policy.margin} over {test.blocks} blocks, at level {policy.alpha}"
    if test.refuse_e >= 1 / policy.alpha:
        return f"worse than the champion over {test.blocks} blocks, at level {policy.alpha}"
    return f"undecided after {test.blocks} blocks"
