"""How fast the compiled codec is, beside fastavro on the same records: ``python bench/codec.py``.

CPU seconds, median of seven; framing and Kafka are left out. The last line is what a process pays at its start.
"""

import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import pyarrow as pa

from headrace.contracts import catalogue
from headrace.contracts.arrow import from_json
from headrace.contracts.codec import Codec, warm

REPEATS = 7
EVENT = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "key", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "score", "type": ["null", "double"]},
        {"name": "count", "type": "int"},
    ],
}
START = """
import time; begin = time.process_time()
import numpy, pyarrow
arrow = time.process_time()
from headrace.contracts.codec import warm
warm()
end = time.process_time()
print(f"{arrow - begin:.2f} s for numpy and pyarrow, {end - arrow:.2f} s for numba and the kernels")
"""


def events() -> list[dict[str, Any]]:
    """Small events, the size a producer sends."""
    start = 1_356_998_400_000_000
    return [
        {
            "id": f"evt-{i:08d}",
            "at": start + i,
            "key": f"k{i % 500}",
            "amount": i / 2,
            "score": i / 10 if i % 7 else None,
            "count": i,
        }
        for i in range(16_384)
    ]


def cases() -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Yield a name, a schema and rows."""
    yield "event", EVENT, events()
    for name in ("Prediction", "Outcome"):
        schema = catalogue.schema(name)
        yield name, schema, [from_json(catalogue.example(name), Codec(schema).shape)] * 8192


def rate(rows: int, work: Callable[[], object]) -> float:
    """Return rows a CPU second."""
    took = []
    for _ in range(REPEATS):
        begin = time.process_time()
        work()
        took.append(time.process_time() - begin)
    return rows / statistics.median(took)


def report(name: str, schema: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Print one line: the size of a body, and both ways with both codecs."""
    codec, parsed, count = Codec(schema), fastavro.parse_schema(schema), len(rows)
    batch = pa.RecordBatch.from_pylist(rows, schema=codec.arrow)
    bodies = codec.encode(batch)
    values = [read(parsed, body) for body in bodies]
    if bodies != [write(parsed, value) for value in values]:
        raise SystemExit(f"{name}: the two codecs disagree")
    figures = (
        rate(count, lambda: codec.decode(bodies)),
        rate(count, lambda: [read(parsed, body) for body in bodies]),
        rate(count, lambda: codec.encode(batch)),
        rate(count, lambda: [write(parsed, value) for value in values]),
    )
    ours_in, theirs_in, ours_out, theirs_out = (f / 1e6 for f in figures)
    print(
        f"{name:<12}{len(bodies[0]):>6} bytes   "
        f"decode {ours_in:6.2f} M/s, fastavro {theirs_in:5.2f}: {ours_in / theirs_in:4.0f} times   "
        f"encode {ours_out:6.2f} M/s, fastavro {theirs_out:5.2f}: {ours_out / theirs_out:4.0f} times"
    )


def read(parsed: Any, body: bytes) -> Any:
    """Read one body with fastavro."""
    return fastavro.schemaless_reader(io.BytesIO(body), parsed, None)


def write(parsed: Any, value: Any) -> bytes:
    """Write one value with fastavro."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed, value)
    return body.getvalue()


if __name__ == "__main__":
    warm()
    for case in cases():
        report(*case)
    print(
        "start:",
        subprocess.run(
            [sys.executable, "-c", START], check=True, capture_output=True, text=True
        ).stdout.strip(),
    )
