"""Records as columns of bytes: what a transaction writes, without a Python object for each record."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from headrace.bus.arrivals import Arrivals, HeaderColumns
from headrace.bus.records import Outgoing
from headrace.contracts.arrow import same

Column: TypeAlias = "pa.Array | bytes"
"""Byte strings, one a record, or one for all of them."""
ColumnHeaders: TypeAlias = tuple[tuple[str, Column], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Records for one partition in their order; without ``values`` they are tombstones."""

    topic: str
    partition: int
    keys: pa.Array
    values: pa.Array | None = None
    headers: ColumnHeaders = ()

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Outgoing]:
        keys, values = self.keys.to_pylist(), repeat(None) if self.values is None else self.values.to_pylist()
        names = [name for name, _ in self.headers]
        columns = [repeat(c) if isinstance(c, bytes) else c.to_pylist() for _, c in self.headers]
        told: Iterable[Any] = zip(*columns, strict=False) if columns else repeat(())
        for key, value, header in zip(keys, values, told, strict=False):
            yield Outgoing(self.topic, self.partition, key, value, tuple(zip(names, header, strict=True)))

    def cut(self, start: int, stop: int) -> "Block":
        """Return records ``start`` to ``stop``."""
        return replace(
            self,
            keys=self.keys[start:stop],
            values=None if self.values is None else self.values[start:stop],
            headers=tuple((n, c if isinstance(c, bytes) else c[start:stop]) for n, c in self.headers),
        )


def arrived(block: Block, first: int) -> Arrivals:
    """Return the records of a block as a reader finds them, from offset ``first`` on."""
    count = len(block)
    values = pa.nulls(count, pa.binary()) if block.values is None else block.values
    offsets = np.arange(first, first + count)
    return Arrivals(block.topic, block.partition, offsets, block.keys, values, _header_columns(block))


def _header_columns(block: Block) -> HeaderColumns:
    """Return a block's headers record by record."""
    count, each = len(block), len(block.headers)
    columns = [same(n.encode(), count, pa.binary()) for n, _ in block.headers]
    told = [_each(c, count).cast(pa.binary()) for _, c in block.headers]
    order = pa.array(np.arange(each * count).reshape(each, count).T.ravel())
    names, values = (
        pa.concat_arrays(c).take(order) if c else pa.array([], pa.binary()) for c in (columns, told)
    )
    return HeaderColumns(np.arange(count + 1) * each, names, values)


def weave(columns: Sequence[pa.Array], places: Sequence[np.ndarray]) -> pa.Array:
    """Return the byte strings of several columns as one, each at its place among all."""
    if len(columns) < 2:  # noqa: PLR2004
        return columns[0] if columns else pa.array([], pa.binary())
    order = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_arrays(columns).take(pa.array(order))


def woven(blocks: Sequence[Block], places: Sequence[np.ndarray]) -> Block:
    """Return the records of blocks of one topic and partition as one block, each at its place among all."""
    if len(blocks) == 1:
        return blocks[0]

    def one(columns: Iterable[Column]) -> pa.Array:
        return weave([_each(c, len(b)) for c, b in zip(columns, blocks, strict=True)], places)

    headers = ((name, one(b.headers[n][1] for b in blocks)) for n, (name, _) in enumerate(blocks[0].headers))
    return replace(
        blocks[0],
        keys=one(b.keys for b in blocks),
        values=one(b.values for b in blocks),
        headers=tuple(headers),
    )


def _each(column: Column, count: int) -> pa.Array:
    return same(column, count, pa.binary()) if isinstance(column, bytes) else column
