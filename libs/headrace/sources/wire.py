"""Steps of a source as the records a producer sends: framed Avro, keys, CloudEvents and trace headers."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus import trace
from headrace.bus.blocks import Block, ColumnHeaders
from headrace.bus.encode import Encoder, Writer
from headrace.bus.records import Outgoing
from headrace.bus.schemas import Registry, codec
from headrace.contracts.frame import header
from headrace.contracts.topics import EVENTS
from headrace.pipeline.definition import Definition, RecordType
from headrace.sources.source import Step

ANY_PARTITION = -1
"""Let the client's partitioner choose by key."""


class Wire:
    """Writes the records of one pipeline; ``source`` is what ``ce_source`` says."""

    def __init__(self, definition: Definition, registry: Registry, source: str) -> None:
        encoder = Encoder(registry)
        self.topic = EVENTS.name(definition.name)
        self._source = source
        self._records: Mapping[str, RecordType] = definition.records
        self._writers = {name: encoder.writer(EVENTS, name, definition) for name in definition.records}

    def records(self, step: Step) -> list[Outgoing]:
        """Return the records of a step in the order of the log."""
        by_type = [list(self._typed(name, batch)) for name, batch in step.batches.items()]
        return [by_type[t][r] for t, r in zip(step.types.tolist(), step.rows.tolist(), strict=True)]

    def _typed(self, name: str, batch: pa.RecordBatch) -> Block:
        record, writer = self._records[name], self._writers[name]
        columns = writer.cast(dict(zip(batch.schema.names, batch.columns, strict=True)), batch.num_rows)
        values = codec(writer.schema).packed(columns, header(writer.schema_id))
        keyed = keys(record, columns).cast(pa.binary())
        return Block(self.topic, ANY_PARTITION, keyed, values, self._headers(record, writer, columns))

    def _headers(self, record: RecordType, writer: Writer, columns: pa.RecordBatch) -> ColumnHeaders:
        """Return the headers of each row; a label shares the trace of the event it answers."""
        ids = columns[record.id]
        causes = columns[record.joins] if record.joins else ids
        return trace.headers(self._source, writer.kind, ids, causes, columns[record.time].cast(pa.int64()))


def keys(record: RecordType, columns: pa.RecordBatch) -> pa.Array:
    """Return the entity key of each row: its key columns as text, joined by a colon; a null is empty."""
    parts = [columns[name].cast(pa.string()).fill_null("") for name in record.key]
    return pc.binary_join_element_wise(*parts, ":")
