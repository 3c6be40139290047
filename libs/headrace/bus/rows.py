"""State of one lane: keyed rows, a log of before-images for aborts, and the rows that fall due."""

import heapq
from collections.abc import Iterator, Mapping, Sequence

from headrace.bus.service import Row, Table

_ABSENT: Row = ()


class State:
    """The rows of one table in one lane, with what the open transaction changed."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._rows: dict[str, Row] = {}
        self._before: dict[str, Row] = {}
        self._queue: list[tuple[int, str]] = []
        self._due = table.columns.get_field_index(table.due) if table.due else None

    def get(self, keys: Sequence[str]) -> list[Row | None]:
        """Return the row of each key, or None."""
        return [self._rows.get(key) for key in keys]

    def all(self) -> list[tuple[str, Row]]:
        """Return every key and row, sorted by key."""
        return sorted(self._rows.items())

    def restore(self, rows: Mapping[str, Row | None]) -> None:
        """Take changelog entries, outside any transaction."""
        kept = {key: row for key, row in rows.items() if row is not None}
        for key in rows.keys() - kept.keys():
            self._rows.pop(key, None)
        self._rows.update(kept)
        if self._due is not None:
            for key, row in kept.items():
                if row[self._due] is not None:
                    heapq.heappush(self._queue, (row[self._due], key))

    def apply(self, changes: Mapping[str, Row | None]) -> None:
        """Apply a handler's changes inside the open transaction."""
        for key, row in changes.items():
            self._before.setdefault(key, self._rows.get(key, _ABSENT))
            self._set(key, row)

    def changed(self) -> list[tuple[str, Row | None]]:
        """Return the rows the open transaction changed, as they are now (None: gone)."""
        return [(key, self._rows.get(key)) for key in self._before]

    def commit(self) -> None:
        """Forget the before-images."""
        self._before.clear()

    def rollback(self) -> None:
        """Put every before-image back."""
        for key, row in self._before.items():
            self._set(key, None if row is _ABSENT else row)
        self._before.clear()

    def due(self, time: int) -> list[tuple[str, Row]]:
        """Return the rows due at ``time``, sorted by (due, key)."""
        found: dict[str, tuple[int, str, Row]] = {}
        while self._queue and self._queue[0][0] <= time:
            due, key = heapq.heappop(self._queue)
            row = self._rows.get(key)
            if row is not None and row[self._due or 0] == due:
                found[key] = (due, key, row)
        return [(key, row) for _, key, row in sorted(found.values(), key=lambda item: item[:2])]

    def _set(self, key: str, row: Row | None) -> None:
        if row is None:
            self._rows.pop(key, None)
            return
        self._rows[key] = row
        if self._due is not None and row[self._due] is not None:
            heapq.heappush(self._queue, (row[self._due], key))


class Overlay:
    """A handler's private copy of one table: reads fall through, writes stay here until they are applied."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.changes: dict[str, Row | None] = {}

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
