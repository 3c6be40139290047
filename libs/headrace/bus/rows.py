"""State of one lane: keyed rows, a log of before-images for aborts, and the rows that fall due."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.bus.service import Row, Table
from headrace.bus.undo import Undo

_ABSENT: Row = ()


class State:
    """The rows of one table in one lane, with what the open transactions changed.

    The queue has an entry for each row that falls due, at its due time or earlier: a row that is put off keeps the one
    it has, and gets another when that one comes up. So the queue grows with the keys and not with their changes.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._rows: dict[str, Row] = {}
        self._before: Undo[dict[str, Row]] = Undo(dict)
        self._queue: list[tuple[int, str]] = []
        self._taken: Undo[set[str]] = Undo(set)
        self._due = table.columns.get_field_index(table.due) if table.due else None
        self.index: Any = table.index() if table.index else None

    def get(self, keys: Sequence[str]) -> list[Row | None]:
        """Return the row of each key, or None."""
        return list(map(self._rows.get, keys))

    def all(self) -> list[tuple[str, Row]]:
        """Return every key and row, sorted by key."""
        return sorted(self._rows.items())

    def restore(self, rows: Mapping[str, Row | None]) -> None:
        """Take changelog entries, outside any transaction."""
        self._put(rows)

    def apply(self, changes: Mapping[str, Row | None]) -> None:
        """Apply a handler's changes inside the open transaction."""
        before, rows = self._before.newest, self._rows
        for key in changes:
            if key not in before:
                before[key] = rows.get(key, _ABSENT)
        self._put(changes)

    def changed(self) -> dict[str, Row | None]:
        """Return the rows the newest transaction changed, as they are now (None: gone)."""
        before = self._before.newest
        return dict(zip(before, map(self._rows.get, before), strict=True))

    def begin(self) -> None:
        """Begin a transaction on top of the open one."""
        self._before.begin()
        self._taken.begin()

    def commit(self) -> None:
        """Forget the before-images of the oldest transaction."""
        self._before.keep()
        self._taken.keep()

    def rollback(self) -> None:
        """Put every before-image of the newest transaction back."""
        before = self._before.back()
        self._put({key: None if row is _ABSENT else row for key, row in before.items()})
        # A step that failed before it did anything about what was due.
        self._put({key: self._rows.get(key) for key in self._taken.newest - before.keys()})
        self._taken.back()

    def due(self, time: int) -> list[tuple[str, Row]]:
        """Return the rows due at ``time``, sorted by (due, key)."""
        found: dict[str, tuple[int, str, Row]] = {}
        while self._queue and self._queue[0][0] <= time:
            early, key = heapq.heappop(self._queue)
            row = self._rows.get(key)
            due = self._when(row)
            if row is None or due is None:
                continue
            if due > early:
                heapq.heappush(self._queue, (due, key))
            else:
                found[key] = (due, key, row)
        self._taken.newest.update(found)
        return [(key, row) for _, key, row in sorted(found.values(), key=lambda item: item[:2])]

    def _put(self, changes: Mapping[str, Row | None]) -> None:
        """Set rows, and queue those that fall due and have no entry yet, or one that is too late."""
        if self._due is not None:
            self._queue_up(changes, self._due)
        self._rows |= changes  # type: ignore[arg-type]  # what is gone goes next
        for key in [key for key, row in changes.items() if row is None]:
            del self._rows[key]
        if self.index is not None:
            self.index.change(changes)

    def _queue_up(self, changes: Mapping[str, Row | None], at: int) -> None:
        rows, taken = self._rows, self._taken.newest
        for key, row in changes.items():
            if row is None or row[at] is None:
                continue
            held = rows.get(key)
            if held is None or held[at] is None or row[at] < held[at] or key in taken:
                heapq.heappush(self._queue, (row[at], key))
                taken.discard(key)

    def _when(self, row: Row | None) -> int | None:
        return None if row is None or self._due is None else row[self._due]


class Overlay:
    """A handler's private copy of one table: reads fall through, writes stay here until they are applied."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.changes: dict[str, Row | None] = {}

    @property
    def index(self) -> Any:
        """Return the table's index; it does not see the changes."""
        return self._state.index

    def get(self, keys: Sequence[str]) -> list[Row | None]:
        """Return the row of each key, or None."""
        if not self.changes:
            return self._state.get(keys)
        held = self._state.get(keys)
        return [self.changes.get(key, row) for key, row in zip(keys, held, strict=True)]

    def all(self) -> list[tuple[str, Row]]:
        """Return every key and row, sorted by key."""
        merged = dict(self._state.all()) | self.changes
        return sorted((key, row) for key, row in merged.items() if row is not None)

    def put(self, keys: Sequence[str], rows: Sequence[Row]) -> None:
        """Set the row of each key."""
        self.changes.update(zip(keys, rows, strict=True))

    def delete(self, keys: Sequence[str]) -> None:
        """Forget the keys."""
        self.changes.update(dict.fromkeys(keys))


class Overlays(Mapping[str, Overlay]):
    """The overlays of all tables of a lane for one call of a handler."""

    def __init__(self, states: Mapping[str, State]) -> None:
        self._states = states
        self._overlays = {name: Overlay(state) for name, state in states.items()}

    def __getitem__(self, name: str) -> Overlay:
        return self._overlays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._overlays)

    def __len__(self) -> int:
        return len(self._overlays)

    def apply(self) -> None:
        """Hand every change to the lane's state."""
        for name, overlay in self._overlays.items():
            self._states[name].apply(overlay.changes)
