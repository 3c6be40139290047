"""What a service itself says of its state when it leaves: one digest for each table and partition."""

import hashlib
import json
from array import array
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from headrace.bus import run
from headrace.bus.engine import Engine
from headrace.bus.service import Row


def noted() -> list[Engine]:
    """Make the service's process keep hold of the engine it runs, and return where."""
    held: list[Engine] = []

    class Noted(Engine):
        """An engine that is remembered."""

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            held.append(self)

    vars(run)["Engine"] = Noted
    return held


def told(engines: list[Engine], service: str) -> dict[str, str]:
    """Return what the engine of a service says."""
    own = [engine for engine in engines if engine.service.name == service]
    return digests(own) if decided(engines) else {"unknown": "it left too early to know"}


def decided(engines: list[Engine]) -> bool:
    """Tell whether a process knows its state.

    Not so when it was told to leave before it had restored anything, or before it learnt of its last commit.
    """
    lanes = [lane for engine in engines for lane in engine.lanes.values()]
    return bool(lanes) and all(lane.progress == lane.saved for lane in lanes)


def digests(engines: list[Engine]) -> dict[str, str]:
    """Return sha256 over the sorted rows of ``partition/table``; rows as JSON, bytes in hex, maps as pairs."""
    found = {}
    for engine in engines:
        for (_, partition), lane in engine.lanes.items():
            for name, table in lane.states.items():
                maps = [pa.types.is_map(f.type) for f in table.table.columns]
                lines = sorted(json.dumps([key, _row(row, maps)]) for key, row in table.all())
                found[f"{partition}/{name}"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found


def _row(row: Row, maps: Sequence[bool]) -> list[Any]:
    """Return a row's cells; a map is a list of pairs in a service, in whatever order it was made."""
    return [
        _plain(dict(cell) if is_map and cell is not None else cell)
        for cell, is_map in zip(row, maps, strict=True)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return [[key, _plain(held)] for key, held in sorted(value.items())]
    if isinstance(value, list | tuple | array):
        return [_plain(held) for held in value]
    return value.item() if hasattr(value, "item") else value
