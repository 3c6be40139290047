"""What the loop decides while a demo runs: read from its topics by a thread, told as lines, counted for the report."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import consumer, incoming, received
from headrace.bus.registry import ConfluentRegistry
from headrace.contracts.topics import ALIASES, COMMANDS, DEPLOYMENTS, DRIFT, MODELS, PREDICTIONS, RETRAIN
from headrace.demo.report import Loop
from headrace.local.settings import Settings
from headrace.telemetry.decisions import decision

Fields = Mapping[str, Any]
_CONTROLS = (RETRAIN, MODELS, ALIASES, DEPLOYMENTS, COMMANDS)


@dataclass
class Story:
    """The decisions of one pipeline so far, each id once, in the order they were read."""

    pipeline: str
    ids: dict[str, set[str]] = field(default_factory=dict)
    lines: list[tuple[int, str]] = field(default_factory=list)
    champion: str = "prior"
    champions: list[tuple[int, str]] = field(default_factory=list)
    first_prediction: float | None = None

    def take(self, record: str, fields: Fields) -> None:
        """Take one record of a control topic or of the drift topic."""
        told = decision(record, fields, 0)
        if fields["pipeline"] != self.pipeline or told is None:
            return
        identity = next(fields[name] for name in _IDENTITIES if name in fields)
        seen = self.ids.setdefault(record, set())
        if identity in seen:
            return
        seen.add(identity)
        self.lines.append((fields["tick"], told.text))
        if record in ("Promoted", "RolledBack"):
            self.champion = f"v{fields['version']}"
            self.champions.append((fields["time"], self.champion))

    def loop(self) -> Loop:
        """Return the counts of distinct decisions."""
        return Loop(**{name: len(self.ids.get(record, ())) for name, record in _COUNTED.items()})


# Of several ids in one record, its own comes first.
_IDENTITIES = ("signal_id", "candidate_id", "training_id", "request_id", "rollout_id", "command_id")
_COUNTED = {
    "drift_signals": "DriftDetected",
    "retrain_requests": "RetrainRequested",
    "trainings": "TrainingStarted",
    "candidates": "ModelCandidate",
    "refused_by_gates": "CandidateRefused",
    "refused_by_shadow": "ShadowRefused",
    "promotions": "Promoted",
    "rollbacks": "RolledBack",
}


class Watch:
    """A thread that reads a pipeline's decisions as they happen."""

    def __init__(self, settings: Settings, pipeline: str) -> None:
        self.story = Story(pipeline)
        self._predictions = PREDICTIONS.name(pipeline)
        self._registry = ConfluentRegistry(settings.registry_url)
        self._consumer = consumer(settings.bootstrap, "headrace.demo")
        topics = [*(t.name() for t in _CONTROLS), DRIFT.name(pipeline), self._predictions]
        self._consumer.assign([TopicPartition(t, 0, OFFSET_BEGINNING) for t in topics])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def finish(self) -> None:
        """Read to the ends as they are now, and stop."""
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        """Read until told to stop, and then once more until a second brings nothing."""
        quiet_since = time.monotonic()
        while not self._stop.is_set() or time.monotonic() - quiet_since < 1.0:
            for message in self._consumer.consume(500, 0.2):
                if received(message):
                    quiet_since = time.monotonic()
                    self._take(incoming(message))
        self._consumer.close()

    def _take(self, record: Any) -> None:
        if record.topic == self._predictions:
            if self.story.first_prediction is not None:
                return
            self.story.first_prediction = time.monotonic()
            self._consumer.incremental_unassign([TopicPartition(self._predictions, 0)])
            return
        for _, name, fields in decode_plain([record], self._registry):
            self.story.take(name, fields)
