"""What the console shows, as plain values: pure functions of an overview, of health and of records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace.telemetry.decisions import Decision

Fields = Mapping[str, Any]
FLOW = (
    "clock", "ingestion", "rekey", "features", "serving", "monitoring", "drift", "training", "registry", "deployment",
    "audit", "console",
)  # fmt: skip


def status(reports: Iterable[Fields], healthy: Mapping[str, bool]) -> dict[str, Any]:
    """Return all pipelines with their services in the order of flow.

    ``healthy`` says of a service whether it calls itself healthy; one that is missing there is not known (None).
    """
    return {"pipelines": [{**report, "services": _services(report, healthy)} for report in reports]}


def _services(report: Fields, healthy: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Return the stages of a pipeline, and whoever else is known to run; only a stage has an open tick."""
    stages = {s["name"]: s for s in report["services"]}
    names = sorted({*stages, *healthy}, key=_place)
    return [
        {"name": name, "healthy": healthy.get(name), **_lane(stages.get(name), report["tick"])}
        for name in names
    ]


def _lane(stage: Fields | None, newest: int) -> dict[str, Any]:
    if stage is None:
        return {"stage": False}
    return {
        "stage": True,
        "open_tick": newest - stage["lag"]["ticks"] + 1,
        "ticks_behind": stage["lag"]["ticks"],
        "seconds_behind": stage["lag"]["seconds"],
        "records_in": stage["records_in"],
        "records_out": stage["records_out"],
        "rejected": stage["rejected"],
    }


def _place(name: str) -> tuple[int, str]:
    """Order services by flow; those the drawing does not know come last, by name."""
    return (FLOW.index(name) if name in FLOW else len(FLOW)), name


def told(decisions: Sequence[Decision], limit: int) -> list[dict[str, Any]]:
    """Return the last ``limit`` decisions, newest first; ``appended`` is in milliseconds UTC."""
    return [d._asdict() for d in reversed(decisions[-limit:])]


def event(record: str, fields: Fields, appended: int) -> dict[str, Any]:
    """Return one answer to an event (Prediction, Outcome or Receipt) as a line of the list of events."""
    return {
        "appended": appended,
        "record": record,
        "event_id": fields["event_id"],
        "entity_key": fields["entity_key"],
        "event_time": fields.get("event_time"),  # a receipt has none
        "tick": fields["tick"],
        "text": _SENTENCES[record](fields),
    }


def _predicted(f: Fields) -> str:
    scores = ", ".join(f"{name} {score:.3f}" for name, score in sorted(f["scores"].items()))
    model = "the prior" if f["status"] == "fallback" else f"{f['model_name']} v{f['model_version']}"
    return f"{scores} by {model} ({f['status']})"


def _ended(f: Fields) -> str:
    label = f["label"] if f["label"] is not None else f["label_value"]
    loss = "" if f["loss"] is None else f", loss {f['loss']:.3f}"
    return f"{f['status']}{'' if label is None else f': {label}'}{loss}"


def _receipt(f: Fields) -> str:
    return f"{f['rule']} at {f['path']}: expected {f['expected']}, is {f['actual']}"


_SENTENCES = {"Prediction": _predicted, "Outcome": _ended, "Receipt": _receipt}
