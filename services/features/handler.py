"""Validated records in, feature vectors out; windows advance in log order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.bus import hashes
from headrace.bus.service import Batch, Context, Due, Emit, Row, Rows, Selection, Step, TableRows, Tick
from headrace.contracts.arrow import arrow_schema, as_type, filtered, same
from headrace.contracts.codec import Codec
from headrace.contracts.topics import FEATURES
from headrace.features.rows import compile_rows
from headrace.features.tiles import kept
from headrace.features.windows import (
    Grouping,
    Operations,
    additions,
    advance,
    compile_windows,
    nothing,
    number,
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
    groupings: list[Grouping]
    sizes: Mapping[int, tuple[int, int]]  # of tile and window, by window number
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
        {number(w): (w.tile, w.window) for w in definition.features.windows},
        Codec(values),
        arrow_schema(schema).field("values").type,
    )


def handle(batch: Batch, rows: Rows, view: View) -> Step:
    """Turn events into feature vectors; records of other types advance the windows and are absorbed."""
    events = batch.of(view.definition.event)
    answers: dict[str, pa.Array] = {}
    for grouping in view.groupings:
        answers |= _ask(batch, rows["groups"], view.definition.event, grouping)
    absorbed = np.ones(len(batch), bool)
    if events is None:
        return Step(absorbed=np.flatnonzero(absorbed))
    absorbed[events.rows] = False
    columns = pa.RecordBatch.from_struct_array(events.columns["data"])
    found = [
        *view.row_features(columns).columns,
        *(answers[w.name] for w in view.definition.features.windows),
    ]
    values = pa.StructArray.from_arrays(
        [as_type(column, f.type) for column, f in zip(found, view.values_type, strict=True)],
        fields=list(view.values_type),
    )
    vectors = _vectors(values, view)
    if view.definition.quarantines:
        vectors = vectors.append_column(MARK, events.columns[MARK])
    emit = Emit("FeatureVector", vectors, cause=events.rows)
    return Step(emitted={FEATURES: [emit]}, absorbed=np.flatnonzero(absorbed))


def forget(due: Due, rows: Rows, tick: Tick, view: View) -> Step:
    """Keep of the groups that are due the windows that are not."""
    left = {key: kept(cells, view.sizes, tick.time) for key, (cells, _) in due["groups"]}
    again = {key: row for key, row in left.items() if row}
    rows["groups"].put(list(again), list(again.values()))
    return Step()


def _ask(batch: Batch, groups: TableRows, event: str, grouping: Grouping) -> dict[str, pa.Array]:
    """Advance windows over the batch and return their answers to the batch's events, by name."""
    times = as_type(batch.lineage["event_time"], pa.int64()).to_numpy()

    def of(found: Selection | None, operations: Callable[..., Operations]) -> Operations:
        if found is None or not len(found.rows):
            return nothing(grouping)
        columns = pa.RecordBatch.from_struct_array(found.columns["data"])
        return operations(grouping, found.rows, columns, times[found.rows])

    def held(names: Sequence[str]) -> list[Row | None]:
        return groups.get(grouping.keys(names))

    asked, added = of(batch.of(event), questions), of(_sound(batch.of(grouping.record)), additions)
    found = advance(grouping, asked, added, held)
    groups.put(grouping.keys(found.groups), found.rows)
    return {w.name: column for w, column in zip(grouping.windows, found.answers, strict=True)}


def _sound(found: Selection | None) -> Selection | None:
    """Return what no rule has quarantined: the rest adds nothing."""
    bad = marked(found.columns) if found else None
    if found is None or bad is None:
        return found
    return Selection(found.rows[~bad], filtered(found.columns, ~bad))


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
