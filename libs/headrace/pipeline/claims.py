"""Which event ids were accepted, with what body and until when: columns, so that a claim is no object of Python's.

The claims of a batch are kept as blocks, each a row of the service's table with the ids, digests and times of many
events side by side. :class:`Claims` finds one among them; it is made from the blocks again after a restart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.arrow import spans, taken
from headrace.contracts.numbering import ABSENT, Numbering, grown

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
COLUMNS = pa.schema(
    [
        ("ids", pa.binary()),  # one after the other
        ("ends", pa.binary()),  # where each of them ends: 4 bytes, little endian
        ("bodies", pa.binary()),  # 16 bytes each
        ("dues", pa.binary()),  # 8 bytes each, little endian, microseconds of event time
        ("tick", pa.int64()),  # the tick in which they were accepted
        ("due", pa.int64()),  # the last of the dues: then the block is forgotten
    ]
)
Block = tuple[bytes, bytes, bytes, bytes, int, int]
BODY = 16
MOST = 200_000  # bytes of ids in a block, unless one id is longer
_NEAR = 8  # the dues of a block lie closer together than this part of the memory
_ENDS, _DUES = np.dtype("<i4"), np.dtype("<i8")
_NEVER = np.iinfo(np.int64).min
_ROW = np.dtype([("body", np.uint8, BODY), ("due", np.int64), ("tick", np.int64), ("owner", np.int32)])
_NOBODY = np.array((0, _NEVER, ABSENT, ABSENT), _ROW)
_FEW = 1 << 14  # forgotten claims that are not worth making the index anew


@dataclass(frozen=True, slots=True)
class Claimed:
    """Ids with the digest of each body (rows of 16 bytes) and the time at which each is forgotten."""

    ids: pa.Array
    bodies: Bytes
    dues: Ints


def blocks(claimed: Claimed, first: int, tick: int, memory: int) -> Iterator[tuple[str, Block, Ints]]:
    """Yield the claims of a batch as keyed rows of the table, and which claims each has; it begins at offset ``first``.

    A block leaves when all its claims have, so those that last much longer than others get a block of their own.
    """
    group = claimed.dues // (memory // _NEAR + 1)
    order = np.argsort(group, kind="stable")
    data, bounds = spans(taken(claimed.ids, order))
    changes = np.diff(group[order]) != 0
    full = np.diff((bounds[:-1] - bounds[0]) // MOST) != 0
    for n, rows in enumerate(np.split(np.arange(len(order)), np.flatnonzero(changes | full) + 1)):
        at, begin, end = order[rows], bounds[rows[0]], bounds[rows[-1] + 1]
        dues = claimed.dues[at]
        columns = (
            data[begin:end],
            (bounds[rows + 1] - begin).astype(_ENDS),
            claimed.bodies[at],
            dues.astype(_DUES),
        )
        ids, ends, bodies, times = (column.tobytes() for column in columns)
        yield f"{first:020d}.{n}", (ids, ends, bodies, times, tick, int(dues.max())), at


def claimed_in(block: Block) -> Claimed:
    """Return the claims of a block."""
    ids, ends, bodies, dues, _, _ = block
    bounds = np.concatenate([[0], np.frombuffer(ends, _ENDS)]).astype(np.int32)
    texts = pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(ids))
    return Claimed(texts, np.frombuffer(bodies, np.uint8).reshape(-1, BODY), np.frombuffer(dues, _DUES))


class Met(NamedTuple):
    """Of each id whether it is held, with what body (zeros if it is not), where it comes first, and its number."""

    held: Flags
    bodies: Bytes
    firsts: Ints
    numbers: Ints


def _firsts(numbers: Ints, before: int) -> Ints:
    """Return for each row where its number comes for the first time; those from ``before`` on are new, in that order."""
    new = numbers >= before
    firsts = np.arange(len(numbers))
    again = np.flatnonzero(~new)
    _, found, which = np.unique(numbers[again], return_index=True, return_inverse=True)
    firsts[again] = again[found[which]]
    fresh = np.flatnonzero(new)
    begins = np.flatnonzero(np.diff(np.maximum.accumulate(numbers[fresh]), prepend=before - 1))
    firsts[fresh] = fresh[begins][numbers[fresh] - before]
    return firsts


class Claims:
    """An index over blocks: which ids are held at a time."""

    def __init__(self) -> None:
        self._numbers = Numbering()
        self._rows = np.empty(0, _ROW)
        self._blocks: dict[str, tuple[int, Ints]] = {}
        self._known: dict[str, tuple[Block, Ints]] = {}
        self._next = self._gone = 0

    def meet(self, ids: pa.Array, since: int | None, tick: int) -> Met:
        """Tell what is known of ids in a tick whose predecessor closed at ``since`` (microseconds).

        A claim is held until the first close at or after its due time, so at least until the end of its own tick.
        An id that is new gets its number at once: whoever claims it next need not look for it again.
        """
        before = len(self._numbers)
        numbers = self._number(ids)
        held, bodies = np.zeros(len(ids), bool), np.zeros((len(ids), BODY), np.uint8)
        old = np.flatnonzero(numbers < before)
        rows = self._rows[numbers[old]]
        held[old] = (rows["due"] > (_NEVER if since is None else since)) | (rows["tick"] == tick)
        bodies[held] = self._rows["body"][numbers[held]]
        return Met(held, bodies, _firsts(numbers, before), numbers)

    def claim(
        self, claimed: Claimed, numbers: Ints, first: int, tick: int, memory: int
    ) -> Iterator[tuple[str, Block]]:
        """Yield the :func:`blocks` of ids that were met: when one of them comes, its numbers are known."""
        self._known.clear()
        for key, block, rows in blocks(claimed, first, tick, memory):
            self._known[key] = block, numbers[rows]
            yield key, block

    def change(self, changes: Mapping[str, Any]) -> None:
        """Take blocks that came or (None) went; a newer claim of an id stands in front of an older one."""
        for key, block in changes.items():
            if key in self._blocks:
                self._drop(*self._blocks.pop(key))
            if block is not None:
                self._add(key, block)
        if self._gone > max(_FEW, len(self._numbers) // 2):
            self._tidy()

    def _add(self, key: str, block: Block) -> None:
        claimed, known = claimed_in(block), self._known.pop(key, None)
        numbers = known[1] if known and known[0] is block else self._number(claimed.ids)
        self._gone -= int((self._rows["owner"][numbers] == ABSENT).sum())
        self._rows["body"][numbers], self._rows["due"][numbers] = claimed.bodies, claimed.dues
        self._rows["tick"][numbers], self._rows["owner"][numbers] = block[4], self._next
        self._blocks[key] = (self._next, numbers)
        self._next += 1

    def _number(self, ids: pa.Array) -> Ints:
        """Return the numbers of ids; new ones are held by nobody yet."""
        before, numbers = len(self._numbers), self._numbers.number(ids)
        count = len(self._numbers)
        self._rows = grown(self._rows, count)
        self._rows[before:count] = _NOBODY
        self._gone += count - before
        return numbers

    def _drop(self, owner: int, numbers: Ints) -> None:
        mine = numbers[self._rows["owner"][numbers] == owner]
        self._rows[mine] = _NOBODY
        self._gone += len(mine)

    def _tidy(self) -> None:
        """Make the index anew, without what was forgotten."""
        self._known.clear()
        rows = self._rows[: len(self._numbers)]
        kept = rows["owner"] != ABSENT
        self._numbers.keep(kept)
        self._rows, self._gone = rows[kept], 0
        renumbered = np.where(kept, np.cumsum(kept) - 1, ABSENT)
        for key, (owner, numbers) in self._blocks.items():
            now = renumbered[numbers]
            self._blocks[key] = (owner, now[now != ABSENT])
