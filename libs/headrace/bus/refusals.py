"""Refused rows as records: the dead letter with the bytes as they arrived, and the receipt that answers."""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.bus import hashes
from headrace.bus.service import Batch, Emit, Refused
from headrace.contracts.arrow import as_type
from headrace.contracts.topics import RECEIPTS, REJECTED, Topic

NAMESPACE: UUID = uuid5(NAMESPACE_URL, "urn:headrace")
ATTEMPTS = "attempts"
UNREADABLE = "headrace_unreadable"  # header of a record that stands for a place: why its bytes cannot be had
_MOST_DIGITS = 4
_HEADERS = pa.map_(pa.string(), pa.binary())


def derived_id(*parts: object) -> str:
    """Return the UUIDv5 (RFC 9562, 5.5) of its cause's parts: the same cause, the same id, in any run."""
    return str(uuid5(NAMESPACE, "/".join(map(str, parts))))


def derived_ids(begin: Sequence[str], columns: Sequence[pa.Array], end: str) -> pa.Array:
    """Return :func:`derived_id` of each row: of parts with which all begin, the row's values, and one that ends all."""
    names = pc.binary_join_element_wise(*(as_type(c, pa.string()) for c in columns), pa.scalar(end), "/")
    prefix = "".join(f"{part}/" for part in begin)
    return hashes.texts(hashes.uuids(hashes.sha1(names, NAMESPACE.bytes + prefix.encode())))


def refusal_emits(refusals: Sequence[Refused], batch: Batch) -> dict[Topic, list[Emit]]:
    """Return dead letters (severity reject) and receipts (every severity) of the refused rows."""
    emits: dict[Topic, list[Emit]] = {REJECTED: [], RECEIPTS: []}
    for refused in refusals:
        if not len(refused.rows):
            continue
        rows = [int(row) for row in refused.rows]
        told = {
            "record": _records(batch, refused.rows),
            "rule": [refused.rule] * len(rows),
            "severity": [refused.severity] * len(rows),
            "path": [refused.path] * len(rows),
            "expected": [refused.expected] * len(rows),
            "actual": list(refused.actual),
            "hint": [refused.hint] * len(rows),
        }
        origins = batch.lineage["origin"].take(pa.array(rows, pa.int64())).flatten()
        ids = derived_ids((), origins, refused.rule)
        emits[RECEIPTS].append(
            Emit("Receipt", pa.RecordBatch.from_pydict({"receipt_id": ids, **told}), cause=refused.rows)
        )
        if refused.severity == "reject":
            headers = [batch.headers[row] if batch.headers else () for row in rows]
            letter = {
                "rejection_id": ids,
                **told,
                "raw": _bodies(batch, rows),
                "headers": pa.array([_unique(h) for h in headers], _HEADERS),
                "attempts": pa.array([attempts(h) for h in headers], pa.int32()),
            }
            emits[REJECTED].append(Emit("Rejection", pa.RecordBatch.from_pydict(letter), cause=refused.rows))
    return {topic: found for topic, found in emits.items() if found}


def _records(batch: Batch, rows: np.ndarray) -> pa.StringArray:
    """Return the record type of each row; one that could not be decoded has none."""
    names = np.full(len(batch), None, object)
    for name, selection in batch.records.items():
        names[selection.rows] = name
    return pa.array(names[rows], pa.string())


def _bodies(batch: Batch, rows: Sequence[int]) -> pa.BinaryArray:
    if batch.bodies is None:
        return pa.array([b""] * len(rows), pa.binary())
    return batch.bodies.take(pa.array(rows, pa.int64()))


def attempts(headers: Sequence[tuple[str, bytes]]) -> int:
    """Return how often an event was submitted, as the header of a re-submission says; 1 where none counts."""
    said = dict(headers).get(ATTEMPTS) or b""
    return int(said) if said.isdigit() and len(said) <= _MOST_DIGITS else 1


def _unique(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return sorted(dict(headers).items())
