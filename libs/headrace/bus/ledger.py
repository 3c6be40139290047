"""The ledger entry: what one service took in and gave out for one tick of one partition."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from headrace.bus import tree
from headrace.bus.changelog import Progress
from headrace.bus.scribe import Coming
from headrace.bus.service import Tick


def ledger_entry(
    service: str, partition: int, tick: Tick, done: Progress, raw_to: int | None
) -> pa.RecordBatch:
    """Return a LedgerEntry as one row; ``raw_to`` is the raw cut, for the service that makes it."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "service": service,
                "pipeline": tick.pipeline,
                "partition": partition,
                "tick": tick.n,
                "time": tick.time,
                "raw_from": done.raw_from if raw_to is not None else None,
                "raw_to": raw_to,
                "records_in": done.records_in,
                "records_out": sorted(done.records_out.items()),
                "rejected": done.rejected,
                "absorbed": done.absorbed,
                "digest": digest(done.trees),
            }
        ],
        schema=_ENTRY,
    )


def digest(trees: Mapping[str, Coming[bytes]]) -> str:
    """Return the digest of what was given out, in hex: SHA-256 of a line for each topic, its name and its tree's root."""
    lines = (f"{topic} {tree.root(peaks.result()).hex()}\n" for topic, peaks in sorted(trees.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


_ENTRY = pa.schema(
    [
        ("service", pa.string()),
        ("pipeline", pa.string()),
        ("partition", pa.int32()),
        ("tick", pa.int64()),
        ("time", pa.int64()),
        ("raw_from", pa.int64()),
        ("raw_to", pa.int64()),
        ("records_in", pa.int64()),
        ("records_out", pa.map_(pa.string(), pa.int64())),
        ("rejected", pa.int64()),
        ("absorbed", pa.int64()),
        ("digest", pa.string()),
    ]
)
