"""CloudEvents and W3C trace headers of records, all derived from ids."""

from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus import hashes
from headrace.bus.blocks import ColumnHeaders
from headrace.contracts.arrow import as_type
from headrace.contracts.kernel import inlined, kernel

_TRACE, _SPAN = 32, 16  # digits
_FORM = np.frombuffer(b"0000-00-00T00:00:00.000000Z", np.uint8)
_DATE = len("0000-00-00")
_DAY = 86_400_000_000  # microseconds
_FIRST, _END = (int(np.datetime64(year).astype("datetime64[us]").astype(int)) for year in ("0000", "10000"))


def headers(source: str, kind: str, ids: pa.Array, causes: pa.Array, times: pa.Array) -> ColumnHeaders:
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
    rows[:, 3 : 3 + _TRACE] = hashes.hexed(hashes.sha256(causes)[:, : _TRACE // 2])
    rows[:, 36 : 36 + _SPAN] = hashes.hexed(hashes.sha256(ids, source)[:, : _SPAN // 2])
    return hashes.texts(rows, pa.binary())


def instants(times: pa.Array) -> pa.Array:
    """Return microseconds since 1970 as RFC 3339 in UTC."""
    micros = times.to_numpy()
    if len(micros) and not (micros.min() >= _FIRST and micros.max() < _END):
        told = np.datetime_as_string(micros.astype("datetime64[us]"))
        return pa.array([f"{t}Z".encode() for t in told], pa.binary())
    rows = np.tile(_FORM, (len(micros), 1))
    _write(micros, rows)
    return hashes.texts(rows, pa.binary())


@inlined
def _digits(number: Any, out: Any) -> None:
    for place in range(len(out) - 1, -1, -1):
        out[place] = 48 + number % 10
        number //= 10


@inlined
def _date(day: Any, out: Any) -> None:
    """Write the date of a day since 1970 in the years 0 to 9999.

    It is ``civil_from_days`` of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": an era has 400 years
    and begins with the first of March.
    """
    era, of_era = np.divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    late = month >= 10  # noqa: PLR2004 -- January and February are such a year's last
    _digits(year + 400 * era + late, out[:4])
    _digits(month - 9 if late else month + 3, out[5:7])
    _digits(of_year - (153 * month + 2) // 5 + 1, out[8:10])


@kernel
def _write(times: Any, rows: Any) -> None:
    """Write instants over a form; a date is only worked out where the row before has another."""
    known = np.int64(-1 << 62)
    for n in range(len(times)):
        day, left = np.divmod(np.int64(times[n]), _DAY)
        if day == known:
            for place in range(_DATE):
                rows[n, place] = rows[n - 1, place]
        else:
            known = day
            _date(day, rows[n])
        seconds, micros = left // 1_000_000, left % 1_000_000
        _digits(seconds // 3_600, rows[n, 11:13])
        _digits(seconds // 60 % 60, rows[n, 14:16])
        _digits(seconds % 60, rows[n, 17:19])
        _digits(micros, rows[n, 20:26])


def _chars(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def warm() -> None:
    """Compile the kernel and leave it in the cache on disk."""
    instants(pa.array([0]))
