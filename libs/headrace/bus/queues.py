"""Decoded input of a lane that waits for its turn, with what the open transactions took of it."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from headrace.bus.chunks import Chunk, fitting, joined
from headrace.bus.service import Batch
from headrace.bus.undo import Undo
from headrace.contracts.topics import Topic

JOINED = 1 << 26  # bytes up to which chunks are joined


@dataclass(slots=True)
class Queue:
    """Chunks of one partition of one input; what is taken comes back when its transaction aborts."""

    topic: Topic
    name: str
    partition: int
    chunks: deque[Chunk] = field(default_factory=deque)
    taken: Undo[list[Chunk]] = field(default_factory=lambda: Undo(list))
    position: int | None = None
    reached: int = 0

    def add(self, chunk: Chunk) -> None:
        """Append a chunk."""
        self.chunks.append(chunk)

    def reach(self, offset: int) -> None:
        """Note that the partition holds nothing unread below ``offset`` (a record or its end was seen there)."""
        self.reached = max(self.reached, offset)

    def waiting(self, tick: int) -> int:
        """Return how many rows of derived input belong to a tick or to earlier ones."""
        total = 0
        for chunk in self.chunks:
            upto = _due(chunk, tick, None)
            total += upto
            if upto < len(chunk):
                break
        return total

    def take(self, tick: int, most: int, before: int | None = None) -> Batch | None:
        """Take up to ``most`` rows of a tick (raw input: of offsets below ``before``) as a batch."""
        if not self.chunks:
            return None
        if _due(self.chunks[0], tick, before) == len(self.chunks[0]) < most:
            self._join(most)
        stop = min(most, _due(self.chunks[0], tick, before))
        if not stop:
            return None
        chunk = self._cut(stop)
        self.taken.newest.append(chunk)
        if chunk.offsets is not None:
            self.position = int(chunk.offsets[-1]) + 1
        return chunk.batch(tick)

    def _join(self, most: int) -> None:
        """Make one of the first chunks, up to ``most`` rows: a batch has a price, however short it is."""
        count = rows = size = 0
        for chunk in fitting(self.chunks):
            size += chunk.rows.nbytes
            if rows >= most or (count and size > JOINED):
                break
            rows += len(chunk)
            count += 1
        parts = []
        for _ in range(count):
            parts.append(self._cut(most))
            most -= len(parts[-1])
        if parts:
            self.chunks.appendleft(joined(parts))

    def _cut(self, most: int) -> Chunk:
        """Take the first ``most`` rows of the first chunk."""
        chunk = self.chunks.popleft()
        if most >= len(chunk):
            return chunk
        self.chunks.appendleft(chunk.between(most, len(chunk)))
        return chunk.between(0, most)

    @property
    def took_handed_over(self) -> bool:
        """Tell whether the newest transaction took rows that are not on the log yet."""
        return any(chunk.offsets is None for chunk in self.taken.newest)

    def begin(self) -> None:
        """Begin a transaction on top of the open one."""
        self.taken.begin()

    def commit(self) -> None:
        """Let go of what the oldest transaction took."""
        self.taken.keep()

    def rollback(self) -> None:
        """Put back what the newest transaction took; what was handed over in the process is made again by its maker."""
        taken = self.taken.back()
        back = [chunk for chunk in (*taken, *self.chunks) if chunk.offsets is not None]
        if any(chunk.offsets is not None for chunk in taken):
            assert back[0].offsets is not None  # noqa: S101 -- the others have been dropped
            self.position = int(back[0].offsets[0])
        self.chunks = deque(back)


def _due(chunk: Chunk, tick: int, before: int | None) -> int:
    """Return how many rows of a chunk, from its first on, belong to a tick (raw input: lie below ``before``)."""
    if chunk.rows.ticks is not None:
        return int(np.searchsorted(chunk.rows.ticks, tick, side="right"))
    if before is None:
        return len(chunk)
    assert chunk.offsets is not None  # noqa: S101 -- raw records come from the log
    return int(np.searchsorted(chunk.offsets, before, side="left"))
