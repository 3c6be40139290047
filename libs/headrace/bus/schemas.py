"""Which schema a record has, and the id the registry gave it."""

from typing import Any, Protocol

from headrace.contracts import catalogue
from headrace.contracts.codec import Codec
from headrace.contracts.topics import EVENTS, FEATURES, REKEYED, VALIDATED, Topic
from headrace.pipeline.definition import Definition
from headrace.pipeline.schemas import as_written, feature_schema, raw_schema, validated_schema

Schema = dict[str, Any]


class Registry(Protocol):
    """A schema registry, as far as the runtime needs one."""

    def register(self, subject: str, schema: Schema) -> int:
        """Return the id of a schema under a subject, registering it when it is new."""

    def schema(self, schema_id: int) -> Schema | None:
        """Return the schema with this id, or None when the registry has none."""


class MemoryRegistry:
    """A registry for tests and replays: ids in the order of registration."""

    def __init__(self) -> None:
        self._schemas: list[Schema] = []

    def register(self, subject: str, schema: Schema) -> int:
        """Return the id of a schema, the same one for the same schema."""
        del subject
        if schema not in self._schemas:
            self._schemas.append(schema)
        return self._schemas.index(schema) + 1

    def schema(self, schema_id: int) -> Schema | None:
        """Return the schema with this id, or None."""
        return self._schemas[schema_id - 1] if 0 < schema_id <= len(self._schemas) else None


def record_schema(topic: Topic, record: str, definition: Definition | None) -> Schema:
    """Return the Avro schema that a record type is written with; a pipeline's own types come from its definition."""
    if definition is not None and topic is EVENTS:
        return raw_schema(definition, record)
    if definition is not None and topic in (VALIDATED, REKEYED):
        return validated_schema(definition, record)
    if definition is not None and topic is FEATURES:
        return feature_schema(definition)
    schema = catalogue.schema(record)
    return schema if definition is None else as_written(definition, schema)


def reading_schema(topic: Topic, record: str, definition: Definition) -> Schema:
    """Return the Avro schema that a derived record is read with, whichever definition it was written under.

    The same object for the same question, so that :func:`codec` makes one codec of it.
    """
    asked = (topic.stream, record, definition.digest)
    if asked not in _READING:
        _READING[asked] = _reading_schema(topic, record, definition)
    return _READING[asked]


def _reading_schema(topic: Topic, record: str, definition: Definition) -> Schema:
    if topic in (VALIDATED, REKEYED):
        return validated_schema(definition, record, with_mark=True)
    if topic is FEATURES:
        return feature_schema(definition, with_mark=True)
    return catalogue.schema(record)


def subject(topic: str, schema: Schema) -> str:
    """Return the subject of a record type on a topic (TopicRecordNameStrategy)."""
    namespace = schema.get("namespace")
    return f"{topic}-{namespace}.{schema['name']}" if namespace else f"{topic}-{schema['name']}"


_READING: dict[tuple[str, str, str], Schema] = {}
_CODECS: dict[int, tuple[Schema, Codec]] = {}


def codec(schema: Schema) -> Codec:
    """Return the codec of a schema object, made once for each object (which is kept, so its id stays its own)."""
    if id(schema) not in _CODECS:
        _CODECS[id(schema)] = (schema, Codec(schema))
    return _CODECS[id(schema)][1]
