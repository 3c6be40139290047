"""A second pair of eyes on the ledger: what a service closed in earlier lives, and whether it still closes ticks.

It reads with a client and a thread of its own, so that a runner that stands still cannot hide it.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import PATIENT, consumer, incoming, received
from headrace.bus.records import Incoming
from headrace.bus.schemas import Registry
from headrace.bus.service import Service
from headrace.contracts.topics import LEDGER
from headrace.pipeline.definition import Definition

LOG = logging.getLogger("headrace.bus")
EXIT_CODE = 1


class Watched:
    """One pipeline's ticks as a service has to answer them: pure bookkeeping, times are given."""

    def __init__(self, service: Service, definition: Definition) -> None:
        producers = sorted({p for i in service.consumes for p in i.topic.producers})
        self._upstream = {(p, k) for p in producers for k in range(definition.partitions)}
        self._name = service.name
        self._waiting: dict[int, set[tuple[str, int]]] = {}
        self._since: dict[int, float] = {}
        self.closed = 0

    def observe(self, entry: Any, now: float) -> None:
        """Take a LedgerEntry seen at ``now`` (seconds of any steady clock)."""
        tick, who = entry["tick"], (entry["service"], entry["partition"])
        if who[0] == self._name:
            self.closed = max(self.closed, tick)
            self._since = {n: since for n, since in self._since.items() if n > self.closed}
        elif who in self._upstream and tick > self.closed:
            missing = self._waiting.setdefault(tick, set(self._upstream))
            missing.discard(who)
            if not missing:
                self._since[tick] = now
                del self._waiting[tick]

    def overdue(self, now: float, patience: float) -> int | None:
        """Return the oldest tick that was complete upstream more than ``patience`` seconds ago and is still open."""
        late = [n for n, since in self._since.items() if now - since > patience]
        return min(late, default=None)


class LedgerWatch:
    """Follows the ledgers of some pipelines for one service.

    It reads uncommitted records too: an entry of ours may lie behind another service's open transaction.
    """

    def __init__(
        self, service: Service, definitions: Iterable[Definition], bootstrap: str, registry: Registry
    ) -> None:
        self._registry = registry
        self._watched = {d.name: Watched(service, d) for d in definitions}
        self._consumer = consumer(
            bootstrap, f"headrace.{service.name}.watch", **{"isolation.level": "read_uncommitted"}, **PATIENT
        )
        self._consumer.assign([TopicPartition(LEDGER.name(p), 0, OFFSET_BEGINNING) for p in self._watched])

    def history(self) -> dict[str, int]:
        """Read to the end; return the last tick the service closed in each pipeline."""
        behind = set(self._watched)
        while behind:
            behind -= self._read(0.5)
        return {pipeline: watched.closed for pipeline, watched in self._watched.items()}

    def guard(self, patience: float, failed: Callable[[str], None]) -> None:
        """End the process from a thread when a tick stays open for longer than ``patience`` seconds."""
        Thread(target=self._guard, args=(patience, failed), name="ledger-watch", daemon=True).start()

    def _guard(self, patience: float, failed: Callable[[str], None]) -> None:
        while True:
            self._read(1.0)
            for pipeline, watched in self._watched.items():
                tick = watched.overdue(time.monotonic(), patience)
                if tick is not None:
                    failed(f"tick {tick} of {pipeline} stands open for more than {patience:g} s")
                    os._exit(EXIT_CODE)

    def _read(self, wait: float) -> set[str]:
        """Take what is there; return the pipelines whose ledger was read to its end."""
        ended, records = set(), []
        for message in self._consumer.consume(5_000, wait):
            if received(message):
                records.append(incoming(message))
            elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                ended.add(message.topic().partition(".")[0])
        self._observe(records)
        return ended

    def _observe(self, records: list[Incoming]) -> None:
        now = time.monotonic()
        for _, _, entry in decode_plain(records, self._registry):
            self._watched[entry["pipeline"]].observe(entry, now)
