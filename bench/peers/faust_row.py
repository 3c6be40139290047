"""Faust: an agent that takes batches, fastavro, plain checks and dict windows, one predict a batch."""

import io
import json
import struct
import sys
from typing import Any

import fastavro
import faust
from work import READING, SCORE, Model, Places, Windows, problem

BATCH, WITHIN = 1_000, 0.05
PARSED, WRITTEN = fastavro.parse_schema(READING), fastavro.parse_schema(json.loads(SCORE))
PLACES = Places()
HEADER = struct.pack(">bI", 0, PLACES.score_id)

app = faust.App(
    "faust",
    broker=f"kafka://{PLACES.bootstrap}",
    store="memory://",
    web_enabled=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    consumer_auto_offset_reset="earliest",
    broker_max_poll_records=BATCH,
    stream_buffer_maxsize=4 * BATCH,
    producer_linger=0.005,
    producer_compression_type="lz4",
)


def raw(name: str) -> Any:
    """Return a topic of bytes."""
    return app.topic(
        name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
    )


events, scores, refusals = raw(PLACES.events), raw(PLACES.scores), raw(PLACES.refusals)
windows, model = Windows(), Model(PLACES.model)
seen: set[str] = set()


@app.agent(events)
async def score(stream: Any) -> None:
    """Score batches as they come."""
    async for values in stream.take(BATCH, within=WITHIN):
        rows = []
        for value in values:
            row: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(value[5:]), PARSED, None)
            if why := problem(row):
                await refusals.send(key=row["id"].encode(), value=why.encode())
            elif row["id"] not in seen:
                seen.add(row["id"])
                rows.append(row)
        if not rows:
            continue
        found = model.scores([windows.features(row) for row in rows])
        for row, one in zip(rows, found, strict=True):
            await scores.send(key=row["device"].encode(), value=encoded(row, one))


def encoded(row: dict[str, Any], one: float) -> bytes:
    """Return a framed score."""
    out = io.BytesIO()
    out.write(HEADER)
    record = {"event_id": row["id"], "device": row["device"], "at": row["at"], "score": one}
    fastavro.schemaless_writer(out, WRITTEN, record)
    return out.getvalue()


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "--loglevel=warn", "--without-web"]
    app.main()
