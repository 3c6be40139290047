"""Registry's writes to the outside: MLflow for people who look at runs, SQL for those who query."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from headrace.bus.effects import Tools
from headrace.models import mlflow_adapter
from headrace.store.sql import ALIASES, DECISIONS, MODEL_VERSIONS, connect, upsert

Payload = Mapping[str, Any]
_tracker = cache(mlflow_adapter.connect)
_FROM_CANDIDATE = (
    "model_name", "model_digest", "candidate_id", "training_id", "dataset_digest", "rows", "loss",
)  # fmt: skip


def record_version(payload: Payload, tools: Tools) -> Payload:
    """Write a candidate and its answer; one that was refused (version null) is a decision and a run, no version.

    Raises ``UnreachableError`` when the database or MLflow does not answer.
    """
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
    _log(candidate, version, tools)
    return {"version": version}  # not MLflow's run id: it is chance, and results are on the log


def _log(candidate: Payload, version: int | None, tools: Tools) -> None:
    tracker = _tracker(tools.settings.mlflow_uri)
    run_id = tracker.log_run(candidate, tools.artifacts.get(candidate["model_digest"]))
    if version is not None:
        tracker.register(candidate, version, run_id)


def move_alias(payload: Payload, tools: Tools) -> Payload:
    """Point an alias at a version; raises ``UnreachableError`` when the database or MLflow does not answer."""
    names = ("pipeline", "alias", "version", "model_digest", "cause", "tick")
    decision = {
        "decision_id": f"{payload['alias']}/{payload['cause']}",
        "pipeline": payload["pipeline"],
        "tick": payload["tick"],
        "decision": payload["alias"],
        "version": payload["version"],
        "detail": {"from_version": payload["from_version"]},
    }
    rows = {ALIASES: {name: payload[name] for name in names}, DECISIONS: decision}
    upsert(connect(tools.settings.database_url), rows)
    tracker = _tracker(tools.settings.mlflow_uri)
    tracker.move_alias(payload["model_name"], payload["alias"], payload["version"])
    return {"alias": payload["alias"], "version": payload["version"]}


CARRY_OUT: Mapping[str, Callable[[Payload, Tools], Payload]] = {
    "record-version": record_version,
    "move-alias": move_alias,
}
