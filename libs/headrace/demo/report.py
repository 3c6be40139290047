"""What a demo reports; the JSON Schema in the docs is made from these classes."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field


class Part(BaseModel):
    """A closed piece of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(Part):
    """What the topics hold, counted by a consumer that shares no code with the services."""

    events: int
    accepted: int
    rejected: int
    receipts: int
    feature_vectors: int
    predictions: int
    labels: int
    refused_labels: int = 0
    outcomes: int
    unlabelled: int

    def faults(self) -> list[str]:
        """Return what does not add up."""
        sums = {
            "events + refused_labels = accepted + rejected": self.events + self.refused_labels
            == self.accepted + self.rejected,
            "rejected = receipts": self.rejected == self.receipts,
            "accepted = feature_vectors = predictions": self.accepted
            == self.feature_vectors
            == self.predictions,
            "labels = outcomes + refused_labels": self.labels == self.outcomes + self.refused_labels,
            "predictions = outcomes + unlabelled": self.predictions == self.outcomes + self.unlabelled,
        }
        return [text for text, holds in sums.items() if not holds]


class Replay(Part):
    """Verdicts on the predictions of the replayed stretch."""

    checked: int
    match: int
    mismatch: int


class Integrity(Part):
    """What must be zero, and the replay."""

    lost: int
    duplicated: int
    reordered: int
    replay: Replay


class Loop(Part):
    """What the loop decided, counted by distinct ids on its topics."""

    drift_signals: int
    retrain_requests: int
    trainings: int
    candidates: int
    refused_by_gates: int
    refused_by_shadow: int
    promotions: int
    rollbacks: int


class Policies(Part):
    """One metric under each policy; null where a policy has no model yet or the metric no value."""

    one_feature: float | None
    static: float | None
    always_retrain: float | None
    cron_all: float | None
    headrace: float | None


class Month(Part):
    """One month of predictions."""

    month: str
    predictions: int
    label_rate: float
    champion: str
    auc: Policies
    log_loss: Policies
    brier: Policies


class Quarantined(Part):
    """One event of control.quarantine; ``time`` is where the stretch begins or ends (us since 1970 UTC)."""

    event: str
    slice: str
    rule: str | None
    tick: int
    time: int | None


class Promotion(Part):
    """A promotion since the incident began: log loss on true labels over the month after it, and its predecessor's."""

    version: str
    time: int
    loss: float
    replaced_loss: float
    harmful: bool


class Incident(Part):
    """What an incident did; every log loss is on true labels."""

    name: str
    quarantine: list[Quarantined]
    promotions: list[Promotion]
    harmful: int
    log_loss: dict[str, Policies]
    fallback: int


class Seconds(Part):
    """Wall-clock seconds; ``first_prediction`` counts from the start of the demo."""

    platform_start: float
    first_prediction: float
    total: float


class Report(Part):
    """The result of one demo; ``digest`` covers everything but the times."""

    counts: Counts
    integrity: Integrity
    loop: Loop
    months: list[Month]
    seconds: Seconds
    events_per_second: float
    incident: Incident | None = None

    @computed_field(description="sha256 over counts, integrity, loop and months, in hex")  # type: ignore[prop-decorator]
    @property
    def digest(self) -> str:
        """Return the sha256 of what does not depend on the machine's speed."""
        told = self.model_dump(mode="json", include={"counts", "integrity", "loop", "months"})
        return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def faults(self) -> list[str]:
        """Return why the demo failed; empty when it did not."""
        found = [f"the counts do not add up: {text}" for text in self.counts.faults()]
        bad = {name: getattr(self.integrity, name) for name in ("lost", "duplicated", "reordered")}
        found += [f"{number} records {name}" for name, number in bad.items() if number]
        if self.integrity.replay.mismatch or not self.integrity.replay.checked:
            found.append(
                f"the replay of {self.integrity.replay.checked} predictions has mismatches or checked none"
            )
        if self.incident and self.incident.harmful:
            found.append(f"{self.incident.harmful} harmful promotions since the incident")
        if self.incident and not self.incident.quarantine:
            found.append("the incident was not quarantined")
        return found


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a report."""
    return Report.model_json_schema(mode="serialization")
