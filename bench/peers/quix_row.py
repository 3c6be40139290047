"""Quix Streams: fastavro, plain checks and dict windows in the dataframe, scored by a batching sink at each checkpoint."""

import io
import json
import struct
from typing import Any

import fastavro
from confluent_kafka import Producer
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch
from work import READING, SCORE, Model, Places, Windows, problem

COMMIT_EVERY = 5_000  # one checkpoint, so one predict, for so many messages
PARSED, WRITTEN = fastavro.parse_schema(READING), fastavro.parse_schema(json.loads(SCORE))


class Job:
    """The dataframe's functions and what they remember."""

    def __init__(self, producer: Producer, places: Places) -> None:
        self.producer, self.places, self.windows = producer, places, Windows()
        self.seen: set[str] = set()

    def accept(self, value: bytes) -> dict[str, Any] | None:
        """Return a good reading that is new, with its features; write down why a bad one is refused."""
        row: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(value[5:]), PARSED, None)
        if why := problem(row):
            self.producer.produce(self.places.refusals, why, row["id"])
            return None
        if row["id"] in self.seen:
            return None
        self.seen.add(row["id"])
        row["features"] = self.windows.features(row)
        return row


class Scoring(BatchingSink):
    """Scores what a checkpoint gathered in one predict a partition, and writes it before offsets are committed."""

    def __init__(self, producer: Producer, places: Places) -> None:
        super().__init__()
        self.producer, self.places, self.model = producer, places, Model(places.model)
        self.header = struct.pack(">bI", 0, places.score_id)

    def write(self, batch: SinkBatch) -> None:
        """Write one partition's scores."""
        rows = [item.value for item in batch]
        for row, score in zip(rows, self.model.scores([r["features"] for r in rows]), strict=True):
            out = io.BytesIO()
            out.write(self.header)
            record = {"event_id": row["id"], "device": row["device"], "at": row["at"], "score": score}
            fastavro.schemaless_writer(out, WRITTEN, record)
            self.producer.produce(self.places.scores, out.getvalue(), row["device"])
            self.producer.poll(0)
        self.producer.flush()


def main() -> None:
    """Run until a signal."""
    places = Places()
    producer = Producer({
        "bootstrap.servers": places.bootstrap, "linger.ms": 5, "compression.type": "lz4",
        "queue.buffering.max.messages": 200_000,
    })  # fmt: skip
    app = Application(
        broker_address=places.bootstrap,
        consumer_group="quix",
        auto_offset_reset="earliest",
        commit_every=COMMIT_EVERY,
        commit_interval=1.0,
        auto_create_topics=False,
    )
    job = Job(producer, places)
    events = app.topic(places.events, value_deserializer="bytes", key_deserializer="str")
    frame = app.dataframe(events).apply(job.accept).filter(lambda row: row is not None)
    frame.sink(Scoring(producer, places))
    app.run()


if __name__ == "__main__":
    main()
