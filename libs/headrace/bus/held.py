"""The records of one partition as they are kept in memory: columns, read as records where somebody wants one."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, overload

from headrace.bus.arrivals import Arrivals, arrivals, joined
from headrace.bus.records import Incoming


class Held(Sequence[Incoming]):
    """Records in the order of the log; it grows at its end."""

    def __init__(self, parts: Iterable[Arrivals] = ()) -> None:
        """Keep parts of one partition."""
        self._parts = [part for part in parts if len(part)]
        self._count = sum(map(len, self._parts))

    @classmethod
    def of(cls, records: Sequence[Incoming]) -> "Held":
        """Keep records of one partition."""
        return cls([arrivals(records)] if records else [])

    def add(self, part: Arrivals) -> None:
        """Append what follows."""
        if len(part):
            self._parts.append(part)
            self._count += len(part)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Incoming]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, place: int) -> Incoming: ...

    @overload
    def __getitem__(self, place: slice) -> "Held": ...

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            start, stop, _ = place.indices(len(self))
            return Held(self._cut(start, stop))
        at = range(len(self))[place]
        return next(self._cut(at, at + 1))[0]

    def between(self, start: int, end: int) -> "Held":
        """Return the records of offsets ``start`` to ``end`` (exclusive)."""
        return Held(part.between(start, end) for part in self._parts)

    def columns(self) -> Arrivals:
        """Return all as columns; not for a partition without any record."""
        if len(self._parts) > 1:
            self._parts = [joined(self._parts)]
        return self._parts[0]

    def _cut(self, start: int, stop: int) -> Iterator[Arrivals]:
        """Yield the parts of a stretch; most ask for the end."""
        ends = self._count
        found = []
        for part in reversed(self._parts):
            begins = ends - len(part)
            if begins < stop and ends > start:
                found.append(part.cut(max(start - begins, 0), min(stop, ends) - begins))
            if begins <= start:
                break
            ends = begins
        yield from reversed(found)
