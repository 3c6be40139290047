"""Records that an operator lets a service step over, because they break its handler: each ends as a rejection.

An order names a raw record, not a tick: the tick that holds the record cannot close before the order is obeyed, so no
later cut of the control topics could carry it. What is obeyed is in the log, in the transaction that moved the offset:
the rejection. A replay obeys the orders that have one, and no other.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from headrace.bus.service import Batch, Refused, Rows, Selection, Step

RULE = "skipped"
ORDER = "SkipRequested"


class Skip(NamedTuple):
    """A raw record that a service shall not handle."""

    service: str
    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Skips:
    """The orders of one pipeline; ``proven`` holds those a replay may obey (None: all)."""

    proven: Collection[Skip] | None = None
    orders: dict[Skip, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a SkipRequested; the first of two for one record stands."""
        skip = Skip(*(record[name] for name in Skip._fields))
        if self.proven is None or skip in self.proven:
            self.orders.setdefault(skip, record)

    def pieces(self, service: str, batch: Batch) -> Iterator[tuple[Batch, Mapping[str, Any] | None]]:
        """Yield a batch in pieces of log order: those to handle (None), and each record to skip with its order."""
        at = 0
        for row, order in self._rows(service, batch):
            if row > at:
                yield stretch(batch, at, row), None
            yield stretch(batch, row, row + 1), order
            at = row + 1
        if at == 0:
            yield batch, None
        elif at < len(batch):
            yield stretch(batch, at, len(batch)), None

    def _rows(self, service: str, batch: Batch) -> list[tuple[int, Mapping[str, Any]]]:
        mine = [(s, o) for s, o in self.orders.items() if s.service == service]
        if not mine or "origin" not in batch.lineage.schema.names:
            return []
        topics, partitions, offsets, _ = batch.lineage["origin"].flatten()
        partition, offset = partitions.to_numpy(), offsets.to_numpy()
        found = [
            (row, order)
            for skip, order in mine
            for row in np.flatnonzero((partition == skip.partition) & (offset == skip.offset)).tolist()
            if topics[row].as_py() == skip.topic
        ]
        return sorted(found, key=lambda item: item[0])


def refuse(batch: Batch, rows: Rows, order: Mapping[str, Any]) -> Step:
    """Refuse a record because an operator said so: what is done in place of the handler."""
    del rows
    refused = Refused(
        rows=np.arange(len(batch)),
        rule=RULE,
        path="",
        expected=expected(order["service"]),
        actual=[f"skipped by {order['by']}: {order['why']}"[:200]] * len(batch),
        hint="the handler will be corrected; publish a new event with an id of its own",
    )
    return Step(refused=[refused])


def expected(service: str) -> str:
    """Return what a rejection says that a service's skipped record should have been."""
    return f"a record that {service} can handle"


def proven(orders: Collection[Mapping[str, Any]], rejections: Collection[Mapping[str, Any]]) -> set[Skip]:
    """Return the orders that were obeyed: those whose rejection lies on the log."""
    obeyed = {
        (r["origin"]["topic"], r["origin"]["partition"], r["origin"]["offset"], r["expected"])
        for r in rejections
        if r["rule"] == RULE
    }
    asked = [Skip(*(order[name] for name in Skip._fields)) for order in orders]
    return {s for s in asked if (s.topic, s.partition, s.offset, expected(s.service)) in obeyed}


def stretch(batch: Batch, start: int, stop: int) -> Batch:
    """Return rows ``start`` to ``stop`` of a batch as a batch."""
    records = {}
    for name, selection in batch.records.items():
        low, high = np.searchsorted(selection.rows, (start, stop))
        if high > low:
            records[name] = Selection(
                selection.rows[low:high] - start, selection.columns.slice(low, high - low)
            )
    return replace(
        batch,
        lineage=batch.lineage.slice(start, stop - start),
        records=records,
        bodies=None if batch.bodies is None else batch.bodies[start:stop],
        headers=batch.headers[start:stop],
        broken={row - start: why for row, why in batch.broken.items() if start <= row < stop},
        controls=batch.controls[start:stop],
    )
