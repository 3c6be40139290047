"""A log in memory whose records somebody writes anew."""

from collections.abc import Iterator
from contextlib import contextmanager

from headrace.bus.held import Held
from headrace.bus.memory import MemoryLog
from headrace.bus.records import Incoming


@contextmanager
def tampered(log: MemoryLog, topic: str, partition: int = 0) -> Iterator[list[Incoming]]:
    """Give the records of a partition as a list to change, as someone with the broker's disk could."""
    records = list(log.partitions[topic, partition])
    yield records
    log.partitions[topic, partition] = Held.of(records)
