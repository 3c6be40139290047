"""Decoded input of a lane that waits for its turn, with what the open transaction took of it."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from headrace.bus.chunks import Chunk
from headrace.bus.service import Batch
from headrace.contracts.topics import Topic


@dataclass(slots=True)
class Queue:
    """Chunks of one partition of one input; ``taken`` rows come back when the transaction aborts."""

    topic: Topic
    name: str
    partition: int
    chunks: deque[Chunk] = field(default_factory=deque)
    start: int = 0
    taken: list[tuple[Chunk, int, int]] = field(default_factory=list)
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
        for n, chunk in enumerate(self.chunks):
            assert chunk.rows.ticks is not None  # noqa: S101 -- only derived input is asked
            upto = int(np.searchsorted(chunk.rows.ticks, tick, side="right"))
            total += max(0, upto - (self.start if n == 0 else 0))
            if upto < len(chunk):
                break
        return total

    def take(self, tick: int, most: int, before: int | None = None) -> Batch | None:
        """Take up to ``most`` rows of a tick (raw input: of offsets below ``before``) as a batch."""
        if not self.chunks:
            return None
        chunk, start = self.chunks[0], self.start
        stop = min(len(chunk), start + most)
        if chunk.rows.ticks is not None:
            stop = min(stop, int(np.searchsorted(chunk.rows.ticks, tick, side="right")))
        elif before is not None:
            assert chunk.offsets is not None  # noqa: S101 -- raw records come from the log
            stop = min(stop, int(np.searchsorted(chunk.offsets, before, side="left")))
        if stop <= start:
            return None
        self.taken.append((chunk, start, stop))
        if chunk.offsets is not None:
            self.position = int(chunk.offsets[stop - 1]) + 1
        self.start = stop
        if stop == len(chunk):
            self.chunks.popleft()
            self.start = 0
        return chunk.cut(start, stop, tick)

    @property
    def took_handed_over(self) -> bool:
        """Tell whether the open transaction took rows that are not on the log yet."""
        return any(chunk.offsets is None for chunk, _, _ in self.taken)

    def commit(self) -> None:
        """Let go of what was taken."""
        self.taken.clear()

    def rollback(self) -> None:
        """Put back what was taken; what was handed over inside the process is made again by its maker."""
        self._drop_handed_over()
        for chunk, start, stop in reversed(self.taken):
            if not (self.chunks and self.chunks[0] is chunk and self.start == stop):
                self.chunks.appendleft(chunk)
            self.start = start
        if self.taken:
            chunk, start, _ = self.taken[0]
            assert chunk.offsets is not None  # noqa: S101 -- the others have been dropped
            self.position = int(chunk.offsets[start])
        self.taken.clear()

    def _drop_handed_over(self) -> None:
        if self.chunks and self.chunks[0].offsets is None:
            self.start = 0
        self.chunks = deque(c for c in self.chunks if c.offsets is not None)
        self.taken = [t for t in self.taken if t[0].offsets is not None]
