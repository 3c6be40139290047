"""Records taken from a queue of the Kafka client's own C library, as columns and without a Python call for each.

The functions are those of ``rdkafka.h``; which client this was proven with, and the layout of its messages, stand in
:mod:`headrace.bus.native`.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from confluent_kafka import KafkaError

from headrace.bus.arrivals import Arrivals, HeaderColumns, Told
from headrace.bus.foreign import address, call, call_with_five, plain
from headrace.bus.native import ERROR, KEY, KEY_SIZE, MESSAGE, OFFSET, PARTITION, TOPIC, VALUE, VALUE_SIZE
from headrace.bus.records import Place
from headrace.contracts.arrow import validity
from headrace.contracts.kernel import kernel

Words = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_NAME, _NAME_SIZE, _CONTENT, _CONTENT_SIZE, _HEADER = range(5)
Functions = tuple[int, ...]  # addresses: of memcpy, of strlen, and of the library's functions about messages
_COPY, _LENGTH, _HEADERS, _COUNT, _GET, _DESTROY = range(6)
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 -- the client's own name
_NOTHING = pa.array([], pa.binary())


@cache
def functions(opened: Any) -> Functions:
    """Return the addresses of what the kernels call."""
    names = ("message_headers", "header_cnt", "header_get_all", "message_destroy")
    found = [address(getattr(opened, f"rd_kafka_{name}")) for name in names]
    return (plain("memcpy"), plain("strlen"), *found)


def pull(
    opened: Any, queue: int, wait: float, most: int, *, headed: Callable[[str], bool]
) -> list[Arrivals | Told]:
    """Take what a queue holds, up to ``most`` messages; wait up to ``wait`` seconds for the first.

    Only records of topics that are ``headed`` come with their headers. Of the ends of a partition only the last is
    told, after its records: where they come a few at a time, each few have an end of their own.
    """
    pointers = np.empty(most, np.int64)
    first = opened.rd_kafka_consume_batch_queue(queue, int(1_000 * wait), pointers.ctypes.data, 1)
    if first < 1:
        return []
    more = opened.rd_kafka_consume_batch_queue(queue, 0, pointers[1:].ctypes.data, most - 1)
    pointers = pointers[: 1 + max(more, 0)]
    try:
        return list(_read(opened, pointers, headed))
    finally:
        _destroy(functions(opened)[_DESTROY], pointers)


def _read(opened: Any, pointers: Words, headed: Callable[[str], bool]) -> Iterator[Arrivals | Told]:
    called = functions(opened)
    messages = np.empty((len(pointers), MESSAGE), np.int64)
    _copy_all(called[_COPY], pointers, messages)
    at_end = messages[:, ERROR].astype(np.int32) == _END
    order = _order(messages[:, TOPIC], messages[:, PARTITION].astype(np.int32), at_end)
    pointers, messages = pointers[order], messages[order]
    errors, partitions = (messages[:, n].astype(np.int32) for n in (ERROR, PARTITION))
    changed = (np.diff(messages[:, TOPIC]) != 0) | (np.diff(partitions) != 0) | (np.diff(errors) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changed) + 1, [len(pointers)]]).tolist()
    for start, stop in pairwise(starts):
        topic = opened.rd_kafka_topic_name(int(messages[start, TOPIC])).decode()
        partition = int(partitions[start])
        if errors[start]:
            first = stop - 1 if errors[start] == _END else start
            told = KafkaError(int(errors[start]))
            yield from (Told(topic, partition, int(offset), told) for offset in messages[first:stop, OFFSET])
        else:
            own = pointers[start:stop] if headed(topic) else pointers[:0]
            yield _columns((topic, partition), messages[start:stop], own, called)


def _order(*kinds: npt.NDArray[Any]) -> Words:
    """Return the rows sorted by kinds, the first above all; they come in runs, so it is those that are sorted."""
    changed = np.logical_or.reduce([np.diff(kind) != 0 for kind in kinds])
    heads = np.concatenate([[0], np.flatnonzero(changed) + 1])
    runs = np.lexsort([kind[heads] for kind in reversed(kinds)])
    sizes = np.diff(heads, append=len(changed) + 1)[runs]
    begins = np.cumsum(sizes) - sizes
    found: Words = np.arange(len(changed) + 1) + np.repeat(heads[runs] - begins, sizes)
    return found


def _columns(place: Place, messages: Words, headed: Words, called: Functions) -> Arrivals:
    """Return good messages of one place as columns."""
    return Arrivals(
        *place,
        messages[:, OFFSET].copy(),
        _texts(called[_COPY], messages[:, KEY], messages[:, KEY_SIZE]),
        _texts(called[_COPY], messages[:, VALUE], messages[:, VALUE_SIZE]),
        _headers(headed, len(messages), called),
    )


def _texts(copy: int, places: Words, sizes: Words) -> pa.BinaryArray:
    """Return byte strings that lie somewhere in memory; one at no place is null."""
    there = places != 0
    bounds = np.concatenate([[0], np.cumsum(np.where(there, sizes, 0))]).astype(np.int32)
    out = np.empty(max(int(bounds[-1]), 1), np.uint8)
    _gather(copy, np.ascontiguousarray(places), bounds, out)
    buffers = [None if there.all() else validity(there), pa.py_buffer(bounds), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.binary(), len(places), buffers)


def _headers(pointers: Words, count: int, called: Functions) -> HeaderColumns:
    """Return the headers of messages; without pointers, that ``count`` messages have none."""
    lists, bounds = np.zeros(len(pointers), np.int64), np.zeros(count + 1, np.int64)
    if not len(pointers):
        return HeaderColumns(bounds, _NOTHING, _NOTHING)
    _count_headers(called[_HEADERS], called[_COUNT], pointers, lists, bounds)
    found = np.empty((int(bounds[-1]), _HEADER), np.int64)
    if len(found):
        _find_headers(called[_GET], called[_LENGTH], lists, bounds, found)
    names = _texts(called[_COPY], found[:, _NAME], found[:, _NAME_SIZE])
    return HeaderColumns(bounds, names, _texts(called[_COPY], found[:, _CONTENT], found[:, _CONTENT_SIZE]))


@kernel
def _copy_all(copy: Any, pointers: Words, out: Words) -> None:
    for n in range(len(pointers)):
        call(copy, out[n].ctypes.data, pointers[n], 8 * out.shape[1])


@kernel
def _gather(copy: Any, places: Words, bounds: Any, out: Bytes) -> None:
    for n in range(len(places)):
        if bounds[n + 1] > bounds[n]:
            call(copy, out.ctypes.data + bounds[n], places[n], bounds[n + 1] - bounds[n])


@kernel
def _count_headers(headers: Any, count: Any, pointers: Words, lists: Words, bounds: Words) -> None:
    """Find the list of headers of each message, and count them all."""
    for n in range(len(pointers)):
        error = call(headers, pointers[n], lists[n:].ctypes.data, 0)
        told = 0 if np.int32(error) else call(count, lists[n], 0, 0)
        bounds[n + 1] = bounds[n] + told


@kernel
def _find_headers(get: Any, length: Any, lists: Words, bounds: Words, found: Words) -> None:
    for n in range(len(lists)):
        for place in range(bounds[n], bounds[n + 1]):
            header = found[place].ctypes.data
            call_with_five(get, lists[n], place - bounds[n], header, header + 16, header + 24)
            found[place, 1] = call(length, found[place, 0], 0, 0)


@kernel
def _destroy(destroy: Any, pointers: Words) -> None:
    for n in range(len(pointers)):
        call(destroy, pointers[n], 0, 0)


def warm() -> None:
    """Compile the kernels and leave them in the cache on disk."""
    words, none = np.zeros(1, np.int64), np.zeros(0, np.int64)
    _copy_all(0, none, np.zeros((0, MESSAGE), np.int64))
    _gather(0, none, np.zeros(1, np.int32), np.zeros(1, np.uint8))
    _count_headers(0, 0, none, none, words)
    _find_headers(0, 0, none, words, np.zeros((0, _HEADER), np.int64))
    _destroy(0, none)
