"""Records of one partition as columns: what a consumer gives, without a Python object for each record."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from confluent_kafka import KafkaError

from headrace.bus.records import Headers, Incoming, Place
from headrace.contracts.arrow import taken

Ints = npt.NDArray[np.int64]
_PLACE = itemgetter(0, 1)


@dataclass(frozen=True, slots=True)
class HeaderColumns(Sequence[Headers]):
    """The headers of records: those of record ``n`` lie from ``bounds[n]`` to ``bounds[n + 1]``."""

    bounds: Ints
    names: pa.BinaryArray
    values: pa.BinaryArray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            start, stop, _ = place.indices(len(self))
            return HeaderColumns(self.bounds[start : max(start, stop) + 1], self.names, self.values)
        begin, end = self.bounds[place], self.bounds[place + 1]
        if begin == end:
            return ()
        names = (name.decode("utf-8", "replace") for name in self.names[begin:end].to_pylist())
        return tuple(zip(names, self.values[begin:end].to_pylist(), strict=True))

    def take(self, rows: Ints) -> "HeaderColumns":
        """Return the headers of some records."""
        if not len(self.names):
            return HeaderColumns(np.zeros(len(rows) + 1, np.int64), self.names, self.values)
        begins, counts = self.bounds[rows], self.bounds[rows + 1] - self.bounds[rows]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        at = pa.array(np.arange(bounds[-1]) + np.repeat(begins - bounds[:-1], counts))
        return HeaderColumns(bounds, self.names.take(at), self.values.take(at))


def header_columns(headers: Sequence[Headers]) -> HeaderColumns:
    """Return headers, one sequence a record, as columns."""
    bounds = np.cumsum([0, *map(len, headers)])
    pairs = [pair for told in headers for pair in told] if bounds[-1] else []
    names = pa.array([name.encode() for name, _ in pairs], pa.binary())
    return HeaderColumns(bounds, names, pa.array([value for _, value in pairs], pa.binary()))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Records of one partition in the order of the log; a null value is a tombstone."""

    topic: str
    partition: int
    offsets: Ints
    keys: pa.BinaryArray
    values: pa.BinaryArray
    headers: HeaderColumns

    @property
    def place(self) -> Place:
        """Return the topic and the partition."""
        return self.topic, self.partition

    @property
    def last(self) -> int:
        """Return the last offset; not for no records."""
        return int(self.offsets[-1])

    def __len__(self) -> int:
        return len(self.offsets)

    def cut(self, start: int, stop: int) -> "Arrivals":
        """Return records ``start`` to ``stop``."""
        keys, values = self.keys[start:stop], self.values[start:stop]
        return replace(
            self, offsets=self.offsets[start:stop], keys=keys, values=values, headers=self.headers[start:stop]
        )

    def take(self, rows: Ints) -> "Arrivals":
        """Return some records, in the order given."""
        keys, values = taken(self.keys, rows), taken(self.values, rows)
        return replace(
            self, offsets=self.offsets[rows], keys=keys, values=values, headers=self.headers.take(rows)
        )

    def between(self, start: int, end: int | None) -> "Arrivals":
        """Return the records of offsets ``start`` to ``end`` (exclusive; None: to the last)."""
        begin, stop = np.searchsorted(self.offsets, (start, self.last + 1 if end is None else end))
        return self.cut(int(begin), int(stop))

    def __getitem__(self, row: int) -> Incoming:
        parts = (int(self.offsets[row]), self.keys[row].as_py(), self.values[row].as_py(), self.headers[row])
        return Incoming(self.topic, self.partition, *parts)

    def __iter__(self) -> Iterator[Incoming]:
        columns = (self.offsets.tolist(), self.keys.to_pylist(), self.values.to_pylist(), self.headers)
        for offset, key, value, headers in zip(*columns, strict=True):
            yield Incoming(self.topic, self.partition, offset, key, value, headers)


class Told(NamedTuple):
    """What a consumer says of a partition in place of a record: its end, or an error."""

    topic: str
    partition: int
    offset: int
    error: KafkaError

    @property
    def place(self) -> Place:
        """Return the topic and the partition."""
        return self.topic, self.partition

    @property
    def is_end(self) -> bool:
        """Tell whether it is the end of the partition."""
        return bool(self.error.code() == KafkaError._PARTITION_EOF)  # noqa: SLF001 -- the client's own name


def arrivals(messages: Sequence[Incoming]) -> Arrivals:
    """Return records of one partition as columns."""
    topics, partitions, offsets, keys, values, headers = zip(*messages, strict=True)
    columns = (pa.array(keys, pa.binary()), pa.array(values, pa.binary()), header_columns(headers))
    return Arrivals(topics[0], partitions[0], np.array(offsets, np.int64), *columns)


def runs(messages: Iterable[Incoming]) -> Iterator[Arrivals]:
    """Yield records as columns, as long as they come from one partition."""
    for _, run in groupby(messages, _PLACE):
        yield arrivals(list(run))


def joined(parts: Sequence[Arrivals]) -> Arrivals:
    """Return several parts of one partition as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Arrivals(
        first.topic,
        first.partition,
        np.concatenate([p.offsets for p in parts]),
        pa.concat_arrays([p.keys for p in parts]),
        pa.concat_arrays([p.values for p in parts]),
        joined_headers([p.headers for p in parts]),
    )


def by_place(parts: Iterable[Arrivals]) -> Mapping[Place, Arrivals]:
    """Return records by topic and partition; a consumer keeps their order within one."""
    groups: dict[Place, list[Arrivals]] = {}
    for part in parts:
        groups.setdefault(part.place, []).append(part)
    return {place: joined(found) for place, found in groups.items()}


def joined_headers(parts: Sequence[HeaderColumns]) -> HeaderColumns:
    """Return the headers of records that follow each other."""
    own = [p.take(np.arange(len(p))) for p in parts]
    ends = np.cumsum([0, *(int(p.bounds[-1]) for p in own)])
    bounds = [p.bounds[:-1] + before for p, (before, _) in zip(own, pairwise(ends), strict=True)]
    return HeaderColumns(
        np.concatenate([*bounds, ends[-1:]]),
        pa.concat_arrays([p.names for p in own]),
        pa.concat_arrays([p.values for p in own]),
    )
