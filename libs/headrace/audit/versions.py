"""The model versions of a pipeline as its control topics tell them: where each came from and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.bus.reading import Log, Span
from headrace.bus.schemas import Registry
from headrace.bus.shown import shown
from headrace.contracts.topics import ALIASES, DEPLOYMENTS, MODELS, RETRAIN, Topic
from headrace.models.deployed import Deployed, fold

Told = tuple[int, str, Mapping[str, Any]]
_EVIDENCE = (
    "loss",
    "champion_loss",
    "rows",
    "holdout_rows",
    "metrics",
    "artifact_bytes",
    "seed",
    "fingerprint",
)


@dataclass(frozen=True)
class History:
    """The control records of one pipeline, as (offset, record type, fields) in the order of each topic."""

    retrain: Sequence[Told]
    models: Sequence[Told]
    aliases: Sequence[Told]
    deployments: Sequence[Told]

    @property
    def deployed(self) -> Deployed:
        """Return what serves and what is tried at the end of the log."""
        state = Deployed()
        for _, name, fields in self.deployments:
            state = fold(state, name, fields)
        return state


def history(log: Log, registry: Registry, pipeline: str) -> History:
    """Read a pipeline's control topics whole."""
    return History(
        *(_told(log, registry, topic, pipeline) for topic in (RETRAIN, MODELS, ALIASES, DEPLOYMENTS))
    )


def _told(log: Log, registry: Registry, topic: Topic, pipeline: str) -> list[Told]:
    found = (shown(stamped, registry) for stamped in log.read([Span(topic.name())]))
    return [(r["offset"], r["record"], r["value"]) for r in found if r["value"]["pipeline"] == pipeline]


def versions(found: History) -> list[dict[str, Any]]:
    """Return every registered version, oldest first: origin, gates, evidence, aliases, status and deployments."""
    registered = [fields for _, name, fields in found.aliases if name == "ModelVersionRegistered"]
    aliases = {f["alias"]: f["version"] for _, name, f in found.aliases if name == "AliasMoved"}
    return [_version(fields, aliases, found) for fields in registered]


def refusals(found: History) -> list[dict[str, Any]]:
    """Return the candidates that did not pass the gates, oldest first."""
    refused = [fields for _, name, fields in found.aliases if name == "CandidateRefused"]
    return [{**_named(f), "gates": f["gates"], **_origin(f["candidate_id"], found)} for f in refused]


def champion_at(found: History, cut: int) -> Mapping[str, Any] | None:
    """Return the deployment event that made the champion below an offset of control.deployments; None: the prior."""
    made = [
        {"event": name, **fields}
        for offset, name, fields in found.deployments
        if offset < cut and name in ("Promoted", "RolledBack")
    ]
    return made[-1] if made else None


def _version(fields: Mapping[str, Any], aliases: Mapping[str, int], found: History) -> dict[str, Any]:
    version = fields["version"]
    told = [
        {"event": name, **f}
        for _, name, f in found.deployments
        if version in (f.get("version"), f.get("from_version"))
    ]
    return {
        "version": version,
        **_named(fields),
        "status": _status(version, found.deployed, told),
        "aliases": sorted(alias for alias, pointed in aliases.items() if pointed == version),
        "gates": fields["gates"],
        **_origin(fields["candidate_id"], found),
        "deployments": told,
    }


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("model_name", "model_digest", "candidate_id", "tick")}


def _status(version: int, now: Deployed, told: Sequence[Mapping[str, Any]]) -> str:
    if now.champion and now.champion.version == version:
        return "champion"
    if now.challenger and now.challenger.version == version:
        return "challenger"
    if not told:
        return "waiting"
    return "refused" if told[-1]["event"] == "ShadowRefused" else "former"


def _origin(candidate_id: str, found: History) -> dict[str, Any]:
    """Return the evidence of a candidate, its data, its training and what asked for it."""
    candidate = _one(found.models, "ModelCandidate", candidate_id=candidate_id)
    training = _one(found.models, "TrainingStarted", training_id=candidate.get("training_id"))
    request = _one(found.retrain, "RetrainRequested", request_id=candidate.get("request_id"))
    return {
        "dataset_digest": candidate.get("dataset_digest"),
        **{name: candidate.get(name) for name in _EVIDENCE},
        "training": training,
        "request": request,
    }


def _one(told: Sequence[Told], record: str, **wanted: Any) -> Mapping[str, Any]:
    ((name, value),) = wanted.items()
    return next((f for _, kind, f in told if kind == record and f[name] == value), {})
