"""Row features: what a model sees of the event alone."""

from headrace.contracts.arrow import arrow_schema
from headrace.pipeline.definition import Definition
from headrace.pipeline.expressions import NUMBER, TEXT, Compiled, compile_sql
from headrace.pipeline.schemas import raw_schema


def compile_rows(definition: Definition) -> Compiled:
    """Return a function from a batch of the event record to its row features, in the order of the view.

    Numbers come as float64 and categories as string; a null stays a null. Raises ``ConfigurationError`` for an
    expression that does not fit the event's columns.
    """
    sql = {f.name: (f.sql, NUMBER if f.kind == "number" else TEXT) for f in definition.features.rows}
    return compile_sql(sql, arrow_schema(raw_schema(definition, definition.event)))
