"""Candidates and deployments in; versions, aliases and writes to the outside registries out."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from headrace.bus.controls import control, effect
from headrace.bus.refusals import derived_id
from headrace.bus.service import Batch, Context, Emit, Rows, Step
from headrace.contracts.topics import ALIASES, REGISTRY_EFFECTS, Topic
from headrace.pipeline.definition import Definition
from headrace.stats.gates import Evidence, Gate, judge, passed

ATTEMPTS = 3
ALIAS = {"Promoted": "champion", "RolledBack": "champion", "ShadowStarted": "challenger"}
Record = Mapping[str, Any]
Emits = list[tuple[Topic, Emit]]


class Wish(NamedTuple):
    """A write to the outside, and the how-manieth time it is asked for."""

    effect_id: str
    kind: str
    payload: Record
    attempt: int = 1


def policy(context: Context) -> Definition:
    """Return the definition: its gates are what registry goes by."""
    return context.definition


def handle(batch: Batch, rows: Rows, view: Definition) -> Step:
    """Answer each record in the order of the log."""
    emits: Emits = []
    for name, record in batch.controls:
        if name == "ModelCandidate":
            emits += _candidate(record, rows, view, batch.tick)
        elif name in ALIAS:
            emits += _alias(ALIAS[name], record, rows, batch.tick)
        elif name in ("EffectCompleted", "EffectFailed"):
            emits += _written(name, record, rows, batch.tick)
    topics = dict.fromkeys(topic for topic, _ in emits)
    return Step(emitted={topic: [e for t, e in emits if t is topic] for topic in topics})


def evidence(candidate: Record) -> Evidence:
    """Return what a candidate shows at the gates."""
    return Evidence(
        loss=candidate["loss"],
        champion_loss=candidate["champion_loss"],
        holdout_rows=candidate["holdout_rows"],
        artifact_bytes=candidate["artifact_bytes"],
    )


def _candidate(candidate: Record, rows: Rows, view: Definition, tick: int) -> Emits:
    """Give a candidate that passes every gate the next version; both answers name every gate."""
    gates = judge(evidence(candidate), view.gates)
    told = {
        "pipeline": view.name, "tick": tick, "model_name": candidate["model_name"],
        "model_digest": candidate["model_digest"], "candidate_id": candidate["candidate_id"], "gates": _plain(gates),
    }  # fmt: skip
    version = None
    if passed(gates):
        version = len(rows["versions"].all()) + 1
        rows["versions"].put([f"{version:09d}"], [(version, told["model_digest"], told["candidate_id"])])
        answer = control("ModelVersionRegistered", **told, version=version)
    else:
        answer = control("CandidateRefused", **told)
    payload = {"candidate": dict(candidate), "version": version, "gates": told["gates"], "tick": tick}
    wish = Wish(derived_id("record", candidate["candidate_id"]), "record-version", payload)
    return [(ALIASES, answer), _asked(wish, rows, view.name, tick)]


def _alias(alias: str, record: Record, rows: Rows, tick: int) -> Emits:
    """Move an alias to the version a deployment names."""
    before = rows["aliases"].get([alias])[0]
    rows["aliases"].put([alias], [(record["version"], record["model_digest"])])
    told = {
        "pipeline": record["pipeline"], "tick": tick, "model_name": record["model_name"], "alias": alias,
        "version": record["version"], "from_version": before[0] if before else None,
        "model_digest": record["model_digest"], "cause": record["rollout_id"],
    }  # fmt: skip
    wish = Wish(derived_id("alias", record["pipeline"], alias, record["rollout_id"]), "move-alias", told)
    return [(ALIASES, control("AliasMoved", **told)), _asked(wish, rows, record["pipeline"], tick)]


def _written(name: str, record: Record, rows: Rows, tick: int) -> Emits:
    """Forget a write that was carried out; ask again for one that failed, a few times."""
    held = rows["pending"].get([record["effect_id"]])[0]
    if held is None:
        return []
    rows["pending"].delete([record["effect_id"]])
    kind, payload, attempt = held
    if name == "EffectCompleted" or attempt >= ATTEMPTS:
        return []
    again = Wish(derived_id("again", record["effect_id"]), kind, json.loads(payload), attempt + 1)
    return [_asked(again, rows, record["pipeline"], tick)]


def _asked(wish: Wish, rows: Rows, pipeline: str, tick: int) -> tuple[Topic, Emit]:
    rows["pending"].put(
        [wish.effect_id], [(wish.kind, json.dumps(wish.payload, sort_keys=True), wish.attempt)]
    )
    return REGISTRY_EFFECTS, effect(wish.effect_id, pipeline, tick, wish.kind, wish.payload)


def _plain(gates: list[Gate]) -> list[dict[str, Any]]:
    return [gate._asdict() for gate in gates]
