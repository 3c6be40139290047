"""The broker itself, as Kafka's own Java tools measure it: records a second in and out, nobody doing any work on them.

The topic has the job's partitions, the records the size of its events; a producer asks for every acknowledgement and
compresses as the services do.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from itertools import pairwise

from confluent_kafka.admin import AdminClient, NewTopic

from bench.job import PARTITIONS, RECORD_BYTES
from headrace.errors import HeadraceError
from headrace.local import jars
from headrace.local.java import java
from headrace.local.settings import Settings
from headrace.testing.broker import running_kafka

NAME, EVENTS, WARM = "broker", 2_000_000, 200_000
TOPIC, PATIENCE = "bench.perf.v1", 600.0
WRITER = ("acks=all", "compression.type=lz4", "linger.ms=5", "batch.size=131072")
STEADY = re.compile(r"steady state records sent, ([\d.]+) records/sec")


@dataclass(frozen=True)
class Flow:
    """Records a second that a broker took in and gave out, and how many of them did not come out."""

    events: int
    in_per_second: float
    out_per_second: float
    lost: int


def flow(count: int = EVENTS) -> Flow:
    """Measure a broker of its own once.

    Raises HeadraceError when a tool fails, UnreachableError when Maven does not have it or Kafka does not start.
    """
    for settings in running_kafka():
        admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(PATIENCE)
        warm = min(WARM, count // 4)
        asked = ("--throughput", "-1", "--warmup-records", str(warm), "--record-size", str(RECORD_BYTES))
        sent = _tool(settings, "Producer", count, *asked, "--command-property", *WRITER)
        came, rate = consumed(_tool(settings, "Consumer", count))
    return Flow(count, produced(sent), rate, count - came)


def produced(told: str) -> float:
    """Return the records a second after the warm-up from what ProducerPerformance printed; raise HeadraceError."""
    if found := STEADY.search(told):
        return float(found[1])
    raise HeadraceError("Kafka's producer tool told no rate", told[-500:])


def consumed(told: str) -> tuple[int, float]:
    """Return how many records came, and how many a second, the joining of the group left out; raise HeadraceError."""
    lines = [[cell.strip() for cell in line.split(",")] for line in told.splitlines()]
    named = [dict(zip(head, row, strict=True)) for head, row in pairwise(lines) if _head(head)]
    if not named:
        raise HeadraceError("Kafka's consumer tool told no rate", told[-500:])
    return int(named[0]["data.consumed.in.nMsg"]), float(named[0]["fetch.nMsg.sec"])


def _head(cells: list[str]) -> bool:
    return "fetch.nMsg.sec" in cells


def _tool(settings: Settings, kind: str, count: int, *arguments: str) -> str:
    """Run one of the two tools against the broker and return what it printed."""
    found = [*jars.fetched("kafka", settings.cache), *jars.fetched("tools", settings.cache)]
    command = [str(java()), "-Xmx512m", "-cp", os.pathsep.join(map(str, found))]
    command += [f"org.apache.kafka.tools.{kind}Performance", "--topic", TOPIC, "--num-records", str(count)]
    command += ["--bootstrap-server", settings.bootstrap, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode:
        raise HeadraceError(f"Kafka's {kind.lower()} tool failed", (done.stderr or done.stdout)[-500:])
    return done.stdout
