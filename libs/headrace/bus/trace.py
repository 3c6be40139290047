"""CloudEvents and W3C trace headers of records, all derived from ids."""

import numpy as np
import pyarrow as pa

from headrace.bus import hashes
from headrace.bus.blocks import Headers
from headrace.contracts.arrow import as_type

_TRACE, _SPAN = 32, 16  # digits
_EPOCH = np.datetime64(0, "us")
_WIDTH = len(str(_EPOCH))


def headers(source: str, kind: str, ids: pa.Array, causes: pa.Array, times: pa.Array) -> Headers:
    """Return the headers of records as columns.

    ``causes`` are the event ids the trace belongs to; a span is a hash of source and record id; ``times`` are whole
    microseconds since 1970 (CloudEvents Kafka binding 1.0.2, W3C Trace Context 1).
    """
    return (
        ("ce_id", as_type(ids, pa.binary())),
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("ce_time", instants(times)),
        ("traceparent", _parents(causes, source.encode(), ids)),
    )


def _parents(causes: pa.Array, source: bytes, ids: pa.Array) -> pa.Array:
    """Return W3C traceparents: the trace id derives from the cause, the span id from source and record."""
    rows = np.empty((len(ids), 55), np.uint8)
    rows[:, :3], rows[:, 35], rows[:, 52:] = _chars(b"00-"), ord("-"), _chars(b"-01")
    rows[:, 3 : 3 + _TRACE] = hashes.hexed(hashes.sha256(causes))[:, :_TRACE]
    rows[:, 36 : 36 + _SPAN] = hashes.hexed(hashes.sha256(ids, source))[:, :_SPAN]
    return hashes.texts(rows, pa.binary())


def instants(times: pa.Array) -> pa.Array:
    """Return microseconds since 1970 as RFC 3339 in UTC."""
    told = np.datetime_as_string(times.to_numpy().astype("datetime64[us]"))
    chars = told.view(np.uint32).reshape(len(told), told.dtype.itemsize // 4)
    if chars[:, _WIDTH:].any() or not chars[:, :_WIDTH].all():  # years before 0 or after 9999
        return pa.array([f"{t}Z".encode() for t in told], pa.binary())
    rows = np.full((len(told), _WIDTH + 1), ord("Z"), np.uint8)
    rows[:, :_WIDTH] = chars[:, :_WIDTH]
    return hashes.texts(rows, pa.binary())


def _chars(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)
