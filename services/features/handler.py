"""Validated records in, feature vectors out; windows advance in log order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.bus import hashes
from headrace.bus.service import Batch, Context, Emit, Row, Rows, Selection, Step
from headrace.contracts.arrow import arrow_schema, as_type, same
from headrace.contracts.codec import Codec
from headrace.contracts.topics import FEATURES
from headrace.features.rows import compile_rows
from headrace.features.windows import (
    Operations,
    Window,
    additions,
    advance,
    compile_windows,
    in_log_order,
    questions,
)
from headrace.pipeline.definition import Definition
from headrace.pipeline.expressions import Compiled
from headrace.pipeline.schemas import MARK, feature_schema, marked


@dataclass(frozen=True)
class View:
    """A feature view, compiled."""

    definition: Definition
    row_features: Compiled
    windows: list[Window]
    values: Codec
    values_type: pa.StructType


def feature_view(context: Context) -> View:
    """Return the feature view of the definition at a cut."""
    definition = context.definition
    schema = feature_schema(definition)
    values = next(f["type"] for f in schema["fields"] if f["name"] == "values")
    return View(
        definition,
        compile_rows(definition),
        compile_windows(definition),
        Codec(values),
        arrow_schema(schema).field("values").type,
    )


def handle(batch: Batch, rows: Rows, view: View) -> Step:
    """Turn events into feature vectors; records of other types advance the windows and are absorbed."""
    events = batch.of(view.definition.event)
    answers = [_ask(batch, rows, view, window) for window in view.windows]
    absorbed = np.ones(len(batch), bool)
    if events is None:
        return Step(absorbed=np.flatnonzero(absorbed))
    absorbed[events.rows] = False
    columns = pa.RecordBatch.from_struct_array(events.columns["data"])
    found = [*view.row_features(columns).columns, *answers]
    values = pa.StructArray.from_arrays(
        [as_type(column, f.type) for column, f in zip(found, view.values_type, strict=True)],
        fields=list(view.values_type),
    )
    vectors = _vectors(values, view)
    if view.definition.quarantines:
        vectors = vectors.append_column(MARK, events.columns[MARK])
    emit = Emit("FeatureVector", vectors, cause=events.rows)
    return Step(emitted={FEATURES: [emit]}, absorbed=np.flatnonzero(absorbed))


def _ask(batch: Batch, rows: Rows, view: View, window: Window) -> pa.Array:
    """Advance one window over the batch and return its answers to the batch's events."""
    operations = _operations(batch, view.definition.event, window)
    if operations is None:
        return pa.array([], pa.float64())
    tiles = rows["tiles"]

    def keys(groups: Iterable[str]) -> list[str]:
        return list(map(f"{window.feature.name}|".__add__, groups))

    def held(groups: Sequence[str]) -> list[Row | None]:
        return tiles.get(keys(groups))

    answers, changed = advance(window, operations, held)
    tiles.put(keys(changed), list(changed.values()))
    return answers


def _operations(batch: Batch, event: str, window: Window) -> Operations | None:
    """Return what the batch does to a window: every event asks; what a rule has quarantined adds nothing."""
    times = as_type(batch.lineage["event_time"], pa.int64()).to_numpy()
    parts = []
    for record, operation in ((event, questions), (window.feature.record, additions)):
        found = batch.of(record)
        if found is not None and operation is additions:
            found = _sound(found)
        if found is not None:
            columns = pa.RecordBatch.from_struct_array(found.columns["data"])
            parts.append(operation(window, found.rows, columns, times[found.rows]))
    parts = [part for part in parts if len(part.rows)]
    return in_log_order(parts) if parts else None


def _sound(found: Selection) -> Selection:
    bad = marked(found.columns)
    return found if bad is None else Selection(found.rows[~bad], found.columns.filter(pa.array(~bad)))


def _vectors(values: pa.StructArray, view: View) -> pa.RecordBatch:
    bodies = view.values.packed(pa.RecordBatch.from_struct_array(values))
    count = len(values)
    return pa.RecordBatch.from_pydict(
        {
            "pipeline_digest": same(view.definition.digest, count),
            "feature_view_version": same(view.definition.features.version, count, pa.int32()),
            "features_hash": hashes.texts(hashes.hexed(hashes.sha256(bodies))),
            "values": values,
        }
    )
