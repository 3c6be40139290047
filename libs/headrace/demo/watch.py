"""What the loop decides while a demo runs: read from its topics by a thread, told as lines, counted for the report."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import consumer, incoming, received
from headrace.bus.registry import ConfluentRegistry
from headrace.contracts.topics import ALIASES, COMMANDS, DEPLOYMENTS, DRIFT, MODELS, PREDICTIONS, RETRAIN
from headrace.demo.report import Loop
from headrace.local.settings import Settings

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
        if fields["pipeline"] != self.pipeline or record not in _TOLD:
            return
        identity, tell = _TOLD[record]
        seen = self.ids.setdefault(record, set())
        if fields[identity] in seen:
            return
        seen.add(fields[identity])
        self.lines.append((fields["tick"], tell(fields)))
        if record in ("Promoted", "RolledBack"):
            self.champion = f"v{fields['version']}"
            self.champions.append((fields["time"], self.champion))

    def loop(self) -> Loop:
        """Return the counts of distinct decisions."""
        return Loop(**{name: len(self.ids.get(record, ())) for name, record in _COUNTED.items()})


_TOLD: dict[str, tuple[str, Callable[[Fields], str]]] = {
    "DriftDetected": (
        "signal_id",
        lambda f: f"drift {f['level']}: {f['feature']} (effect {f['effect']:.3f})",
    ),
    "RetrainRequested": ("request_id", lambda f: f"retrain requested by {f['trigger']}: {f['reason']}"),
    "RetrainRefused": ("request_id", lambda f: f"retrain refused: {f['reason']}"),
    "TrainingStarted": ("training_id", lambda f: f"training on ticks {f['from_tick']} to {f['to_tick']}"),
    "TrainingFailed": ("training_id", lambda f: f"training failed: {f['error']}"),
    "ModelCandidate": (
        "candidate_id",
        lambda f: f"candidate: loss {f['loss']:.4f} on {f['holdout_rows']} held-out rows",
    ),
    "ModelVersionRegistered": ("candidate_id", lambda f: f"v{f['version']} registered"),
    "CandidateRefused": ("candidate_id", lambda _: "candidate refused by the gates"),
    "ShadowStarted": ("rollout_id", lambda f: f"v{f['version']} in shadow of v{f['champion_version']}"),
    "ShadowRefused": ("rollout_id", lambda f: f"v{f['version']} refused in shadow: {f['reason']}"),
    "Promoted": ("rollout_id", lambda f: f"v{f['version']} promoted after {f['blocks']} days: {f['reason']}"),
    "RolledBack": ("rollout_id", lambda f: f"rolled back to v{f['version']} by {f['by']}: {f['why']}"),
}
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
