"""The label of an answer: the text of its class, or its value."""

from collections.abc import Callable

import pyarrow as pa

from headrace.contracts.arrow import arrow_schema
from headrace.pipeline.definition import Definition
from headrace.pipeline.expressions import NUMBER, TEXT, compile_sql
from headrace.pipeline.schemas import raw_schema


def compile_label(definition: Definition) -> Callable[[pa.RecordBatch], pa.Array]:
    """Return a function from a batch of the label record to its labels: text, or float64 for a regression."""
    schema = arrow_schema(raw_schema(definition, definition.label.record))
    kind = NUMBER if definition.task == "regression" else TEXT
    apply = compile_sql({"label": (definition.label.sql, kind)}, schema)
    return lambda batch: apply(batch).column(0)


def compile_contract(definition: Definition) -> Callable[[pa.RecordBatch], tuple[pa.Array, pa.Array | None]]:
    """Return a function from a batch of the label record to the slices of its labels, and their measures if declared.

    Slices are text, measures float64.
    """
    told = definition.label.contract
    schema = arrow_schema(raw_schema(definition, definition.label.record))
    wanted = {"slice": (told.slice or "'all'", TEXT), "value": (told.value or "0", NUMBER)}
    apply = compile_sql(wanted, schema)

    def parts(batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array | None]:
        found = apply(batch)
        return found.column(0), found.column(1) if told.value else None

    return parts
