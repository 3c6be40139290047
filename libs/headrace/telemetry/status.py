"""What every pipeline has done, from its own records: ticks, ledger and deployments; consumer lag is never asked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.bus.engine import decode_plain
from headrace.bus.reading import KafkaLog, Log, records, whole
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import Registry
from headrace.contracts.topics import DEPLOYMENTS, LEDGER, OUTCOMES, PIPELINES, PREDICTIONS, REJECTED, TICKS
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition

Fields = Mapping[str, Any]


def pipelines(settings: Settings) -> list[dict[str, Any]]:
    """Return one row a pipeline: name, events, rejected, predictions, outcomes, champion, lag, tick and its time.

    ``lag`` is how many ticks the slowest stage is behind the clock, and how many seconds of the pipeline's time.

    Raises:
        UnreachableError: when the broker does not answer.
    """
    registry = ConfluentRegistry(settings.registry_url)
    with KafkaLog(settings.bootstrap) as log:
        return told(log, registry)


def told(log: Log, registry: Registry) -> list[dict[str, Any]]:
    """Return the rows of all pipelines a log knows, by name."""
    if PIPELINES.name() not in log.topics():
        return []
    found = decode_plain((r for held in whole(log, PIPELINES.name()).values() for r in held), registry)
    latest = {fields["pipeline"]: fields for _, _, fields in found}
    return [_pipeline(log, registry, latest[name]) for name in sorted(latest)]


def _pipeline(log: Log, registry: Registry, registered: Fields) -> dict[str, Any]:
    name = registered["pipeline"]
    definition = Definition.model_validate_json(registered["definition"])
    entries = [f for _, _, f in records(log, registry, LEDGER.name(name), name)]
    ticks = {f["n"]: f["time"] for _, _, f in records(log, registry, TICKS.name(name), name)}
    out = Counter[str]()
    for entry in entries:
        out.update(entry["records_out"])
    refused = decode_plain((r for held in whole(log, REJECTED.name(name)).values() for r in held), registry)
    rejected = sum(1 for _, _, f in refused if f["record"] in (definition.event, None))
    predictions = out[PREDICTIONS.name(name)]
    newest = max(ticks, default=0)
    behind = newest - _closed(entries, registered["stages"])
    return {
        "name": name,
        "events": predictions + rejected,
        "rejected": len(refused),
        "predictions": predictions,
        "outcomes": out[OUTCOMES.name(name)],
        "champion": _champion(log, registry, name),
        "lag": {"ticks": behind, "seconds": _seconds(ticks, newest, behind)},
        "tick": newest,
        "time": ticks.get(newest),
    }


def _closed(entries: Sequence[Fields], stages: Sequence[str]) -> int:
    """Return the last tick that every stage has closed."""
    last = dict.fromkeys(stages, 0)
    for entry in entries:
        stage = f"{entry['service']}/{entry['partition']}"
        last[stage] = max(last.get(stage, 0), entry["tick"])
    return min((last[stage] for stage in stages), default=0)


def _seconds(ticks: Mapping[int, int], newest: int, behind: int) -> float:
    closed = ticks.get(newest - behind)
    return 0.0 if closed is None or not behind else (ticks[newest] - closed) / 1e6


def _champion(log: Log, registry: Registry, name: str) -> str | None:
    moved = [
        f
        for _, record, f in records(log, registry, DEPLOYMENTS.name(), name)
        if record in ("Promoted", "RolledBack")
    ]
    return f"{moved[-1]['model_name']} v{moved[-1]['version']}" if moved else None
