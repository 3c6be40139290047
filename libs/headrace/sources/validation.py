"""Ask a contract about events in JSON, without a broker: the rules and answers are ingestion's own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from headrace.bus.schemas import codec
from headrace.contracts.arrow import arrow_schema
from headrace.errors import UsageError
from headrace.pipeline.definition import Definition
from headrace.pipeline.rules import Violation, checker
from headrace.pipeline.schemas import raw_schema
from headrace.pipeline.unique import Holders, entries, repeated, unique_rules
from headrace.sources.wire import keys

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the contract says of one event: like a receipt, but accepted events have one too.

    ``verdict`` is of the event: ``rejected``, ``quarantined`` (answered, but nothing learns from it) or ``accepted``.
    """

    row: int
    event_id: str | None
    entity_key: str | None
    verdict: str
    rule: str = ""
    severity: str = ""
    path: str = ""
    expected: str = ""
    actual: str = ""
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as ``--json`` prints it."""
        return asdict(self)


def rows_of(text: str) -> list[Row]:
    """Return the events of a JSON object, a JSON array, or lines of JSON objects; raise ``UsageError`` for another text."""
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else _objects(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"line {error.lineno} is not JSON", error.msg, "one JSON object, an array, or one a line"
        ) from error
    if not found or not all(isinstance(row, dict) for row in found):
        raise UsageError(
            "there is no event in it", next_command="one JSON object, an array of them, or one a line"
        )
    return list(found)


def validate(
    definition: Definition, record: str, rows: Sequence[Row], now: int | None = None
) -> list[Answer]:
    """Return one answer for each event, and one more for each rule that it broke and passed; times are ISO 8601 or microseconds.

    ``now`` is the time of the last tick in microseconds UTC; without it no rule about freshness is asked.
    """
    if record not in definition.records:
        known = ", ".join(definition.records)
        raise UsageError(
            f"{definition.name} has no record type {record}",
            f"it has {known}",
            f"--record with one of {known}",
        )
    schema = raw_schema(definition, record)
    misread = {n: _misread(n, row, schema, definition.records[record].id) for n, row in enumerate(rows)}
    good = [n for n, wrong in misread.items() if not any(a.severity == "reject" for a in wrong)]
    batch = typed(definition, record, [rows[n] for n in good])
    answers = [answer for wrong in misread.values() for answer in wrong] + _checked(
        definition, record, batch, good, now
    )
    return sorted(answers, key=lambda answer: answer.row)


def typed(definition: Definition, record: str, rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows that the contract can hold as columns."""
    schema = arrow_schema(raw_schema(definition, record))
    return pa.RecordBatch.from_pylist([_typed(row, schema) for row in rows], schema)


def _objects(text: str) -> list[Any]:
    """Return the JSON values that follow one another in a text, over one line or many."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def _misread(number: int, row: Row, schema: Mapping[str, Any], id_field: str) -> list[Answer]:
    """Return what no producer could have encoded: missing fields, wrong types; and a warning for unknown fields."""
    said = row.get(id_field)
    event_id = None if said is None else str(said)
    wrong = [
        Answer(
            number,
            event_id,
            None,
            "rejected",
            "decode",
            "reject",
            field.name,
            *_type_text(field),
            _shown(row, field.name),
        )
        for field in arrow_schema(schema)
        if not _fits(row, field)
    ]
    if not wrong and (why := _unencodable(_typed(row, arrow_schema(schema)), schema)):
        wrong = [Answer(number, event_id, None, "rejected", "decode", "reject", "", "the schema", why)]
    known = arrow_schema(schema).names
    extra = [
        Answer(
            number,
            event_id,
            None,
            "accepted",
            "unknown-field",
            "warn",
            name,
            "a field of the contract",
            _shown(row, name),
        )
        for name in row
        if name not in known
    ]
    return wrong + extra


def _type_text(field: pa.Field) -> tuple[str]:
    return (f"{field.type}{' or null' if field.nullable else ''}",)


def _shown(row: Row, name: str) -> str:
    return json.dumps(row[name])[:200] if name in row else "nothing"


def _fits(row: Row, field: pa.Field) -> bool:
    if row.get(field.name) is None:
        return bool(field.nullable)
    value = row[field.name]
    if isinstance(value, bool) != pa.types.is_boolean(field.type):
        return False
    if pa.types.is_integer(field.type) and not isinstance(value, int):  # Arrow would cut 1.5 to 1
        return False
    try:
        pa.scalar(_plain(value, field.type), field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True


def _plain(value: Any, kind: pa.DataType) -> Any:
    """Return a time as Arrow takes it: ISO 8601 with a zone, or a whole number of the field's unit."""
    if not pa.types.is_timestamp(kind) or not isinstance(value, str):
        return value
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(f"{value} names no zone")
    return found


def _typed(row: Row, schema: pa.Schema) -> dict[str, Any]:
    return {f.name: None if row.get(f.name) is None else _plain(row[f.name], f.type) for f in schema}


def _unencodable(row: Row, schema: Mapping[str, Any]) -> str:
    try:
        codec(dict(schema)).encode(pa.RecordBatch.from_pylist([row], arrow_schema(schema)))
    except ValueError as error:
        return str(error)
    return ""


def _checked(
    definition: Definition, record: str, batch: pa.RecordBatch, numbers: Sequence[int], now: int | None
) -> list[Answer]:
    ids = [str(i) for i in batch[definition.records[record].id].to_pylist()]
    entities = keys(definition.records[record], batch).to_pylist()
    violations = checker(definition, record)(batch, now)
    violations = [*violations, *_repeated(definition, record, batch, ids, violations)]
    verdicts = ["accepted"] * len(ids)
    for severity, verdict in (("quarantine", "quarantined"), ("reject", "rejected")):
        for row in (row for v in violations if v.severity == severity for row in v.rows.tolist()):
            verdicts[row] = verdict
    answers = []
    for found in violations:
        for row, actual in zip(found.rows.tolist(), found.actual, strict=True):
            told = (found.rule, found.severity, found.path, found.expected, actual, found.hint)
            answers.append(Answer(numbers[row], ids[row], entities[row], verdicts[row], *told))
    accepted = [
        Answer(numbers[r], ids[r], entities[r], verdict)
        for r, verdict in enumerate(verdicts)
        if verdict != "rejected"
    ]
    return accepted + answers


def _repeated(
    definition: Definition,
    record: str,
    batch: pa.RecordBatch,
    ids: Sequence[str],
    violations: Sequence[Violation],
) -> list[Violation]:
    """Return the values that events repeat of each other; what was published before is not known here."""
    rules = unique_rules(definition, record)
    if not rules:
        return []
    refused = {row for v in violations if v.severity == "reject" for row in v.rows.tolist()}
    times = batch[definition.records[record].time].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    found = entries(rules, batch, range(len(ids)), ids, times.to_pylist())
    holders = Holders(lambda names: [None] * len(names))
    return repeated([e for e in found if e.row not in refused], holders, lambda _: False)
