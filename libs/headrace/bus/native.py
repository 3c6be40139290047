"""Blocks handed to the Kafka client's own C library, without a Python call for each record.

The Python client has no such call. Its objects begin with the library's handle, in the version that this was proven
with; with any other, records go the client's own way.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import confluent_kafka
import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError, KafkaException, Producer

from headrace.bus.blocks import Block
from headrace.bus.foreign import call
from headrace.contracts.arrow import spans
from headrace.contracts.kernel import kernel

PROVEN = ("2.16.0",)
Words = npt.NDArray[np.int64]
# rd_kafka_vu_t of rdkafka.h: a kind and a union of 64 bytes. A value's place and size, or a header's after its name.
_UNION = 9
_TOPIC, _PARTITION, _VALUE, _KEY, _FLAGS, _HEADER = 2, 3, 4, 5, 7, 9
_COPY = 0x2
# Words of rd_kafka_message_t: its error (32 bits), topic, partition (32 bits), value and its size, key and its size, offset.
ERROR, TOPIC, PARTITION, VALUE, VALUE_SIZE, KEY, KEY_SIZE, OFFSET, _OWN = range(9)
MESSAGE = _OWN + 1
_WAIT = 0.1


@cache
def library() -> Any | None:
    """Return the client's C library, or None where the client is another than the proven one."""
    found = sorted(Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*"))
    if confluent_kafka.__version__ not in PROVEN or not found:
        return None
    opened = ctypes.CDLL(str(found[0]))
    opened.rd_kafka_topic_new.restype = ctypes.c_void_p
    opened.rd_kafka_topic_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    opened.rd_kafka_topic_destroy.argtypes = [ctypes.c_void_p]
    for name in ("rd_kafka_queue_new", "rd_kafka_queue_get_partition"):
        getattr(opened, name).restype = ctypes.c_void_p
    opened.rd_kafka_queue_new.argtypes = [ctypes.c_void_p]
    opened.rd_kafka_queue_get_partition.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32]
    opened.rd_kafka_queue_forward.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    opened.rd_kafka_queue_destroy.argtypes = [ctypes.c_void_p]
    opened.rd_kafka_consume_batch_queue.restype = ctypes.c_ssize_t
    opened.rd_kafka_consume_batch_queue.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    opened.rd_kafka_produce_batch.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int,
    ]
    opened.rd_kafka_topic_name.restype = ctypes.c_char_p
    opened.rd_kafka_topic_name.argtypes = [ctypes.c_void_p]
    opened.rd_kafka_error_code.argtypes = [ctypes.c_void_p]
    opened.rd_kafka_error_destroy.argtypes = [ctypes.c_void_p]
    return opened


def handle(client: Any) -> int:
    """Return the library's handle of a client; it is the first thing in the object."""
    return ctypes.c_void_p.from_address(id(client) + object.__basicsize__).value or 0


def send(client: Producer, block: Block) -> None:
    """Hand a block to a producer, waiting where its queue is full.

    Raises:
        KafkaException: when the producer refuses a record.
    """
    opened = library()
    assert opened is not None  # noqa: S101 -- who calls has asked
    topic = opened.rd_kafka_topic_new(handle(client), block.topic.encode(), None)
    try:
        if block.headers or block.values is None:
            _produce_all(client, opened, topic, block)
        else:
            _produce_plain(client, opened, topic, block)
    finally:
        opened.rd_kafka_topic_destroy(topic)


def _produce_plain(client: Producer, opened: Any, topic: int, block: Block) -> None:
    """Hand over records without headers in one call; behind one that finds the queue full all are refused alike."""
    messages = np.zeros((len(block), MESSAGE), np.int64)
    columns = {VALUE: spans(block.values), KEY: spans(block.keys)}
    for word, (data, bounds) in columns.items():
        messages[:, word] = data.ctypes.data + bounds[:-1].astype(np.int64)
        messages[:, word + 1] = np.diff(bounds)
    done = 0
    while done < len(block):
        left = messages[done:]
        left[:, ERROR] = 0
        taken = opened.rd_kafka_produce_batch(topic, block.partition, _COPY, left.ctypes.data, len(left))
        if taken < len(left):
            code = int(left[taken, ERROR].astype(np.int32))
            if code != KafkaError._QUEUE_FULL:  # noqa: SLF001 -- the client's own name for it
                raise KafkaException(KafkaError(code))
            client.poll(_WAIT)
        done += taken


def _produce_all(client: Producer, opened: Any, topic: int, block: Block) -> None:
    function = ctypes.cast(opened.rd_kafka_produceva, ctypes.c_void_p).value
    units, columns, kept = _laid_out(topic, block)
    done = np.zeros(1, np.int64)
    while done[0] < len(block):
        error = _produce(function, handle(client), units, *columns, done)
        if error:
            code = opened.rd_kafka_error_code(error)
            opened.rd_kafka_error_destroy(error)
            if code != KafkaError._QUEUE_FULL:  # noqa: SLF001 -- the client's own name for it
                raise KafkaException(KafkaError(code))
            client.poll(_WAIT)
    del kept  # the bytes that the columns point at


def _laid_out(topic: int, block: Block) -> tuple[Words, tuple[Words, Words, Words, Any], list[Any]]:
    """Return what is said of every record, and which words of it each column of the block fills.

    A column has a row of the units, a word in it, the address of its bytes, and the bounds of each record's.
    """
    units = np.zeros((5 + len(block.headers), _UNION), np.int64)
    units[:5, 0] = _TOPIC, _PARTITION, _FLAGS, _KEY, _VALUE
    units[:3, 1] = topic, block.partition, _COPY
    columns = [(3, 1, block.keys)] + ([(4, 1, block.values)] if block.values is not None else [])
    kept: list[Any] = [block]
    for n, (name, column) in enumerate(block.headers, start=5):
        kept.append(ctypes.create_string_buffer(name.encode()))
        units[n, :2] = _HEADER, ctypes.addressof(kept[-1])
        if isinstance(column, bytes):
            kept.append(ctypes.create_string_buffer(column, len(column)))
            units[n, 2:4] = ctypes.addressof(kept[-1]), len(column)
        else:
            columns.append((n, 2, column))
    found = [spans(column) for _, _, column in columns]
    kept.append(found)
    rows, words = np.array([c[:2] for c in columns], np.int64).T.copy()
    places = np.array([data.ctypes.data for data, _ in found], np.int64)
    return units, (rows, words, places, np.stack([bounds for _, bounds in found])), kept


@kernel
def _produce(
    function: Any, client: Any, units: Words, rows: Words, words: Words, places: Words, bounds: Any, done: Words
) -> Any:  # fmt: skip
    """Produce records from ``done`` on until all are or one is refused; return its error."""
    for n in range(done[0], bounds.shape[1] - 1):
        for column in range(len(rows)):
            begin = np.int64(bounds[column, n])
            units[rows[column], words[column]] = places[column] + begin
            units[rows[column], words[column] + 1] = bounds[column, n + 1] - begin
        error = call(function, client, units.ctypes.data, len(units))
        if error:
            return error
        done[0] = n + 1
    return np.int64(0)


def warm() -> None:
    """Compile the kernel and leave it in the cache on disk."""
    words = np.zeros(1, np.int64)
    _produce(
        0, 0, np.zeros((1, _UNION), np.int64), words, words, words, np.zeros((1, 1), np.int32), words.copy()
    )
