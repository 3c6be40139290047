"""What an incident did to the loop and to a retrain without gates, scored on the true labels.

True labels are those of the flights as they were, not as they were published. As a program:
``python -m headrace.demo.incident INCIDENT PIPELINE FEATURE``.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import read_all
from headrace.bus.records import Incoming
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import Registry
from headrace.contracts.topics import DEPLOYMENTS, FEATURES, OUTCOMES, PREDICTIONS, QUARANTINE, Topic
from headrace.demo.months import as_table, features_of, matrix
from headrace.local.settings import Settings
from headrace.models import baselines
from headrace.models.dataset import names, one_batch, target
from headrace.models.kinds import load
from headrace.models.metrics import mean_loss
from headrace.models.ports import Floats
from headrace.pipeline.definition import Definition
from headrace.pipeline.labels import compile_label
from headrace.sources import flights, incidents
from headrace.sources.pipelines import find
from headrace.store.artifacts import open_store

DAY = 86_400_000_000
MONTH = 30 * DAY
NEVER = 2**62


@dataclass(frozen=True)
class Held:
    """A log and what belongs to it: ``read`` gives a partition of a topic by name, ``artifact`` the bytes of a digest."""

    definition: Definition
    registry: Registry
    read: Callable[[str, int], Sequence[Incoming]]
    artifact: Callable[[str], bytes]

    def rows(self, topic: Topic) -> pa.Table:
        """Return every record of a pipeline's topic as one table."""
        name = topic.name(self.definition.name)
        read = [self.read(name, partition) for partition in range(self.definition.partitions)]
        return as_table(read, self.registry, topic, self.definition)

    def events(self, topic: Topic) -> list[tuple[str, Mapping[str, Any]]]:
        """Return record type and fields of the pipeline's records on a control topic."""
        found = decode_plain(self.read(topic.name(), 0), self.registry)
        return [(name, fields) for _, name, fields in found if fields["pipeline"] == self.definition.name]


def main(incident: incidents.Name, pipeline: str, one_feature: str) -> dict[str, Any]:
    """Return the fields of :class:`headrace.demo.report.Incident` for what is on the broker."""
    settings = Settings()
    definition = find(pipeline, settings.pipelines)
    registry = ConfluentRegistry(settings.registry_url)

    def read(topic: str, partition: int) -> Sequence[Incoming]:
        return read_all(settings.bootstrap, topic, partition)

    return figures(Held(definition, registry, read, open_store(settings.home).get), incident, one_feature)


def figures(held: Held, incident: incidents.Name, one_feature: str) -> dict[str, Any]:
    """Return the fields of :class:`headrace.demo.report.Incident`; without an incident, of the same stretches."""
    definition = held.definition
    vectors = features_of(held.rows(FEATURES), definition)
    outcomes = held.rows(OUTCOMES)
    told = outcomes.filter(pc.equal(outcomes["status"], "labelled"))
    predictions = held.rows(PREDICTIONS)
    frame, true, published = _joined(definition, vectors, told)
    served = frame.select("event_id").join(
        pl.DataFrame(predictions.select(["event_id"])).with_row_index("at"),
        on="event_id", how="left", maintain_order="left",
    )["at"].to_numpy()  # fmt: skip
    ours = matrix(predictions["scores"].combine_chunks(), list(names(definition)))[served]
    scores = {**baselines.policies(definition, published, one_feature), "headrace": ours}
    quarantine = held.events(QUARANTINE)
    promotions = _promotions(held, true)
    since, until = incidents.SINCE, incidents.until(incident)
    stretches = {
        "during": (since, until),
        "month_after": (until, until + MONTH),
        "august": (since + 31 * DAY, since + 62 * DAY),
    }
    return {
        "name": incident,
        "quarantine": [_told(name, fields) for name, fields in quarantine],
        "promotions": promotions,
        "harmful": sum(p["harmful"] for p in promotions),
        "log_loss": {name: _losses(definition, true, scores, *ends) for name, ends in stretches.items()},
        "fallback": int(pc.sum(_suspect(predictions)).as_py() or 0),
    }


