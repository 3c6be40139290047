"""Accepted records in; the same records out, keyed by the column that the pipeline declares."""

from collections.abc import Mapping

import pyarrow as pa

from headrace.bus.service import Batch, Context, Emit, Rows, Step
from headrace.contracts.arrow import as_type, filled
from headrace.contracts.topics import REKEYED
from headrace.pipeline.definition import Definition


def declared(definition: Definition) -> bool:
    """Tell whether a pipeline's records have to be moved."""
    return definition.rekey is not None


def columns(context: Context) -> Mapping[str, str]:
    """Return the column of each record type that its records move by."""
    return context.definition.rekey or {}


def handle(batch: Batch, rows: Rows, view: Mapping[str, str]) -> Step:
    """Pass every record on under its new key; a missing one is the empty text, as it is for a window."""
    del rows
    emits = [
        Emit(
            record,
            found.columns,
            cause=found.rows,
            keys=filled(
                as_type(pa.RecordBatch.from_struct_array(found.columns["data"])[view[record]], pa.string()),
                "",
            ),
        )
        for record, found in batch.records.items()
    ]
    return Step(emitted={REKEYED: emits})
