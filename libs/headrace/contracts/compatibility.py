"""May a new version of a schema stand beside the old ones? Our classification and Apache Avro's checker must both agree."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from headrace.contracts.changes import KINDS, Change, changes

Mode = Literal[
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Objection:
    """A change that a mode forbids."""

    change: Change
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What changed since the newest old version, what of all versions' changes breaks, and what Avro's checker says."""

    mode: Mode
    changes: list[Change]
    objections: list[Objection]
    avro: list[str]

    @property
    def good(self) -> bool:
        """Tell whether the new version may be published."""
        return not self.objections


def judge(old: Sequence[Schema], new: Schema | None, mode: Mode) -> Verdict:
    """Return the verdict on a new version (None: removed) after old ones, oldest first; a transitive mode asks all of them."""
    if new is None:
        gone = Change("record-removed", "", str(old[-1]["name"]), "")
        return Verdict(mode, [gone], _objections([gone], mode), [])
    if not old:
        return Verdict(mode, [Change("record-added", "", "", str(new["name"]))], [], [])
    asked = old if mode.endswith("_TRANSITIVE") else old[-1:]
    objections: list[Objection] = []
    avro_says: list[str] = []
    for version in asked:
        said = avro_objections(version, new, mode)
        found = _objections(changes(version, new), mode)
        if said and not found:
            found = _objections([Change("unexplained", "", "", "; ".join(said))], mode)
        objections += [o for o in found if o not in objections]
        avro_says += [s for s in said if s not in avro_says]
    return Verdict(mode, changes(old[-1], new), objections, avro_says)


def avro_objections(old: Schema, new: Schema, mode: Mode) -> list[str]:
    """Return what Apache Avro's checker objects to in the directions that a mode asks for."""
    directions = {"BACKWARD": (new, old), "FORWARD": (old, new)}
    return [
        f"{direction.lower()}: {message}"
        for direction, (reader, writer) in directions.items()
        if _asks(mode, direction)
        for message in _messages(reader, writer)
    ]


def _messages(reader: Schema, writer: Schema) -> list[str]:
    parsed = (avro.schema.parse(json.dumps(s)) for s in (reader, writer))
    found = ReaderWriterCompatibilityChecker().get_compatibility(*parsed)
    if found.compatibility is SchemaCompatibilityType.compatible:
        return []
    return sorted(found.messages) or ["incompatible"]


def _objections(found: Sequence[Change], mode: Mode) -> list[Objection]:
    return [Objection(c, KINDS[c.kind].why, KINDS[c.kind].fix) for c in found if breaks(c.kind, mode)]


def breaks(kind: str, mode: Mode) -> bool:
    """Tell whether a mode forbids a kind of change."""
    known = KINDS[kind]
    return (_asks(mode, "BACKWARD") and not known.backward) or (_asks(mode, "FORWARD") and not known.forward)


def _asks(mode: Mode, direction: str) -> bool:
    return mode.startswith((direction, "FULL"))