def _joined(
    definition: Definition, vectors: pa.Table, told: pa.Table
) -> tuple[pl.DataFrame, baselines.Labelled, baselines.Labelled]:
    """Return the events that landed in event-time order, with their true labels and with the published ones.

    An event whose published label was refused has an answer that never came.
    """
    arrivals = flights.tables()["Arrival"]
    (batch,) = arrivals.combine_chunks().to_batches()
    true = pl.DataFrame({"event_id": batch["departure_id"], "true": compile_label(definition)(batch)})
    published = pl.DataFrame(told.select(["event_id", "label", "labelled_at"]))
    frame = pl.DataFrame(vectors).join(true, on="event_id").join(published, on="event_id", how="left")
    frame = frame.sort("event_time", "event_id")
    features = one_batch(_plain(frame.select(definition.features.names)))
    times = frame["event_time"].dt.epoch("us").to_numpy()
    at = frame["labelled_at"].dt.epoch("us").fill_null(NEVER).to_numpy()
    held = baselines.Labelled(features, _target(definition, frame["true"]), times, at)
    labels = frame.select(pl.coalesce("label", "true"))["label"]
    return frame, held, replace(held, target=_target(definition, labels))


def _suspect(predictions: pa.Table) -> pa.ChunkedArray:
    """Tell which answers a model gave without the inputs that were suspect; the prior's are fallbacks too."""
    return pc.and_(
        pc.equal(predictions["status"], "fallback"), pc.not_equal(predictions["route"], "fallback")
    )


def _plain(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    fields = [
        pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def _target(definition: Definition, labels: pl.Series) -> Floats:
    return target(definition, labels.to_arrow().cast(pa.string()))


def _losses(
    definition: Definition, true: baselines.Labelled, scores: Mapping[str, Floats], since: int, until: int
) -> dict[str, float | None]:
    rows = (true.event_time >= since) & (true.event_time < until)
    return {
        name: round(mean_loss(definition.task, held[rows], true.target[rows]), 6) if rows.any() else None
        for name, held in scores.items()
    }


def _promotions(held: Held, true: baselines.Labelled) -> list[dict[str, Any]]:
    """Return the promotions since the incident began, each beside the champion it replaced over the month after it."""
    definition = held.definition
    before, found = None, []
    for name, fields in held.events(DEPLOYMENTS):
        if name not in ("Promoted", "RolledBack"):
            continue
        if name == "Promoted" and before and fields["time"] >= incidents.SINCE:
            rows = (true.event_time >= fields["time"]) & (true.event_time < fields["time"] + MONTH)
            both = [_loss(definition, true, rows, held.artifact(d)) for d in (fields["model_digest"], before)]
            found.append({
                "version": f"v{fields['version']}", "time": fields["time"], "loss": both[0], "replaced_loss": both[1],
                "harmful": None not in both and both[0] - both[1] > definition.rollout.bound,
            })  # fmt: skip
        before = fields["model_digest"]
    return found


def _loss(
    definition: Definition, true: baselines.Labelled, rows: npt.NDArray[np.bool_], artifact: bytes
) -> float:
    scores = load(artifact).scores(true.rows(rows))
    return round(mean_loss(definition.task, scores, true.target[rows]), 6)


def _told(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    at = {"LabelsQuarantined": "since", "InputsQuarantined": "since", "QuarantineEnded": "until"}.get(name)
    return {
        "event": name,
        "slice": fields.get("slice", ""),
        "rule": fields.get("rule"),
        "tick": fields["tick"],
        "time": fields[at] if at else None,
    }


if __name__ == "__main__":
    _, incident, pipeline, one_feature = sys.argv
    sys.stdout.write(json.dumps(main(incident, pipeline, one_feature)))  # type: ignore[arg-type]
