"""What the console reads: the overview all the time, the last answers and the health of others when somebody looks.

It is no stage: it closes no tick and writes nothing.
"""

import threading
import time
from collections import Counter
from typing import Any

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import PATIENT
from headrace.bus.reading import KafkaLog, Log, Span
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import Registry
from headrace.contracts.topics import OUTCOMES, PREDICTIONS, RECEIPTS
from headrace.local import answers
from headrace.local.platform import Platform
from headrace.local.settings import Settings
from headrace.telemetry.status import Follower
from services.console.handler import event

ANSWERS = (PREDICTIONS, OUTCOMES, RECEIPTS)
FRESH = 2.0  # seconds for which an answer about health is used again


class Live(Follower):
    """The follower's overview, with the last events and the health of the services beside it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, PATIENT)
        self._log, self._schemas = KafkaLog(settings.bootstrap), ConfluentRegistry(settings.registry_url)
        self._reading, self._asking = threading.Lock(), threading.Lock()
        self._ports = neighbours(settings)
        self._healthy: dict[str, bool] = {}
        self._asked = -FRESH

    def events(self, pipeline: str, limit: int) -> list[dict[str, Any]]:
        """Return a pipeline's last answers, newest first."""
        with self._reading:
            return last_answers(self._log, self._schemas, pipeline, limit)

    def healthy(self) -> dict[str, bool]:
        """Return whether each service that can be asked calls itself healthy."""
        with self._asking:
            if time.monotonic() - self._asked > FRESH:
                self._healthy = {name: answers.service_answers(port) for name, port in self._ports.items()}
                self._asked = time.monotonic()
            return self._healthy


def last_answers(log: Log, registry: Registry, pipeline: str, limit: int) -> list[dict[str, Any]]:
    """Return the last predictions, outcomes and receipts of a pipeline, ``limit`` of each, newest first.

    Of each, since a tick's outcomes all come at its close and would hide the rest.
    """
    ends = {topic.name(pipeline): log.ends(topic.name(pipeline)) for topic in ANSWERS}
    spans = [
        Span(name, p, max(end - 2 * limit, 0), end)
        for name, found in ends.items()
        for p, end in found.items()
    ]
    found = list(log.read(spans))
    decoded = decode_plain((s.record for s in found), registry)
    told = [event(name, fields, s.appended) for s, (_, name, fields) in zip(found, decoded, strict=True)]
    told.sort(key=lambda e: (e["appended"], e["tick"], e["event_time"] or 0), reverse=True)
    return _first_of_each(told, limit)


def _first_of_each(told: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    kept, seen = [], Counter[str]()
    for line in told:
        seen[line["record"]] += 1
        if seen[line["record"]] <= limit:
            kept.append(line)
    return kept


def neighbours(settings: Settings) -> dict[str, int]:
    """Return the health ports of the services on this machine, whose ports are counted up by name.

    In a container there is this folder alone, and nobody else to ask.
    """
    platform = Platform(settings)
    first = settings.metrics_port - platform.services.index("console")
    return Platform(settings.model_copy(update={"metrics_port": first}), platform.services).asked
