"""Steps of a source as the records a producer sends: framed Avro, keys, CloudEvents and trace headers."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus.encode import Encoder, Writer
from headrace.bus.records import Headers, Outgoing, trace_headers
from headrace.bus.schemas import Registry, codec
from headrace.contracts.frame import frame
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
        by_type = [self._typed(name, batch) for name, batch in step.batches.items()]
        return [by_type[t][r] for t, r in zip(step.types.tolist(), step.rows.tolist(), strict=True)]

    def _typed(self, name: str, batch: pa.RecordBatch) -> list[Outgoing]:
        record, writer = self._records[name], self._writers[name]
        columns = writer.cast(batch)
        values = frame(writer.schema_id, codec(writer.schema).encode(columns))
        headers = self._headers(record, writer, columns)
        return [
            Outgoing(self.topic, ANY_PARTITION, key.encode(), value, header)
            for key, value, header in zip(keys(record, columns), values, headers, strict=True)
        ]

    def _headers(self, record: RecordType, writer: Writer, columns: pa.RecordBatch) -> list[Headers]:
        """Return the headers of each row; a label shares the trace of the event it answers."""
        ids = columns[record.id].to_pylist()
        causes = columns[record.joins].to_pylist() if record.joins else ids
        micros = columns[record.time].cast(pa.int64()).to_numpy()
        times = [f"{t}Z" for t in np.datetime_as_string(micros.astype("datetime64[us]"))]
        return trace_headers(self._source, writer.kind, ids, causes, times)


def keys(record: RecordType, columns: pa.RecordBatch) -> list[str]:
    """Return the entity key of each row: its key columns as text, joined by a colon; a null is empty."""
    parts = [columns[name].cast(pa.string()).fill_null("") for name in record.key]
    joined: list[str] = pc.binary_join_element_wise(*parts, ":").to_pylist()
    return joined
