"""The steps topic as a publisher sees it: it asks for a step and waits until the clock says it is at rest."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from headrace.bus.encode import Encoder
from headrace.bus.kafka import consumer, wait_for_topics
from headrace.bus.records import Outgoing
from headrace.bus.schemas import codec
from headrace.contracts.frame import unframe
from headrace.contracts.topics import STEPS
from headrace.errors import UnreachableError
from headrace.pipeline.definition import Definition
from headrace.sources.sender import Target


@dataclass(frozen=True, slots=True)
class Requested:
    """The last step a publisher asked for: everything before ``time`` is in the raw topic, up to ``raw``."""

    step: int
    time: int
    raw: Mapping[int, int]
    final: bool


class StepsTopic:
    """Follows one pipeline's steps topic from its beginning."""

    def __init__(self, definition: Definition, target: Target) -> None:
        self._pipeline = definition.name
        self._target = target
        self._writer = Encoder(target.registry).writer(STEPS, "StepRequested", definition)
        topic = STEPS.name(definition.name)
        self._consumer = consumer(target.bootstrap, f"headrace.publisher.{definition.name}")
        wait_for_topics(self._consumer, [topic], target.patience)
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        self.requested: Requested | None = None
        self.rested = -1
        while self._follow(1.0):
            pass

    def request(self, wanted: Requested) -> list[Outgoing]:
        """Return the record that asks for a step whose raw events the broker has acknowledged."""
        row = {
            "pipeline": self._pipeline,
            "step": wanted.step,
            "time": wanted.time,
            "raw": [(str(partition), end) for partition, end in sorted(wanted.raw.items())],
            "final": wanted.final,
        }
        columns = pa.RecordBatch.from_pylist([row], schema=self._writer.types)
        self.requested = wanted
        return self._writer.outgoing(columns, 0, wanted.step)

    def wait(self, seconds: float | None = None) -> None:
        """Return when the step asked for last is at rest.

        Raises ``UnreachableError`` when that takes longer than ``seconds``, or else the target's patience.
        """
        patience = self._target.patience if seconds is None else seconds
        deadline = time.monotonic() + patience
        while self.requested is not None and self.rested < self.requested.step:
            self._follow(0.5)
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"step {self.requested.step} of {self._pipeline} is not at rest after {patience:g} s",
                    "a service stands still, or the clock does not run",
                    "headrace status",
                )

    def close(self) -> None:
        """Leave the topic."""
        self._consumer.close()

    def _follow(self, wait: float) -> bool:
        """Take one record in; return False at the end of the topic."""
        message = self._consumer.poll(wait)
        if message is None:
            return True
        error = message.error()
        if error is None:
            self._take(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's own name for it
            return False
        elif error.fatal():
            raise KafkaException(error)
        return True

    def _take(self, message: Message) -> None:
        schema_id, body = unframe(message.value())
        schema = self._target.registry.schema(schema_id)
        if schema is None:
            raise UnreachableError(f"the registry has no schema {schema_id}, which the steps topic uses")
        row = codec(schema).decode([body]).columns.to_pylist(maps_as_pydicts="strict")[0]
        if schema["name"] == "StepRested":
            self.rested = max(self.rested, row["step"])
        else:
            raw = {int(partition): end for partition, end in row["raw"].items()}
            time_us = pa.scalar(row["time"], pa.timestamp("us", tz="UTC")).value
            self.requested = Requested(row["step"], time_us, raw, row["final"])
