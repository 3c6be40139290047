"""Control records of one tick as a batch, for services that work at the close of a tick."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from headrace.bus.books import Control
from headrace.bus.service import Batch
from headrace.contracts.topics import Topic


def control_batch(topic: Topic, controls: Sequence[Control], tick: int) -> Iterator[Batch]:
    """Yield the control records of a tick as one batch in log order; none when there are none."""
    if controls:
        lineage = pa.RecordBatch.from_pydict({"event_id": [f"{topic.name()}@{c.offset}" for c in controls]})
        records = [(c.name, c.record) for c in controls]
        yield Batch(topic=topic, partition=0, tick=tick, lineage=lineage, records={}, controls=records)
