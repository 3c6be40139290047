"""Registry's writes to the outside: MLflow for people who look at runs, SQL for those who query."""

from collections.abc import Callable, Mapping
from typing import Any

from headrace.bus.effects import Tools
from headrace.store.sql import ALIASES, DECISIONS, MODEL_VERSIONS, connect, upsert

Payload = Mapping[str, Any]
_FROM_CANDIDATE = (
    "model_name",
    "model_digest",
    "candidate_id",
    "training_id",
    "dataset_digest",
    "rows",
    "loss",
)


def record_version(payload: Payload, tools: Tools) -> Payload:
    """Write a candidate and its answer; one that was refused (version null) is a decision and a run, no version."""
    candidate, version = payload["candidate"], payload["version"]
    pipeline = candidate["pipeline"]
    decision = {
        "decision_id": candidate["candidate_id"],
        "pipeline": pipeline,
        "tick": payload["tick"],
        "decision": "refused" if version is None else "registered",
        "version": version,
        "detail": {"gates": payload["gates"], "metrics": candidate["metrics"]},
    }
    rows = {DECISIONS: decision}
    if version is not None:
        kept = {name: candidate[name] for name in _FROM_CANDIDATE}
        rows[MODEL_VERSIONS] = {"pipeline": pipeline, "version": version, "tick": payload["tick"], **kept}
    upsert(connect(tools.settings.database_url), rows)
    return {"version": version}


def move_alias(payload: Payload, tools: Tools) -> Payload:
    """Point an alias at a version."""
    names = ("pipeline", "alias", "version", "model_digest", "cause", "tick")
    decision = {
        "decision_id": f"{payload['alias']}/{payload['cause']}",
        "pipeline": payload["pipeline"],
        "tick": payload["tick"],
        "decision": payload["alias"],
        "version": payload["version"],
        "detail": {"from_version": payload["from_version"]},
    }
    upsert(
        connect(tools.settings.database_url), {ALIASES: {n: payload[n] for n in names}, DECISIONS: decision}
    )
    return {"alias": payload["alias"], "version": payload["version"]}


CARRY_OUT: Mapping[str, Callable[[Payload, Tools], Payload]] = {
    "record-version": record_version,
    "move-alias": move_alias,
}
