"""Dead letters: what became of each, and the records that submit them again, changed or as they were.

A letter is known by the place of its raw record. A record that submits it again names that place in the header
``repaired_from``, so a command that is run twice sends nothing twice; two that run at once are caught by ingestion,
which drops a second body under an accepted event id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from headrace.bus.commanding import order
from headrace.bus.engine import decode_plain
from headrace.bus.observer import Said
from headrace.bus.reading import Log, Span
from headrace.bus.records import Headers, Incoming, Outgoing
from headrace.bus.refusals import ATTEMPTS, attempts
from headrace.bus.schemas import Registry
from headrace.contracts.topics import COMMANDS, EVENTS, REJECTED
from headrace.errors import UsageError
from headrace.pipeline.definition import Definition
from headrace.sources.source import Step
from headrace.sources.validation import Answer, typed, validate
from headrace.sources.wire import ANY_PARTITION, Wire

REPAIRED_FROM = "repaired_from"
SOURCE = "headrace/dlq"
State = Literal["open", "resubmitted", "discarded"]
Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its Rejection, what became of it, and the event if its bytes could be read."""

    fields: Mapping[str, Any]
    state: State
    value: Value | None

    @property
    def id(self) -> str:
        """Return the id of the rejection."""
        return str(self.fields["rejection_id"])

    @property
    def place(self) -> str:
        """Return where the raw record lies: topic/partition@offset."""
        return _place(self.fields["origin"])

    def as_dict(self) -> dict[str, Any]:
        """Return the letter as ``--json`` prints it; a changed ``value`` in it is a repair."""
        told = {name: found for name, found in self.fields.items() if name != "raw"}
        return {**told, "place": self.place, "state": self.state, "value": self.value}


@dataclass(frozen=True, slots=True)
class Repair:
    """A letter with its new value, and what the contract says of it."""

    letter: Letter
    value: Value
    answer: Answer


def letters(log: Log, registry: Registry, pipeline: str) -> list[Letter]:
    """Return every dead letter of a pipeline in the order of its topic."""
    again, gone = _again(log, pipeline), _discarded(log, registry, pipeline)
    found = decode_plain(_records(log, REJECTED.name(pipeline)), registry)
    return [Letter(fields, _state(fields, again, gone), _value(fields, registry)) for _, _, fields in found]


def _state(fields: Mapping[str, Any], again: set[str], gone: set[str]) -> State:
    if fields["rejection_id"] in gone:
        return "discarded"
    return "resubmitted" if _place(fields["origin"]) in again else "open"


def _again(log: Log, pipeline: str) -> set[str]:
    """Return the places that records of the raw topic say they were repaired from."""
    headers = (dict(r.headers) for r in _records(log, EVENTS.name(pipeline)))
    return {h[REPAIRED_FROM].decode("utf-8", "replace") for h in headers if h.get(REPAIRED_FROM)}


def _discarded(log: Log, registry: Registry, pipeline: str) -> set[str]:
    found = decode_plain(_records(log, COMMANDS.name()), registry)
    mine = (f for _, name, f in found if name == "LettersDiscarded" and f["pipeline"] == pipeline)
    return {letter for fields in mine for letter in fields["rejection_ids"]}


def _records(log: Log, topic: str) -> Iterable[Incoming]:
    return (s.record for s in log.read([Span(topic, p, 0, end) for p, end in log.ends(topic).items()]))


def _place(origin: Mapping[str, Any]) -> str:
    return f"{origin['topic']}/{origin['partition']}@{origin['offset']}"


def _value(fields: Mapping[str, Any], registry: Registry) -> Value | None:
    if fields["record"] is None or not fields["raw"]:
        return None
    raw = Incoming(fields["origin"]["topic"], 0, 0, None, fields["raw"])
    ((_, _, value),) = decode_plain([raw], registry)
    return value


def changed(definition: Definition, chosen: Sequence[Letter], changes: Mapping[str, Value]) -> list[Repair]:
    """Return repairs: each letter of ``chosen`` with the changes under its id put over its fields.

    Raises:
        UsageError: for a change of an event's id, or of bytes that say no record type.
    """
    repairs = []
    for record in sorted({_type(definition, letter) for letter in chosen}):
        id_column = definition.records[record].id
        mine = [letter for letter in chosen if _type(definition, letter) == record]
        values = [{**(letter.value or {}), **changes[letter.id]} for letter in mine]
        for letter, value in zip(mine, values, strict=True):
            if letter.value is not None and str(value.get(id_column)) != letter.fields["event_id"]:
                raise UsageError(
                    f"a repair keeps {id_column}",
                    f"it is {letter.fields['event_id']}, and would be {value.get(id_column)}",
                    "publish another event instead",
                )
        answers = {
            a.row: a for a in reversed(validate(definition, record, values)) if a.severity in ("", "reject")
        }
        repairs += [Repair(m, v, answers[n]) for n, (m, v) in enumerate(zip(mine, values, strict=True))]
    return repairs


def _type(definition: Definition, letter: Letter) -> str:
    """Return the letter's record type; bytes that could not be read are taken for an event."""
    return str(letter.fields["record"] or definition.event)


def rewritten(definition: Definition, registry: Registry, repairs: Sequence[Repair]) -> list[Outgoing]:
    """Return the raw records of repairs, in their partition unless the repair changed the key."""
    wire, records = Wire(definition, registry, SOURCE), []
    for name in sorted({_type(definition, r.letter) for r in repairs}):
        mine = [r for r in repairs if _type(definition, r.letter) == name]
        rows = np.arange(len(mine), dtype=np.int32)
        step = Step(0, 0, {name: typed(definition, name, [r.value for r in mine])}, np.zeros_like(rows), rows)
        for repair, out in zip(mine, wire.records(step), strict=True):
            fields = repair.letter.fields
            kept = (fields["entity_key"] or "").encode() == out.key
            partition = fields["origin"]["partition"] if kept else ANY_PARTITION
            records.append(out._replace(partition=partition, headers=_marked(out.headers, repair.letter)))
    return records


def replayed(chosen: Sequence[Letter]) -> list[Outgoing]:
    """Return the raw records of letters as they came, for a contract that has changed since."""
    return [
        Outgoing(
            letter.fields["origin"]["topic"],
            letter.fields["origin"]["partition"],
            (letter.fields["entity_key"] or "").encode(),
            letter.fields["raw"],
            _marked(sorted(letter.fields["headers"].items()), letter),
        )
        for letter in chosen
    ]


def _marked(headers: Headers, letter: Letter) -> Headers:
    count = attempts(list(letter.fields["headers"].items())) + 1
    kept = [(name, value) for name, value in headers if name not in (REPAIRED_FROM, ATTEMPTS)]
    return [*kept, (REPAIRED_FROM, letter.place.encode()), (ATTEMPTS, str(count).encode())]


def discarded(pipeline: str, chosen: Sequence[Letter], why: str, *, by: str | None = None) -> Said:
    """Return the event that puts letters away; raise UsageError for an empty reason."""
    ids = [letter.id for letter in chosen]
    return Said(COMMANDS, "LettersDiscarded", {**order(pipeline, why, by), "rejection_ids": ids})
