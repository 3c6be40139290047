"""Stretches of labels or inputs that no decision may rest on, folded from control.quarantine.

A stretch of inputs has the name of its record type after ``records/`` in place of a slice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

OPEN_END = 2**63 - 1
Stretch = tuple[str, int, int]
"""A slice of labels, and from when until when (microseconds of their event time, the end exclusive)."""
_RECORDS = "records/"


def records_slice(record: str) -> str:
    """Return the name that stretches of a record type have."""
    return _RECORDS + record


def records_of(name: str) -> str | None:
    """Return the record type that a stretch of this name is of; None for a slice of labels."""
    return name.removeprefix(_RECORDS) if name.startswith(_RECORDS) else None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The stretches in force, by the id of their quarantine."""

    held: Mapping[str, Stretch] = field(default_factory=dict)

    def stretches(self) -> list[Stretch]:
        """Return the stretches in a fixed order."""
        return sorted(self.held.values())

    @property
    def open(self) -> list[str]:
        """Return the slices whose labels break their contract now."""
        return sorted(name for name, _, until in self.held.values() if until == OPEN_END)

    def covers(self, name: str, time: int) -> bool:
        """Tell whether a label of a slice at an instant is quarantined."""
        return any(s == name and since <= time < until for s, since, until in self.held.values())

    def touches(self, record: str, begin: int, end: int) -> bool:
        """Tell whether records of a type between two instants, the end exclusive, are quarantined in part."""
        name = records_slice(record)
        return any(s == name and since < end and begin < until for s, since, until in self.held.values())

    def state(self) -> dict[str, list[Any]]:
        """Return JSON values that :meth:`restore` takes back."""
        return {key: list(stretch) for key, stretch in self.held.items()}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> "Quarantine":
        """Return the quarantine that :meth:`state` gave."""
        return cls({key: (name, since, until) for key, (name, since, until) in state.items()})


def fold(state: Quarantine | None, record: str, fields: Mapping[str, Any]) -> Quarantine:
    """Take one record of control.quarantine: a stretch begins, ends, or is released by an operator."""
    state = state or Quarantine()
    key = fields["quarantine_id"]
    held = dict(state.held)
    if record in ("LabelsQuarantined", "InputsQuarantined"):
        held[key] = (fields["slice"], fields["since"], OPEN_END)
    elif key in held and record == "QuarantineEnded":
        name, since, _ = held[key]
        held[key] = (name, since, fields["until"])
    elif record == "QuarantineReleased":
        held.pop(key, None)
    return replace(state, held=held)
