"""A schema registry with the Confluent API, behind the runtime's port."""

import json

from confluent_kafka.schema_registry import Schema as RegisteredSchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from headrace.bus.schemas import Schema
from headrace.errors import HeadraceError, UnreachableError

_NOT_FOUND = 404
_CONFLICT = 409


class ConfluentRegistry:
    """Registers and fetches schemas over HTTP; both are remembered, since a schema's id never changes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = SchemaRegistryClient({"url": url, "timeout": 10})
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, Schema] = {}

    def register(self, subject: str, schema: Schema) -> int:
        """Return the id of a schema under a subject.

        Raises:
            HeadraceError: when the registry turns the schema down as incompatible.
            UnreachableError: when the registry does not answer.
        """
        text = json.dumps(schema)
        if (subject, text) not in self._ids:
            try:
                found = self._client.register_schema(subject, RegisteredSchema(text, "AVRO"))
            except SchemaRegistryError as error:
                raise self._told(f"subject {subject}", error) from error
            self._ids[subject, text] = found
        return self._ids[subject, text]

    def schema(self, schema_id: int) -> Schema | None:
        """Return the schema with this id, or None when the registry has none.

        Raises:
            UnreachableError: when the registry does not answer.
        """
        if schema_id < 0:
            return None
        if schema_id not in self._schemas:
            try:
                self._schemas[schema_id] = json.loads(self._client.get_schema(schema_id).schema_str or "null")
            except SchemaRegistryError as error:
                if error.http_status_code == _NOT_FOUND:
                    return None
                raise self._told(f"schema {schema_id}", error) from error
        return self._schemas[schema_id]

    def accepts(self, subject: str, schema: Schema) -> bool | None:
        """Tell whether the registry would take a schema as a subject's next version; None: it knows no such subject.

        Raises:
            UnreachableError: when the registry does not answer.
        """
        try:
            return bool(
                self._client.test_compatibility(subject, RegisteredSchema(json.dumps(schema), "AVRO"))
            )
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise self._told(f"subject {subject}", error) from error

    def require(self, subject: str, compatibility: str) -> None:
        """Set the compatibility a subject must keep."""
        self._client.set_compatibility(subject, compatibility)

    def _told(self, what: str, error: SchemaRegistryError) -> HeadraceError:
        if error.http_status_code == _CONFLICT:
            return HeadraceError(
                f"{what}: the registry refuses the schema as incompatible",
                str(error),
                "give new fields a default",
            )
        return UnreachableError(
            f"the schema registry at {self._url} failed on {what}", str(error), "headrace doctor"
        )
