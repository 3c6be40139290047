"""The overview of a running installation: read once for a status, or followed by a thread for a live view."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import consumer, incoming, received
from headrace.bus.registry import ConfluentRegistry
from headrace.contracts.topics import RECEIPTS
from headrace.errors import UnreachableError
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition
from headrace.telemetry.decisions import Decision
from headrace.telemetry.overview import CONTROLS, STREAMS, Overview

MOST = 5_000  # records taken at once
QUICK = {"fetch.wait.max.ms": 20}
_TOLD = (
    "name",
    "events",
    "rejected",
    "quarantined",
    "predictions",
    "outcomes",
    "champion",
    "lag",
    "tick",
    "time",
)


def pipelines(settings: Settings) -> list[dict[str, Any]]:
    """Return one row a pipeline: name, events, rejected, quarantined, predictions, outcomes, champion, lag, tick and its time.

    ``lag`` says how many ticks the slowest stage has open, and for how many seconds the first of them.

    Raises:
        UnreachableError: when the broker or the registry does not answer.
    """
    follower = Follower(settings)
    follower.catch_up()
    follower.close()
    return [{name: told[name] for name in _TOLD} for told in follower.report()]


class Follower:
    """Keeps an overview of all pipelines, those registered later included.

    Use :meth:`catch_up` for the state now, or :meth:`start` for a thread that keeps it; reading is safe from any
    thread.
    """

    def __init__(self, settings: Settings, fetching: Mapping[str, Any] = QUICK) -> None:
        """Follow with a client of these settings: ``QUICK`` sees the end of a topic at once, and has a price."""
        self._registry = ConfluentRegistry(settings.registry_url)
        self._consumer = consumer(settings.bootstrap, "headrace.overview", **fetching)
        known = _topics(self._consumer, settings.bootstrap)
        self._behind: set[tuple[str, int]] = set()
        self._followed: set[tuple[str, int]] = set()
        self._overview, self._lock = Overview(), threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._consumer.assign([])
        self._add((t.name(), 0) for t in CONTROLS if t.name() in known)

    def catch_up(self) -> None:
        """Read to the ends as they are."""
        while self._behind:
            self._read(0.2)

    def start(self, ended: Callable[[], None]) -> None:
        """Keep up with the log in a thread; ``ended`` is called when it ends, for whatever reason."""
        self._thread = threading.Thread(target=self._keep, args=(ended,), name="overview", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether the thread keeps up; an error of its own has ended it otherwise."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._consumer.close()

    def report(self) -> list[dict[str, Any]]:
        """Return all pipelines as plain values."""
        with self._lock:
            return self._overview.report(_now())

    def decisions(self, pipeline: str) -> list[Decision]:
        """Return a pipeline's last decisions, oldest first; none for a pipeline that is not there."""
        with self._lock:
            state = self._overview.pipelines.get(pipeline)
            return sorted(state.decisions, key=lambda d: d.appended) if state else []

    def _keep(self, ended: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                self._read(0.2)
        finally:
            ended()

    def _add(self, places: Iterable[tuple[str, int]]) -> None:
        wanted = set(places) - self._followed
        if not wanted:
            return
        self._consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING) for place in wanted])
        self._behind |= wanted
        self._followed |= wanted

    def _read(self, wait: float) -> None:
        first = self._consumer.poll(wait)
        messages = [first, *self._consumer.consume(MOST, 0)] if first is not None else []
        found = []
        for message in messages:
            if received(message):
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                self._behind.discard((message.topic(), message.partition()))
        self._take(found)

    def _take(self, messages: list[Any]) -> None:
        records = decode_plain([incoming(m) for m in messages], self._registry)
        with self._lock:
            for message, (_, name, fields) in zip(messages, records, strict=True):
                told = {"pipeline": message.topic().partition(".")[0], **fields}
                self._overview.take(name, told, message.timestamp()[1])
            known = set(self._overview.pipelines)
        self._add((t.name(p), 0) for p in sorted(known) for t in STREAMS)
        self._add(
            place
            for _, name, fields in records
            if name == "PipelineRegistered"
            for place in _receipts(fields)
        )


def _receipts(registered: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """Return where a pipeline's receipts lie that count for its overview: nowhere, if no rule of it quarantines."""
    definition = Definition.model_validate_json(registered["definition"])
    partitions = range(definition.partitions) if definition.quarantines else ()
    return [(RECEIPTS.name(definition.name), p) for p in partitions]


def _topics(client: Consumer, bootstrap: str) -> set[str]:
    try:
        return set(client.list_topics(timeout=10).topics)
    except KafkaException as error:
        raise UnreachableError(
            f"the broker at {bootstrap} does not answer", str(error), "headrace up"
        ) from error


def _now() -> int:
    return time.time_ns() // 1_000_000
