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
