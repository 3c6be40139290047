"""Small numbers for texts: the first one gets 0, the next new one 1; a hash table in flat arrays, compiled.

The table is made of the texts whenever it is needed and never leaves the process, so its hash has a secret seed: who
chooses the texts cannot choose their slots.
"""

import secrets
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.arrow import spans
from headrace.contracts.kernel import inlined, kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
ABSENT = -1
_LEAST = 1 << 8  # slots
_LOAD = 2  # slots a text, at least
_MIX, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@kernel
def _hash(data: Bytes, bounds: Any, seed: Any, out: Any) -> None:
    for n in range(len(out)):
        found = seed
        for place in range(bounds[n], bounds[n + 1]):
            found = (found ^ np.uint64(data[place])) * _MIX
            found ^= found >> _HALF
        out[n] = found


@inlined
def _place(
    data: Bytes, begin: Any, end: Any, name: Any, table: Any, names: Any, held: Bytes, ends: Ints
) -> Any:
    """Return the slot of a text: that which holds its number, or the free one that would."""
    mask = len(table) - 1
    slot = np.int64(name & np.uint64(mask))
    while table[slot] != ABSENT:
        number = table[slot]
        at = ends[number]
        if names[number] == name and ends[number + 1] - at == end - begin:
            same = True
            for n in range(end - begin):
                if data[begin + n] != held[at + n]:
                    same = False
                    break
            if same:
                break
        slot = (slot + 1) & mask
    return slot


@kernel
def _add(
    data: Bytes, bounds: Any, hashes: Any, table: Any, names: Any, held: Bytes, ends: Ints, count: Any, out: Ints
) -> Any:  # fmt: skip
    """Give each text its number, new ones from ``count`` on; return how many there are then."""
    for n in range(len(out)):
        begin, end = bounds[n], bounds[n + 1]
        slot = _place(data, begin, end, hashes[n], table, names, held, ends)
        if table[slot] == ABSENT:
            at = ends[count]
            for place in range(end - begin):
                held[at + place] = data[begin + place]
            ends[count + 1], names[count], table[slot] = at + end - begin, hashes[n], count
            count += 1
        out[n] = table[slot]
    return count


@kernel
def _enter(table: Any, names: Any, count: Any) -> None:
    """Enter texts that are all different into an empty table."""
    mask = len(table) - 1
    for n in range(count):
        slot = np.int64(names[n] & np.uint64(mask))
        while table[slot] != ABSENT:
            slot = (slot + 1) & mask
        table[slot] = n


@kernel
def _gather(held: Bytes, begins: Ints, bounds: Any, out: Bytes) -> None:
    for n in range(len(begins)):
        for place in range(bounds[n + 1] - bounds[n]):
            out[bounds[n] + place] = held[begins[n] + place]


class Numbering:
    """The texts that have a number; a null counts as the empty text."""

    def __init__(self) -> None:
        self._seed = np.uint64(secrets.randbits(64))
        self._count = 0
        self._held = np.empty(0, np.uint8)
        self._ends, self._names = np.zeros(1, np.int64), np.empty(0, np.uint64)
        self._table = np.full(_LEAST, ABSENT, np.int32)

    def __len__(self) -> int:
        return self._count

    def number(self, texts: pa.Array) -> Ints:
        """Return the number of each text; those that had none get the next ones, in order."""
        data, bounds, hashes = self._hashed(texts)
        self._make_room(len(texts), int(bounds[-1] - bounds[0]))
        out = np.empty(len(texts), np.int64)
        self._count = _add(
            data, bounds, hashes, self._table, self._names, self._held, self._ends, self._count, out
        )
        return out

    def texts(self, numbers: Ints) -> pa.StringArray:
        """Return the texts that have the numbers."""
        begins = self._ends[numbers]
        bounds = np.concatenate([[0], np.cumsum(self._ends[numbers + 1] - begins)]).astype(np.int32)
        out = np.empty(bounds[-1], np.uint8)
        _gather(self._held, begins, bounds, out)
        return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(bounds), pa.py_buffer(out))

    def keep(self, kept: npt.NDArray[np.bool_]) -> None:
        """Forget the texts that are not ``kept``; the others are numbered anew, in their order."""
        numbers = np.flatnonzero(kept)
        texts = self.texts(numbers)
        self._names = self._names[numbers]
        data, bounds = spans(texts)
        self._held = data[bounds[0] : bounds[-1]].copy()
        self._ends, self._count = (bounds - bounds[0]).astype(np.int64), len(numbers)
        self._enter_all(max(_LEAST, _LOAD * self._count))

    def _hashed(self, texts: pa.Array) -> tuple[Bytes, Any, Any]:
        data, bounds = spans(texts)
        hashes = np.empty(len(texts), np.uint64)
        _hash(data, bounds, self._seed, hashes)
        return data, bounds, hashes

    def _make_room(self, texts: int, size: int) -> None:
        count, used = self._count, int(self._ends[self._count])
        self._held = grown(self._held, used + size)
        self._names = grown(self._names, count + texts)
        self._ends = grown(self._ends, count + 1 + texts)
        if _LOAD * (count + texts) > len(self._table):
            self._enter_all(_LOAD * (count + texts))

    def _enter_all(self, least: int) -> None:
        self._table = np.full(1 << (2 * least - 1).bit_length(), ABSENT, np.int32)
        _enter(self._table, self._names, self._count)


def grown(held: Any, needed: int) -> Any:
    """Return an array with room for ``needed`` rows that begins as ``held`` does, which is gone.

    It grows where it is, if there is room: to move megabytes costs more than to number what comes. So nobody may look
    into ``held`` any more, by no view either.
    """
    if needed > len(held):
        held.resize((max(needed, len(held) + len(held) // 2), *held.shape[1:]), refcheck=False)
    return held


def warm() -> None:
    """Compile the kernels and leave them in the cache on disk."""
    numbering = Numbering()
    numbering.number(pa.array(["a"]))
    numbering.keep(np.ones(1, bool))
