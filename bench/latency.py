"""How long an event takes from its append to that of its answer, at a steady rate, hop by hop.

PYTHONPATH=libs:. .venv/bin/python -m bench.latency
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Producer

from bench.harness import PAUSE, RECEIPT, WARM_STILL, rest, whole
from bench.job import PARTITIONS, events
from bench.rows import BASE, Row, rows
from bench.stage import PATIENCE, Stage, stage, within
from bench.warmth import Compilers
from headrace.bus.kafka import producer, send
from headrace.bus.reading import KafkaLog, Stamped
from headrace.bus.records import Outgoing
from headrace.contracts.topics import EVENTS, FEATURES, RECEIPTS, VALIDATED

RATE = 1_000  # events a second; the other rate is half of what the row can do at most
SLICES = 100  # a second
SECONDS, MOST, WARM, EARLY = 60, 600_000, 3_000, 0.5  # the early part is not counted
WARMING = 180  # seconds, at most, at RATE, until the broker's compilers have come to rest
# Which rows are asked, with how many partitions, and whether at half of their peak too.
ASKED = (
    ("headrace three services", 1, True),
    ("headrace three services", PARTITIONS, True),
    ("headrace fused", 1, True),
    ("headrace fused", PARTITIONS, True),
    ("headrace fused lean", PARTITIONS, True),
    (BASE, PARTITIONS, False),
)
FIRST = fastavro.parse_schema(
    {"type": "record", "name": "First", "fields": [{"name": "id", "type": "string"}]}
)  # every record of an event begins with the event's id


def latency(
    row: Row, rate: int, partitions: int = PARTITIONS, seconds: int = SECONDS
) -> list[dict[str, Any]]:
    """Return p50 and p99 in ms of each hop of a row, end to end, and of its receipts, at ``rate`` events/s.

    Raises:
        HeadraceError: when a process ends, or the row does not keep up.
    """
    with stage(partitions, kafka_jit="full") as ready:
        with nullcontext() if row.peer else ready.ticking():
            since = _flow(ready, row, rate, seconds)
        with KafkaLog(ready.settings.bootstrap) as log:
            hops = [EVENTS.name("bench")]
            if row.name == "headrace three services":
                hops += [VALIDATED.name("bench"), FEATURES.name("bench")]
            times = {topic: _times(whole(log, topic)) for topic in [*hops, row.answers]}
            receipts = {} if row.peer else _receipts(whole(log, RECEIPTS.name("bench")))
    counted = {event for event, at in times[hops[0]].items() if at >= since}
    times = {topic: {event: at[event] for event in at.keys() & counted} for topic, at in times.items()}
    raw, name = times[hops[0]], named(row, partitions)
    told = [
        _told(f"{name}: {b.split('.')[1]}", rate, times[a], times[b])
        for a, b in pairwise([*hops, row.answers])
        if len(hops) > 1
    ]
    told.append(_told(f"{name}: end to end", rate, raw, times[row.answers]))
    return [*told, _told(f"{name}: receipts", rate, raw, receipts)] if receipts else told


def named(row: Row, partitions: int) -> str:
    """Return the name of a row with so many partitions."""
    return f"{row.name}, {partitions} partition{'s' if partitions > 1 else ''}"


def _flow(ready: Stage, row: Row, rate: int, seconds: int) -> int:
    """Publish at the rate while the row runs, once it is warm; return when nothing more comes out.

    The answer is when the first of what counts was published, in ms since 1970.
    """
    count = min(rate * seconds, MOST)
    made = events(WARM + WARMING * RATE + count)
    records = ready.framed(made.part(WARM, len(made.number)))
    writer = producer(ready.settings.bootstrap, None, **{"linger.ms": 0})
    with ready.running(*row.commands, peer=row.peer) as processes:
        ready.publish(made.part(0, WARM))
        rest(ready, row, processes, int(0.9 * WARM), WARM_STILL)
        warmed = _publish(writer, records[: WARMING * RATE], RATE, Compilers().rest)
        since = int(1_000 * time.time())
        counted = _publish(writer, records[-count:], rate)
        wanted = int(0.98 * (warmed + counted))
        within(PATIENCE, f"{row.name} does not keep up", lambda: ready.ends([row.answers]) >= wanted)
        time.sleep(4 * PAUSE)
    return since


def _publish(
    writer: Producer, records: Sequence[Outgoing], rate: int, enough: Callable[[], bool] = lambda: False
) -> int:
    """Publish records at a rate until all are, or it is ``enough``; return how many were."""
    began, size, told = time.monotonic(), max(1, rate // SLICES), 0
    while told < len(records) and not enough():
        time.sleep(max(0.0, began + told / rate - time.monotonic()))
        send(writer, records[told : told + size])
        told += size
        writer.poll(0)
    writer.flush(PATIENCE)
    return min(told, len(records))


def _times(records: Sequence[Stamped]) -> dict[str, int]:
    """Return when each event's first record was appended."""
    found: dict[str, int] = {}
    for r in records:
        event = fastavro.schemaless_reader(io.BytesIO((r.record.value or b"")[5:]), FIRST, None)["id"]
        found[event] = min(r.appended, found.get(event, r.appended))
    return found


def _receipts(records: Sequence[Stamped]) -> dict[str, int]:
    return {
        fastavro.schemaless_reader(io.BytesIO((r.record.value or b"")[5:]), RECEIPT, None)[
            "event_id"
        ]: r.appended
        for r in records
    }


def _told(name: str, rate: int, begin: Mapping[str, int], end: Mapping[str, int]) -> dict[str, Any]:
    """Return the quantiles of one way, its first part left out."""
    both = sorted((begin[event], end[event]) for event in begin.keys() & end.keys())
    took = np.array([e - b for b, e in both[int(EARLY * len(both)) :]])
    p50, p99 = (round(float(q), 1) for q in np.quantile(took, [0.5, 0.99])) if len(took) else (None, None)
    return {"name": name, "rate": rate, "p50_ms": p50, "p99_ms": p99}


def main() -> None:
    """Measure one way of ours once and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ours = {row.name: row for row in rows(Path(sys.executable)) if not row.peer}
    parser.add_argument("--row", choices=ours, default="headrace three services")
    parser.add_argument("--rate", type=int, default=RATE, help="events a second")
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="the first half is not counted")
    asked = parser.parse_args()
    for told in latency(ours[asked.row], asked.rate, asked.partitions, asked.seconds):
        print(f"{told['name']:60} p50 {told['p50_ms']:8} ms   p99 {told['p99_ms']:8} ms")


if __name__ == "__main__":
    main()
