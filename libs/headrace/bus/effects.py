"""Effects: what a handler wished for is carried out here, at least once, and its outcome comes back as an event."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Producer, TopicPartition

from headrace.bus.encode import Encoder
from headrace.bus.ends import Ends
from headrace.bus.engine import decode_plain
from headrace.bus.failpoints import reach
from headrace.bus.kafka import PATIENT, answered, consumer, incoming, producer, read_from, received, send
from headrace.bus.records import Incoming
from headrace.bus.schemas import Registry
from headrace.bus.service import Artifacts, Emit
from headrace.bus.stalls import Stalls
from headrace.bus.watched import Watched
from headrace.contracts.topics import PIPELINES, Topic
from headrace.errors import HeadraceError
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition

LOG = logging.getLogger("headrace.effects")
OFFSETS, COMMIT = 10.0, 15.0  # seconds; who cannot commit for longer ends, and is started again


@dataclass(frozen=True)
class Tools:
    """What an effect may use: settings, artifacts, the pipeline's definition, and the log to read."""

    settings: Settings
    artifacts: Artifacts
    registry: Registry
    definition: Definition

    def read(self, topic: Topic, offsets: Mapping[int, int]) -> tuple[list[Incoming], dict[int, int]]:
        """Return a topic's committed records from the given offsets (by partition) to its end now, and where that is."""
        name = topic.name(self.definition.name)
        found: list[Incoming] = []
        ends = dict(offsets)
        for partition in range(self.definition.partitions):
            records, ends[partition] = read_from(
                self.settings.bootstrap, name, partition, offsets.get(partition, 0)
            )
            found += records
        return found, ends


Work = Callable[[Mapping[str, Any], Tools], Mapping[str, Any]]


class EffectsWorker:
    """Carries out the effects of one service, one by one, in the order they were asked for.

    The outcome and the offset of the request are one transaction, so a crash repeats the work and never the
    outcome; ``carry_out`` must be idempotent by ``effect_id``.
    """

    def __init__(
        self,
        requests: Topic,
        results: Topic,
        carry_out: Mapping[str, Work],
        *,
        settings: Settings,
        registry: Registry,
        artifacts: Artifacts,
    ) -> None:
        self._requests, self._results, self._carry_out = requests.name(), results, carry_out
        self._settings, self._registry, self._artifacts = settings, registry, artifacts
        self._encoder = Encoder(registry)
        self._group = f"headrace.{self._requests}"
        self._definitions: dict[str, Definition] = {}

    def run(self, going: Callable[[], bool]) -> None:
        """Work until ``going`` says no."""
        client = consumer(self._settings.bootstrap, self._group, **PATIENT)
        stalls = Stalls(client, Ends(self._settings.bootstrap))
        writer = producer(self._settings.bootstrap, self._group)
        watched = Watched()
        watched.call(lambda: writer.init_transactions(30), 60)
        asked = [TopicPartition(self._requests, 0)]
        committed = answered(lambda: client.committed(asked, 30), 30)[0].offset
        start = committed if committed >= 0 else OFFSET_BEGINNING
        client.assign([
            TopicPartition(PIPELINES.name(), 0, OFFSET_BEGINNING),
            TopicPartition(self._requests, 0, start),
        ])  # fmt: skip
        while going():
            message = client.poll(0.2)
            if message is None:
                stalls.look()
                continue
            stalls.polled(message)
            if not received(message):
                continue
            record = incoming(message)
            _, _, fields = decode_plain([record], self._registry)[0]
            if record.topic == PIPELINES.name():
                self._learn(fields)
                continue
            outgoing = self._encoder.encode(
                self._results,
                [self._outcome(fields)],
                None,
                0,
                fields["tick"],
                self._definition(fields["pipeline"]),
            )
            reach("between-database-and-publish")
            writer.begin_transaction()
            send(writer, outgoing)
            done = [TopicPartition(record.topic, 0, record.offset + 1)]
            watched.call(
                partial(self._end, writer, done, client.consumer_group_metadata()), 2 * (OFFSETS + COMMIT)
            )
        client.close()

    @staticmethod
    def _end(writer: Producer, done: list[TopicPartition], group: Any) -> None:
        writer.send_offsets_to_transaction(done, group, OFFSETS)
        writer.commit_transaction(COMMIT)

    def _learn(self, fields: Mapping[str, Any]) -> None:
        self._definitions[fields["pipeline"]] = Definition.model_validate_json(fields["definition"])

    def _definition(self, pipeline: str) -> Definition:
        if pipeline not in self._definitions:
            records, _ = read_from(self._settings.bootstrap, PIPELINES.name(), 0, 0)
            for _, _, fields in decode_plain(records, self._registry):
                self._learn(fields)
        return self._definitions[pipeline]

    def _outcome(self, request: Mapping[str, Any]) -> Emit:
        """Carry out one request and return its outcome; a failure the user can act on is an outcome too."""
        common = {name: request[name] for name in ("effect_id", "pipeline", "tick", "kind")}
        definition = self._definition(request["pipeline"])
        tools = Tools(self._settings, self._artifacts, self._registry, definition)
        payload = {**json.loads(request["payload"]), "effect_id": request["effect_id"]}
        try:
            result = self._carry_out[request["kind"]](payload, tools)
        except HeadraceError as error:
            LOG.warning("effect %s failed: %s", request["effect_id"], error)
            return Emit("EffectFailed", pa.RecordBatch.from_pylist([{**common, "error": str(error)}]))
        told = json.dumps(dict(result), sort_keys=True)
        return Emit("EffectCompleted", pa.RecordBatch.from_pylist([{**common, "result": told}]))
