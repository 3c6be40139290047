"""What a rule has quarantined: events and labels by id, until their outcome is told."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from headrace.bus.service import Due, Row, Rows, Table
from headrace.pipeline.schemas import MARK, marked

MARKS = Table("marks", pa.schema([("rule", pa.string()), ("due", pa.int64())]), due="due")
EVENT, LABEL = "event", "label"


def remember(rows: Rows, kind: str, columns: pa.RecordBatch, keep: int) -> None:
    """Remember which records are quarantined, and by which rule, for ``keep`` microseconds of event time."""
    found = marked(columns)
    if found is None:
        return
    at = pa.array(np.flatnonzero(found))
    ids = columns["event_id"].take(at).to_pylist()
    rules = columns[MARK].take(at).to_pylist()
    dues = [time + keep for time in columns["event_time"].cast(pa.int64()).take(at).to_pylist()]
    rows[MARKS.name].put([f"{kind}|{i}" for i in ids], list(zip(rules, dues, strict=True)))


def rules(rows: Rows, due: Due, events: Sequence[str], labels: Sequence[str | None]) -> list[str | None]:
    """Return for each event and its label the rule that quarantined it: the event's, else the label's, else None.

    A mark may be ``due`` at the very close that tells the outcome.
    """
    over: Mapping[str, Row] = dict(due.get(MARKS.name, ()))
    found = _found(rows, over, [f"{EVENT}|{i}" for i in events])
    told = _found(rows, over, [f"{LABEL}|{i}" for i in labels])
    return [mine or other for mine, other in zip(found, told, strict=True)]


def _found(rows: Rows, over: Mapping[str, Row], keys: Sequence[str]) -> list[str | None]:
    held = rows[MARKS.name].get(keys)
    return [(row or over.get(key) or (None,))[0] for key, row in zip(keys, held, strict=True)]
