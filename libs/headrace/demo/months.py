"""Each month's figures of the loop and of simple policies, printed as JSON: ``python -m headrace.demo.months NAME FEATURE``."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.arrivals import arrivals
from headrace.bus.chunks import derived
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import read_all
from headrace.bus.records import Incoming
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import Registry, reading_schema
from headrace.contracts.topics import DEPLOYMENTS, FEATURES, OUTCOMES, Topic
from headrace.demo.report import Policies
from headrace.local.settings import Settings
from headrace.models import baselines
from headrace.models.dataset import target
from headrace.models.metrics import summary
from headrace.pipeline.definition import Definition
from headrace.sources.pipelines import find

METRICS = ("auc", "log_loss", "brier")
Figures = Mapping[str, Mapping[str, float]]


def main(pipeline: str, one_feature: str) -> list[dict[str, Any]]:
    """Return the months of a pipeline's stream, each with its figures under every policy."""
    settings = Settings()
    definition = find(pipeline, settings.pipelines)
    registry = ConfluentRegistry(settings.registry_url)
    vectors = rows_of(settings, registry, FEATURES, definition)
    outcomes = rows_of(settings, registry, OUTCOMES, definition)
    features = features_of(vectors, definition)
    labelled = outcomes.filter(pc.equal(outcomes["status"], "labelled"))
    held = baselines.join(definition, features, labelled.select(["event_id", "label", "labelled_at"]))
    simple = baselines.baselines(definition, held, one_feature)
    ours = _ours(definition, labelled)
    champions = _champions(settings, registry, definition)
    month_of = baselines.months(definition, vectors["event_time"].cast(pa.int64()).to_numpy())
    return [
        {
            "month": month,
            "predictions": int((month_of == np.datetime64(month)).sum()),
            "label_rate": ours[month]["rate"],
            "champion": _at_end(champions, definition, month),
            **{
                metric: _policies(simple.get(month, {}).get(metric, {}), ours[month].get(metric))
                for metric in METRICS
            },
        }
        for month in sorted(ours)
    ]


def features_of(vectors: pa.Table, definition: Definition) -> pa.Table:
    """Return feature vectors as a table of event_id, event_time and the view's columns."""
    features = pa.table({"event_id": vectors["event_id"], "event_time": vectors["event_time"]})
    values = pa.RecordBatch.from_struct_array(vectors["values"].combine_chunks())
    for name in definition.features.names:
        features = features.append_column(name, values[name])
    return features


def rows_of(
    settings: Settings, registry: ConfluentRegistry, topic: Topic, definition: Definition
) -> pa.Table:
    """Return every record of a topic as one table."""
    name = topic.name(definition.name)
    read = [read_all(settings.bootstrap, name, partition) for partition in range(definition.partitions)]
    return as_table(read, registry, topic, definition)


def as_table(
    partitions: Sequence[Sequence[Incoming]], registry: Registry, topic: Topic, definition: Definition
) -> pa.Table:
    """Return the messages of a topic's partitions as one table."""
    parts = []
    for messages in partitions:
        (chunk,) = derived(
            topic, [arrivals(messages)], registry, lambda name: reading_schema(topic, name, definition)
        )
        parts += [selection.columns for selection in chunk.rows.records.values()]
    return pa.Table.from_batches(parts)


def _ours(definition: Definition, labelled: pa.Table) -> dict[str, dict[str, float]]:
    """Return the figures of the scores that were served, by month, with the rate of the last class."""
    names = list(definition.label.classes or ())
    scores = matrix(labelled["scores"].combine_chunks(), names)
    truth = target(definition, labelled["label"].combine_chunks())
    months = baselines.months(definition, labelled["event_time"].cast(pa.int64()).to_numpy())
    found = {}
    for month in np.unique(months):
        rows = months == month
        if rows.sum() >= baselines.FEWEST:
            rate = round(float((truth[rows] == len(names) - 1).mean()), 6)
            found[str(month)] = {**summary(definition.task, scores[rows], truth[rows]), "rate": rate}
    return found


def matrix(scores: pa.MapArray, names: list[str]) -> npt.NDArray[np.float64]:
    """Return maps that all have the same keys in the same order as a matrix with the columns ``names``."""
    values = scores.items.to_numpy().reshape(len(scores), -1)
    held = scores.keys[: values.shape[1]].to_pylist()
    matrix: npt.NDArray[np.float64] = values[:, [held.index(name) for name in names]]
    return matrix


def _champions(
    settings: Settings, registry: ConfluentRegistry, definition: Definition
) -> list[tuple[int, str]]:
    found = decode_plain(read_all(settings.bootstrap, DEPLOYMENTS.name(), 0), registry)
    moved = [
        f for _, name, f in found if name in ("Promoted", "RolledBack") and f["pipeline"] == definition.name
    ]
    return [(f["time"], f"v{f['version']}") for f in moved]


def _at_end(champions: list[tuple[int, str]], definition: Definition, month: str) -> str:
    end = int((np.datetime64(month) + 1).astype("datetime64[us]").astype(np.int64)) + definition.clock.offset
    return next((name for at, name in reversed(champions) if at < end), "prior")


def _policies(simple: Mapping[str, float], ours: float | None) -> dict[str, float | None]:
    told = {**dict.fromkeys(Policies.model_fields), **simple, "headrace": ours}
    return {name: None if value is None else round(value, 6) for name, value in told.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2])))
