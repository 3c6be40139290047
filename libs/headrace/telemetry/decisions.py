"""What the loop decided, as people read it: one sentence for each record that is a decision or leads to one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Fields = Mapping[str, Any]


class Decision(NamedTuple):
    """A decision: when it was appended (milliseconds UTC), at which tick, by which record, and what it says."""

    appended: int
    tick: int
    kind: str
    record: str
    text: str
    fields: Fields


def decision(record: str, fields: Fields, appended: int) -> Decision | None:
    """Return what a record decided, or None for a record that decides nothing."""
    if record not in _TOLD:
        return None
    kind, tell = _TOLD[record]
    return Decision(appended, fields["tick"], kind, record, tell(fields), fields)


def _drift(f: Fields) -> str:
    what = f"{f['detector']} of {f['feature']}" if f["feature"] else f["detector"]
    return f"drift {f['level']}: {what} (effect {f['effect']:.3f})"


def _refused(f: Fields) -> str:
    failed = ", ".join(
        f"{g['name']} {g['value']:.4g} against {g['bound']:.4g}" for g in f["gates"] if not g["passed"]
    )
    return f"candidate refused by the gates: {failed}"


# kind: drift, retrain, training, refusal, shadow, promotion, rollback or operator
_TOLD: dict[str, tuple[str, Callable[[Fields], str]]] = {
    "DriftDetected": ("drift", _drift),
    "RetrainRequested": ("retrain", lambda f: f"retraining asked for by {f['trigger']}: {f['reason']}"),
    "RetrainRefused": ("refusal", lambda f: f"retraining refused: {f['reason']}"),
    "RetrainPaused": ("operator", lambda f: f"trainings paused by {f['by']}: {f['why']}"),
    "RetrainResumed": ("operator", lambda f: f"trainings resumed by {f['by']}: {f['why']}"),
    "TrainingStarted": ("training", lambda f: f"training on ticks {f['from_tick']} to {f['to_tick']}"),
    "TrainingFailed": ("refusal", lambda f: f"training failed: {f['error']}"),
    "ModelCandidate": ("training", lambda f: f"candidate with loss {f['loss']:.4f} on {f['holdout_rows']} held-out rows"),
    "ModelVersionRegistered": ("training", lambda f: f"version {f['version']} registered"),
    "CandidateRefused": ("refusal", _refused),
    "ShadowStarted": ("shadow", lambda f: f"version {f['version']} in shadow of {f['champion_version']}"),
    "ShadowRefused": ("refusal", lambda f: f"version {f['version']} refused in shadow: {f['reason']}"),
    "Promoted": ("promotion", lambda f: f"version {f['version']} promoted: {f['reason']}"),
    "RollbackRequested": ("operator", lambda f: f"rollback asked for by {f['by']}: {f['why']}"),
    "LettersDiscarded": ("operator", lambda f: f"{len(f['rejection_ids'])} dead letters discarded by {f['by']}: {f['why']}"),
    "SkipRequested": ("operator", lambda f: f"{f['service']} to skip {f['topic']}/{f['partition']}@{f['offset']} by {f['by']}: {f['why']}"),
    "RollbackRefused": ("refusal", lambda f: f"rollback refused: {f['reason']}"),
    "RolledBack": ("rollback", lambda f: f"rolled back to version {f['version']} by {f['by']}: {f['why']}"),
}  # fmt: skip
