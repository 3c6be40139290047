"""Refused rows as records: the dead letter with the bytes as they arrived, and the receipt that answers."""

from collections.abc import Sequence
from itertools import takewhile
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus import hashes
from headrace.bus.joining import joined
from headrace.bus.service import Batch, Emit, Refused
from headrace.contracts.arrow import as_type, same
from headrace.contracts.topics import RECEIPTS, REJECTED, Topic

NAMESPACE: UUID = uuid5(NAMESPACE_URL, "urn:headrace")
ATTEMPTS = "attempts"
UNREADABLE = "headrace_unreadable"  # header of a record that stands for a place: why its bytes cannot be had
_MOST_DIGITS = 4
_MANY = 200  # rows from which on it is worth while to see whether they are alike
_HEADERS = pa.map_(pa.string(), pa.binary())


def derived_id(*parts: object) -> str:
    """Return the UUIDv5 (RFC 9562, 5.5) of its cause's parts: the same cause, the same id, in any run."""
    return str(uuid5(NAMESPACE, "/".join(map(str, parts))))


def derived_ids(parts: Sequence[pa.Array | str]) -> pa.Array:
    """Return :func:`derived_id` of each row: of its values in the columns, and of the texts that all rows share."""
    told = [part if isinstance(part, str) else _in_words(part) for part in parts]
    if all(isinstance(part, str) for part in told):
        return same(derived_id(*told), max(len(part) for part in parts if not isinstance(part, str)))
    begin = list(takewhile(lambda part: isinstance(part, str), told))
    names = joined(told[len(begin) :], "/")
    prefix = "".join(f"{part}/" for part in begin)
    return hashes.texts(hashes.uuids(hashes.sha1(names, NAMESPACE.bytes + prefix.encode())))


def _in_words(column: pa.Array) -> pa.Array | str:
    """Return a column's values as texts; of one that has the same in each of many rows, that."""
    if len(column) >= _MANY and not column.null_count and pc.all(pc.equal(column, column[0])).as_py():
        return str(column[0])
    return as_type(column, pa.string())


def refusal_emits(refusals: Sequence[Refused], batch: Batch) -> dict[Topic, list[Emit]]:
    """Return dead letters (severity reject) and receipts (every severity) of the refused rows."""
    refusals = [refused for refused in refusals if len(refused.rows)]
    if not refusals:
        return {}
    rows, told = _reasons(refusals, batch)
    emits: dict[Topic, list[Emit]] = {}
    rejects = pc.equal(told["severity"], "reject")
    if rejects.true_count:
        dead = rows[rejects.to_numpy(zero_copy_only=False)]
        emits[REJECTED] = [Emit("Rejection", _letters(told.filter(rejects), dead, batch), cause=dead)]
    receipts = told.rename_columns(["receipt_id", *told.schema.names[1:]])
    return {**emits, RECEIPTS: [Emit("Receipt", receipts, cause=rows)]}


def _reasons(refusals: Sequence[Refused], batch: Batch) -> tuple[np.ndarray, pa.RecordBatch]:
    """Return what is told of each refusal, by row and of one row in the order given, and its row."""
    rows = np.concatenate([refused.rows for refused in refusals])
    order = np.argsort(rows, kind="stable")
    rows, which = rows[order], np.repeat(np.arange(len(refusals)), [len(r.rows) for r in refusals])[order]

    def shared(name: str) -> pa.StringArray:
        return pa.array([getattr(refused, name) for refused in refusals], pa.string()).take(pa.array(which))

    actual = pa.array([found for refused in refusals for found in refused.actual], pa.string())
    rule, origins = shared("rule"), batch.lineage["origin"].take(pa.array(rows)).flatten()
    columns = {
        "rejection_id": derived_ids([*origins, rule]),
        "record": _records(batch, rows),
        "rule": rule,
        **{name: shared(name) for name in ("severity", "path", "expected", "hint")},
        "actual": actual.take(pa.array(order)),
    }
    return rows, pa.RecordBatch.from_pydict(columns)


def _letters(told: pa.RecordBatch, rows: np.ndarray, batch: Batch) -> pa.RecordBatch:
    """Return dead letters: what is told of rows, with their bytes and headers as they arrived."""
    headers = [batch.headers[row] if batch.headers else () for row in rows.tolist()]
    bodies = (
        batch.bodies.take(pa.array(rows)) if batch.bodies is not None else same(b"", len(rows), pa.binary())
    )
    more = {
        "raw": bodies,
        "headers": pa.array([_unique(h) for h in headers], _HEADERS),
        "attempts": pa.array([attempts(h) for h in headers], pa.int32()),
    }
    return pa.RecordBatch.from_pydict(dict(zip(told.schema.names, told.columns, strict=True)) | more)


def _records(batch: Batch, rows: np.ndarray) -> pa.StringArray:
    """Return the record type of each row; one that could not be decoded has none."""
    names = pa.array(list(batch.records), pa.string())
    types = np.full(len(batch), -1)
    for n, selection in enumerate(batch.records.values()):
        types[selection.rows] = n
    found = types[rows]
    return names.take(pa.array(found, mask=found < 0))


def attempts(headers: Sequence[tuple[str, bytes]]) -> int:
    """Return how often an event was submitted, as the header of a re-submission says; 1 where none counts."""
    said = dict(headers).get(ATTEMPTS) or b""
    return int(said) if said.isdigit() and len(said) <= _MOST_DIGITS else 1


def _unique(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return sorted(dict(headers).items())
