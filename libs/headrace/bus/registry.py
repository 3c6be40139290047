"""A schema registry with the Confluent API, behind the runtime's port."""

import json
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import httpx2
from confluent_kafka.schema_registry import Schema as RegisteredSchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from headrace.bus.schemas import Schema
from headrace.errors import HeadraceError, UnreachableError

T = TypeVar("T")
_NOT_FOUND = 404
_CONFLICT = 409


class ConfluentRegistry:
    """Registers and fetches schemas over HTTP; both are remembered, since a schema's id never changes.

    What got no answer is asked ``retries`` times more.
    """

    def __init__(self, url: str, *, retries: int = 3) -> None:
        self._url = url
        self._client = SchemaRegistryClient({"url": url, "timeout": 10, "max.retries": retries})
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
            self._ids[subject, text] = self._registered(subject, RegisteredSchema(text, "AVRO"))
        return self._ids[subject, text]

    def _registered(self, subject: str, schema: RegisteredSchema) -> int:
        """Register a schema; one that is there already, by a request whose answer was late, is no conflict."""
        what = f"subject {subject}"
        try:
            return int(self._ask(what, partial(self._client.register_schema, subject, schema)))
        except SchemaRegistryError as error:
            if error.http_status_code != _CONFLICT:
                raise self._failed(what, error) from error
            refused = error
        try:
            return int(self._ask(what, partial(self._client.lookup_schema, subject, schema)).schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code != _NOT_FOUND:
                raise self._failed(what, error) from error
        raise HeadraceError(
            f"{what}: the registry refuses the schema as incompatible",
            str(refused),
            "give new fields a default",
        ) from refused

    def schema(self, schema_id: int) -> Schema | None:
        """Return the schema with this id, or None when the registry has none.

        Raises:
            UnreachableError: when the registry does not answer.
        """
        if schema_id < 0:
            return None
        if schema_id not in self._schemas:
            what = f"schema {schema_id}"
            try:
                found = self._ask(what, partial(self._client.get_schema, schema_id))
            except SchemaRegistryError as error:
                if error.http_status_code == _NOT_FOUND:
                    return None
                raise self._failed(what, error) from error
            self._schemas[schema_id] = json.loads(found.schema_str or "null")
        return self._schemas[schema_id]

    def accepts(self, subject: str, schema: Schema) -> bool | None:
        """Tell whether the registry would take a schema as a subject's next version; None: it knows no such subject.

        Raises:
            UnreachableError: when the registry does not answer.
        """
        what, asked = f"subject {subject}", RegisteredSchema(json.dumps(schema), "AVRO")
        try:
            return bool(self._ask(what, partial(self._client.test_compatibility, subject, asked)))
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise self._failed(what, error) from error

    def require(self, subject: str, compatibility: str) -> None:
        """Set the compatibility a subject must keep.

        Raises:
            UnreachableError: when the registry does not answer.
        """
        what = f"subject {subject}"
        try:
            self._ask(what, partial(self._client.set_compatibility, subject, compatibility))
        except SchemaRegistryError as error:
            raise self._failed(what, error) from error

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        """Return an answer, be it a refusal; no answer at all is the user's to look after."""
        try:
            return call()
        except httpx2.TransportError as error:
            raise self._failed(what, error) from error

    def _failed(self, what: str, error: Exception) -> UnreachableError:
        why = str(error) or type(error).__name__
        return UnreachableError(
            f"the schema registry at {self._url} failed on {what}", why, "headrace doctor"
        )
