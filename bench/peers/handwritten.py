"""What a good engineer writes in an afternoon: confluent-kafka, AvroDeserializer, pydantic, dicts, one predict a batch.

At least once: offsets are committed after the batch is flushed. ``python handwritten.py 1`` predicts event by event.
"""

import sys
from datetime import datetime
from typing import Any, Literal

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import BaseModel, Field, ValidationError
from work import SCORE, Model, Places, Windows

BATCH = 1_000


class Reading(BaseModel):
    """The contract and its rules."""

    id: str
    device: str
    at: datetime
    amount: float = Field(ge=0, le=1_000)
    speed: float
    ratio: float
    items: int = Field(ge=0, le=100)
    kind: Literal["a", "b", "c", "d"]


class Worker:
    """One consumer, one producer, and what is remembered between batches."""

    def __init__(self, places: Places) -> None:
        registry = SchemaRegistryClient({"url": places.registry})
        self.places, self.windows, self.model = places, Windows(), Model(places.model)
        self.decode, self.encode = AvroDeserializer(registry), AvroSerializer(registry, SCORE)
        self.read = SerializationContext(places.events, MessageField.VALUE)
        self.write = SerializationContext(places.scores, MessageField.VALUE)
        self.seen: set[str] = set()
        self.consumer = Consumer({
            "bootstrap.servers": places.bootstrap, "group.id": "hand-written",
            "auto.offset.reset": "earliest", "enable.auto.commit": False,
        })  # fmt: skip
        self.producer = Producer({
            "bootstrap.servers": places.bootstrap, "linger.ms": 5, "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
        })  # fmt: skip
        self.consumer.subscribe([places.events])

    def step(self, most: int, wait: float) -> None:
        """Handle what there is, up to ``most`` messages."""
        messages = self.consumer.consume(most, wait)
        rows = [row for row in map(self.reading, messages) if row is not None]
        if rows:
            features = [self.windows.features(row) for row in rows]
            for row, score in zip(rows, self.model.scores(features), strict=True):
                out = {"event_id": row["id"], "device": row["device"], "at": row["at"], "score": score}
                value = self.encode(out, self.write)
                self.producer.produce(self.places.scores, value, row["device"])
        if messages:
            self.producer.flush()
            self.consumer.commit(asynchronous=True)

    def reading(self, message: Message) -> dict[str, Any] | None:
        """Return a good reading that is new; write down why a bad one is refused."""
        if message.error():
            return None
        row: dict[str, Any] = self.decode(message.value(), self.read)
        try:
            Reading.model_validate(row)
        except ValidationError as error:
            self.producer.produce(self.places.refusals, str(error), row["id"])
            return None
        if row["id"] in self.seen:
            return None
        self.seen.add(row["id"])
        return row


if __name__ == "__main__":
    worker, size = Worker(Places()), int(sys.argv[1]) if len(sys.argv) > 1 else BATCH
    while True:
        worker.step(size, 0.05)
