"""What drift remembers of one pipeline: the open block, the blocks in the bag, and the detectors' evidence."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from headrace.bus.service import Rows, Table
from headrace.stats.detectors import Block, DriftMonitor
from headrace.stats.profiles import Profile

TABLE = Table("blocks", pa.schema([("text", pa.string())]))
OPEN, JUDGED = "open", "judged"
_BAG = "block/"


class Open(NamedTuple):
    """The block that collects profiles: when it began, who served in it (in order), what it counted, whether labels were suspect, and inputs."""

    at: int
    champions: tuple[str, ...]
    profile: Profile
    suspect: bool = False
    distrusted: bool = False


class Judged(NamedTuple):
    """Where the last judged block ended, and whose evidence is held."""

    until: int = 0
    champion: str | None = None
    evidence: dict[str, list[float]] | None = None


def load_open(rows: Rows) -> Open | None:
    """Return the open block, or None before its first profile."""
    held = rows[TABLE.name].get([OPEN])[0]
    if held is None:
        return None
    at, champions, *rest = json.loads(held[0])
    return Open(at, tuple(champions), *rest)


def load_judged(rows: Rows) -> Judged:
    """Return what the last judgement left."""
    held = rows[TABLE.name].get([JUDGED])[0]
    return Judged(*json.loads(held[0])) if held else Judged()


def save(rows: Rows, key: str, value: Open | Judged | Profile) -> None:
    """Keep a value as canonical JSON."""
    rows[TABLE.name].put([key], [(json.dumps(value, sort_keys=True, separators=(",", ":")),)])


def load_bag(rows: Rows) -> tuple[Block, ...]:
    """Return the blocks in the bag, oldest first."""
    return tuple(
        Block(int(key.removeprefix(_BAG)), _parsed(text))
        for key, (text,) in rows[TABLE.name].all()
        if key.startswith(_BAG)
    )


def save_bag(rows: Rows, before: Sequence[Block], after: DriftMonitor) -> None:
    """Write the blocks that are new or changed and drop those that left."""
    held = {block.at: block.profile for block in before}
    for block in after.bag:
        if held.pop(block.at, None) is not block.profile:
            save(rows, _key(block.at), block.profile)
    rows[TABLE.name].delete([_key(at) for at in held])


def _key(at: int) -> str:
    return f"{_BAG}{at:020d}"


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Profile:
    """Return a profile that nobody changes: the same text, the same object."""
    profile: Profile = json.loads(text)
    return profile
