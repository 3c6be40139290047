"""Make a cluster ready: topics from the catalogue, schemas under their subjects, pipelines as events."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus.encode import Encoder
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import producer, read_all, send
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import Schema, record_schema, subject
from headrace.bus.service import Emit, Service
from headrace.contracts import catalogue
from headrace.contracts.topics import (
    CONTROL_TOPICS,
    EVENTS,
    FEATURES,
    PIPELINE_TOPICS,
    PIPELINES,
    REKEYED,
    VALIDATED,
    Topic,
    changelog,
)
from headrace.errors import ConfigurationError
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition
from headrace.sources.pipelines import read_all as read_pipelines

# A start reads a changelog whole, so its segments are small and soon compacted, and tombstones are not kept for a day.
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": "2097152",
    "min.cleanable.dirty.ratio": "0.2",
    "delete.retention.ms": "600000",  # longer than a restore takes
}


def stages(folder: Path) -> list[Service]:
    """Return the manifests in ``services/`` that close ticks, by name: a new folder is a new stage."""
    names = sorted(p.parent.name for p in folder.glob("*/service.py"))
    found = [importlib.import_module(f"services.{name}.service") for name in names]
    return [m.SERVICE for m in found if hasattr(m, "SERVICE")]


def stage_names(services: Iterable[Service], definition: Definition) -> list[str]:
    """Return ``service/partition`` of every lane that must close a tick of a pipeline."""
    needed = (s for s in services if s.needed(definition))
    return [f"{s.name}/{p}" for s in needed for p in range(1 if s.single else definition.partitions)]


def topics_of(definition: Definition) -> list[Topic]:
    """Return the topics that a pipeline has: one for moved records only where it declares a re-key."""
    return [t for t in PIPELINE_TOPICS if definition.rekey is not None or not t.moved]


def provision(
    settings: Settings, pipelines: Path | None = None, only: Sequence[str] | None = None
) -> list[str]:
    """Create missing topics, register schemas and changed pipelines; return the pipelines' names.

    Safe to call again: what is there already stays as it is. ``only`` names the services that are stages of these
    pipelines, where not all are.
    """
    definitions = read_pipelines(pipelines or settings.pipelines)
    services = [s for s in stages(settings.root / "services") if only is None or s.name in only]
    registry = ConfluentRegistry(settings.registry_url)
    create_topics(settings, definitions.values(), services)
    register_schemas(registry, definitions.values())
    announce(settings, registry, definitions, services)
    return sorted(definitions)


def create_topics(settings: Settings, definitions: Iterable[Definition], services: Sequence[Service]) -> None:
    """Create the control topics, and every pipeline's topics and changelogs, where they are missing.

    Raises ``ConfigurationError``, and creates nothing, when a topic has another number of partitions than it should.
    """
    wanted = [_topic(t, t.name(), 1) for t in CONTROL_TOPICS]
    for definition in definitions:
        for topic in topics_of(definition):
            partitions = catalogue.topics()[topic.stream].partitions
            count = partitions if isinstance(partitions, int) else definition.partitions
            wanted.append(_topic(topic, topic.name(definition.name), count))
        for service in (s for s in services if s.needed(definition)):
            name = changelog(service.name, definition.name)
            wanted.append(NewTopic(name, definition.partitions, 1, config=_COMPACTED))
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "broker.address.family": "v4"})
    known = admin.list_topics(timeout=10).topics
    _refuse_other_partitions(wanted, {name: len(topic.partitions) for name, topic in known.items()})
    missing = [t for t in wanted if t.topic not in known]
    for future in admin.create_topics(missing, operation_timeout=30).values() if missing else ():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _refuse_other_partitions(wanted: Iterable[NewTopic], held: Mapping[str, int]) -> None:
    """Refuse a changed number of partitions: keys would move, and leave their order and state behind."""
    for topic in wanted:
        count = held.get(topic.topic, topic.num_partitions)
        if count != topic.num_partitions:
            raise ConfigurationError(
                f"{topic.topic} has {count} partitions and should have {topic.num_partitions}",
                "with another number of partitions keys move, and their order and state stay behind; "
                "the number is fixed for a topic's major version",
                f"set `partitions: {count}` in the pipeline's file, or give the pipeline a new name",
            )


def _refuse_other_rekey(wanted: Mapping[str, Definition], held: Mapping[str, str]) -> None:
    """Refuse a changed re-key: state and the order of events lie in the partitions of the columns it had."""
    for name in wanted.keys() & held.keys():
        before = Definition.model_validate_json(held[name]).rekey
        if wanted[name].rekey != before:
            raise ConfigurationError(
                f"{name} runs with rekey {before or 'undeclared'} and its file says {wanted[name].rekey or 'nothing'}",
                "its windows and the order of its events lie in partitions of the old column",
                "put it back, or give the pipeline a new name",
            )


def _topic(topic: Topic, name: str, partitions: int) -> NewTopic:
    sheet = catalogue.topics()[topic.stream]
    config = {
        "cleanup.policy": sheet.cleanup,
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "-1",
    }
    return NewTopic(name, partitions, 1, config=config)


def register_schemas(registry: ConfluentRegistry, definitions: Iterable[Definition]) -> None:
    """Register every record of the pipelines' topics and of the control topics, several at a time."""
    wanted: dict[str, tuple[Schema, str]] = {}
    for definition in definitions:
        for topic in (*topics_of(definition), *CONTROL_TOPICS):
            for record in _records(topic, definition):
                schema = record_schema(topic, record, definition)
                compatibility = catalogue.topics()[topic.stream].compatibility
                wanted[subject(topic.name(definition.name), schema)] = (schema, compatibility)

    def register(item: tuple[str, tuple[Schema, str]]) -> None:
        name, (schema, compatibility) = item
        registry.register(name, schema)
        if compatibility != "NONE":
            registry.require(name, compatibility)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(register, wanted.items()))


def _records(topic: Topic, definition: Definition) -> list[str]:
    if topic in (EVENTS, VALIDATED, REKEYED):
        return list(definition.records)
    return ["FeatureVector"] if topic is FEATURES else catalogue.topics()[topic.stream].declared


def announce(
    settings: Settings,
    registry: ConfluentRegistry,
    definitions: Mapping[str, Definition],
    services: Sequence[Service],
) -> None:
    """Write an event for every pipeline whose definition or stages are new."""
    held = decode_plain(read_all(settings.bootstrap, PIPELINES.name(), 0), registry)
    latest = {fields["pipeline"]: (fields["digest"], fields["stages"]) for _, _, fields in held}
    _refuse_other_rekey(definitions, {fields["pipeline"]: fields["definition"] for _, _, fields in held})
    writer, encoder = producer(settings.bootstrap), Encoder(registry)
    for definition in definitions.values():
        names = stage_names(services, definition)
        if latest.get(definition.name) == (definition.digest, names):
            continue
        record = {
            "pipeline": definition.name,
            "tick": -1,
            "digest": definition.digest,
            "definition": definition.canonical(),
            "stages": names,
        }
        emit = Emit("PipelineRegistered", pa.RecordBatch.from_pylist([record]))
        send(writer, encoder.encode(PIPELINES, [emit], None, 0, -1, definition))
    writer.flush(30)
