"""Control records as emits: typed by their contract, one a row, so that their order on the log is that of the list."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from headrace.bus.service import Emit
from headrace.contracts import catalogue
from headrace.contracts.arrow import arrow_schema


@cache
def _types(record: str) -> pa.Schema:
    return arrow_schema(catalogue.schema(record))


def control(record: str, **fields: Any) -> Emit:
    """Return one control record; times are microseconds, maps are dicts; a field left out must be nullable."""
    return Emit(record, pa.RecordBatch.from_pylist([fields], schema=_types(record)))


def effect(effect_id: str, pipeline: str, tick: int, kind: str, payload: Mapping[str, Any]) -> Emit:
    """Return a request for I/O; the payload travels as canonical JSON and knows its effect's id."""
    text = json.dumps({**payload, "effect_id": effect_id}, sort_keys=True, separators=(",", ":"))
    return control(
        "EffectRequested", effect_id=effect_id, pipeline=pipeline, tick=tick, kind=kind, payload=text
    )
