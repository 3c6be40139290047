"""The producer of a chaos run: a step's events, then a request for its tick, then rest; every acknowledgement is noted."""

import io
import time
from functools import partial
from pathlib import Path
from typing import TextIO

import fastavro
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from headrace.bus.kafka import consumer, end_of, producer, send
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import record_schema, subject
from headrace.chaos.shop import STEP, Event, events
from headrace.contracts.topics import EVENTS, LEDGER
from headrace.errors import UnreachableError
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition
from headrace.sources.sender import Target
from headrace.sources.steps_topic import Requested, StepsTopic

PATIENCE, LOOK = 300.0, 5.0  # seconds for an acknowledgement, and between two looks at the ledger


class Feeder:
    """Publishes steps one after the other; ``acked`` gets a line ``partition offset kind id`` for each event."""

    def __init__(
        self, settings: Settings, definition: Definition, seed: int, acked: Path, patience: float
    ) -> None:
        registry = ConfluentRegistry(settings.registry_url)
        self._definition, self._seed = definition, seed
        self._topic = EVENTS.name(definition.name)
        self._writers = {name: self._writer(registry, name) for name in definition.records}
        self._client: Producer = producer(settings.bootstrap, None, **{"message.timeout.ms": 0})
        self._steps = StepsTopic(definition, Target(settings.bootstrap, registry, patience=patience))
        self._reader, self._patience = consumer(settings.bootstrap, "headrace.publisher.ledger"), patience
        self._ends: dict[int, int] = {}
        self._failed: list[KafkaError] = []
        self._acked: TextIO = acked.open("w")

    def step(self, number: int, size: int) -> None:
        """Publish a step and wait for its rest."""
        for event in events(self._seed, number, size):
            self._send(event)
        self._rest(Requested(number, (number + 1) * STEP, {}, final=False))

    def end(self, number: int) -> None:
        """Close the stream a step later: after a look-back there would be no state left to compare."""
        self._rest(Requested(number, (number + 1) * STEP, {}, final=True))

    def close(self) -> None:
        """Close the notes."""
        self._acked.close()
        self._steps.close()
        self._reader.close()

    def _writer(self, registry: ConfluentRegistry, name: str) -> tuple[bytes, object]:
        schema = record_schema(EVENTS, name, self._definition)
        number = registry.register(subject(self._topic, schema), schema)
        return b"\0" + number.to_bytes(4, "big"), fastavro.parse_schema(schema)

    def _send(self, event: Event) -> None:
        value = b"rubbish"
        if event.row is not None:
            head, schema = self._writers[event.record]
            body = io.BytesIO(head)
            body.seek(0, io.SEEK_END)
            fastavro.schemaless_writer(body, schema, event.row)
            value = body.getvalue()
        noted = partial(self._note, event)
        while True:
            try:
                self._client.produce(
                    self._topic, value, event.shop.encode(),
                    headers=[("ce_id", event.id.encode())], on_delivery=noted,
                )  # fmt: skip
                break
            except BufferError:
                self._client.poll(0.1)

    def _note(self, event: Event, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error)
            return
        partition, offset = message.partition(), message.offset()
        self._ends[partition] = max(offset + 1, self._ends.get(partition, 0))
        self._acked.write(f"{partition} {offset} {event.kind} {event.id}\n")

    def _rest(self, wanted: Requested) -> None:
        self._flush()
        wanted = Requested(wanted.step, wanted.time, dict(self._ends), wanted.final)
        send(self._client, self._steps.request(wanted))
        self._flush()
        self._wait()

    def _wait(self) -> None:
        """Wait for rest as long as services go on closing ticks, be it slowly."""
        closed, since = self._closed(), time.monotonic()
        while True:
            try:
                return self._steps.wait(LOOK)
            except UnreachableError as error:
                before, closed = closed, self._closed()
                if before != closed:
                    since = time.monotonic()
                elif time.monotonic() - since > self._patience:
                    raise UnreachableError(
                        error.what, f"no tick was closed in {self._patience:g} s"
                    ) from error

    def _closed(self) -> int:
        """Return where the ledger ends, which grows with every tick that a service closes."""
        ledger = TopicPartition(LEDGER.name(self._definition.name), 0)
        return end_of(self._reader, ledger, self._patience)

    def _flush(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._client.flush(1.0):
            if time.monotonic() > deadline:
                raise UnreachableError("the broker does not acknowledge events", f"waited {PATIENCE:.0f} s")
        if self._failed:
            raise KafkaException(self._failed[0])
