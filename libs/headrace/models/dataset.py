"""Labelled rows as a dataset: in log order, with a digest that depends on their values alone.

A table of rows has the view's features and ``label`` (text of the class, or the value), ``event_time``, ``tick`` and
``event_id``. Arrow buffers of equal tables differ (offsets, missing bitmaps, garbage under nulls), so values are hashed.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.models.artifact import canonical_json, digest_of
from headrace.models.ports import VALUE, Dataset, Floats, TrainingError
from headrace.pipeline.definition import Definition


def names(definition: Definition) -> tuple[str, ...]:
    """Return the names of a pipeline's scores, in the order of the columns of a score matrix."""
    return VALUE if definition.task == "regression" else tuple(definition.label.classes or ())


def target(definition: Definition, labels: pa.Array) -> Floats:
    """Return labels as positions of classes (or values); raise ``TrainingError`` for a null or an unknown class."""
    if definition.task != "regression":
        labels = pc.index_in(labels, value_set=pa.array(names(definition), pa.string()))
    if labels.null_count:
        raise TrainingError(
            f"{labels.null_count} rows have no label, or one that is not a class of the pipeline"
        )
    held: Floats = labels.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return held


def dataset(definition: Definition, rows: pa.Table, seed: int) -> Dataset:
    """Return the rows as a dataset; raise ``TrainingError`` for labels that do not fit the pipeline."""
    features = one_batch(rows.select(definition.features.names))
    labels = one_batch(rows.select(["label"])).column(0)
    return Dataset(features, target(definition, labels), definition.task, names(definition), seed)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return the table as one batch of contiguous columns."""
    return pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], names=table.column_names)


def manifest(
    definition: Definition, rows: pa.Table, holdout_from: int | None, quarantine: Sequence[Sequence[object]]
) -> dict[str, object]:
    """Return what the rows are, as JSON values: enough to find and check them again in the log.

    ``quarantine`` holds the stretches of labels that were left out: slice, since, until.
    """
    ticks = pc.min_max(rows.column("tick")).as_py()
    return {
        "pipeline": definition.digest,
        "feature_view": definition.features.version,
        "from_tick": ticks["min"],
        "to_tick": ticks["max"],
        "holdout_from": holdout_from,
        "quarantine": [list(stretch) for stretch in quarantine],
        "rows": rows.num_rows,
        "records": records_digest(
            rows.select([*definition.features.names, "label", "event_time", "tick", "event_id"])
        ),
    }


def digest(manifest: dict[str, object]) -> str:
    """Return the sha256 of a dataset manifest, in hex."""
    return digest_of(canonical_json(manifest))


def records_digest(rows: pa.Table) -> str:
    """Return the sha256 of the columns' names, nulls and values in row order, in hex."""
    held = hashlib.sha256()
    for name in rows.column_names:
        held.update(name.encode() + b"\0")
        for piece in _pieces(rows.column(name).combine_chunks()):
            held.update(piece)
    return held.hexdigest()


def _pieces(column: pa.Array) -> Iterator[bytes]:
    yield pc.is_null(column).to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_string(column.type):
        text = pc.fill_null(column, "")
        yield pc.binary_length(text).to_numpy(zero_copy_only=False).tobytes()
        yield "".join(text.to_pylist()).encode()
        return
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    numbers = column.cast(pa.float64() if pa.types.is_floating(column.type) else pa.int64())
    yield np.ascontiguousarray(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)).tobytes()
