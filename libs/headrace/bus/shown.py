"""Records as people and programs read them: decoded through the registry, with coordinates and headers."""

import json
from datetime import UTC, datetime
from typing import Any

from headrace.bus.reading import Stamped
from headrace.bus.schemas import Registry, codec
from headrace.contracts.frame import UNFRAMED, unframe


def shown(stamped: Stamped, registry: Registry) -> dict[str, Any]:
    """Return a record with its coordinates; one that cannot be decoded has ``error`` and its bytes in hex."""
    record, appended = stamped
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "appended": _time(appended),
        "key": _text(record.key),
        "headers": {name: _text(value) for name, value in record.headers},
        **_value(record.value, registry),
    }


def _value(value: bytes | None, registry: Registry) -> dict[str, Any]:
    if value is None:
        return {"record": None, "value": None}
    schema_id, body = unframe(value)
    schema = registry.schema(schema_id)
    if schema is None:
        why = (
            "not in the Confluent wire format"
            if schema_id == UNFRAMED
            else f"schema id {schema_id} is unknown"
        )
        return {"record": None, "value": None, "error": why, "bytes": value.hex()}
    decoded = codec(schema).decode([body])
    if decoded.errors:
        return {"record": schema["name"], "value": None, "error": decoded.errors[0], "bytes": value.hex()}
    (fields,) = decoded.columns.to_pylist(maps_as_pydicts="strict")
    return {"record": schema["name"], "value": fields}


def as_json(told: Any, indent: int | None = None) -> str:
    """Return told things as JSON: times in ISO 8601, bytes as text or hex."""
    return json.dumps(told, default=plain, indent=indent, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Return a time as ISO 8601 and bytes as text or hex; raise TypeError for what is neither."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return _text(value)
    raise TypeError(f"{type(value).__name__} is nothing a record holds")


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _time(millis: int) -> str | None:
    if millis <= 0:
        return None
    return plain(datetime.fromtimestamp(millis / 1_000, tz=UTC))  # type: ignore[no-any-return]
