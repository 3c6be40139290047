"""The state of all pipelines as the log tells it: pure folds over ticks, ledger, control and drift records.

Lag is told in ticks, and in seconds since the broker took in the first tick that is still open. Consumer offsets say
neither: transaction markers keep them apart from the end for ever.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.contracts.topics import (
    ALIASES,
    COMMANDS,
    DEPLOYMENTS,
    DRIFT,
    FEATURES,
    LEDGER,
    MODELS,
    OUTCOMES,
    PIPELINES,
    PREDICTIONS,
    RETRAIN,
    TICKS,
    Topic,
)  # fmt: skip
from headrace.models.deployed import Deployed, Version, fold
from headrace.telemetry.decisions import Decision, decision

Fields = Mapping[str, Any]
CONTROLS: tuple[Topic, ...] = (PIPELINES, RETRAIN, MODELS, ALIASES, DEPLOYMENTS, COMMANDS)
STREAMS: tuple[Topic, ...] = (TICKS, LEDGER, DRIFT)
REMEMBERED = 200  # decisions kept for each pipeline
RATE_SECONDS = 10


@dataclass
class Sums:
    """What one service took in and gave out since the beginning."""

    records_in: int = 0
    rejected: int = 0
    absorbed: int = 0
    out: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Fields) -> None:
        """Add a ledger entry."""
        self.records_in += entry["records_in"]
        self.rejected += entry["rejected"]
        self.absorbed += entry["absorbed"]
        self.out.update(entry["records_out"])


@dataclass
class PipelineState:
    """One pipeline, as far as its topics have been read."""

    name: str
    stages: list[str] = field(default_factory=list)
    tick: Fields | None = None
    issued: dict[int, int] = field(default_factory=dict)
    closed: dict[tuple[str, int], int] = field(default_factory=dict)
    sums: dict[str, Sums] = field(default_factory=dict)
    recent: deque[tuple[int, int]] = field(default_factory=deque)
    deployed: Deployed = field(default_factory=Deployed)
    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    counted: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    _doubted: dict[int, int] = field(default_factory=dict)

    def take_tick(self, fields: Fields, appended: int) -> None:
        """Take a tick and when the broker took it in (milliseconds UTC)."""
        if self.tick is None or fields["n"] > self.tick["n"]:
            self.tick = fields
            self.issued[fields["n"]] = appended

    def take_entry(self, entry: Fields, appended: int) -> None:
        """Take a ledger entry; a second one for the same tick counts for nothing."""
        lane = entry["service"], entry["partition"]
        if entry["tick"] <= self.closed.get(lane, 0):
            return
        self.closed[lane] = entry["tick"]
        self.sums.setdefault(entry["service"], Sums()).add(entry)
        if entry["service"] == "ingestion":
            self.recent.append((appended, entry["records_in"]))
            while self.recent[0][0] < appended - RATE_SECONDS * 1_000:
                self.recent.popleft()
        self._forget()

    def take_control(self, record: str, fields: Fields, appended: int) -> None:
        """Take a record of a control topic or of the drift topic."""
        self.deployed = fold(self.deployed, record, fields) if record in _ROLLOUTS else self.deployed
        found = decision(record, fields, appended)
        if found is not None:
            self.decisions.append(found)
            self.counted[record] += 1

    def take_receipt(self, receipt: Fields) -> None:
        """Count an event that rules quarantined, once: the receipts of an event follow each other."""
        place = receipt["origin"]
        if receipt["severity"] == "quarantine" and self._doubted.get(place["partition"]) != place["offset"]:
            self._doubted[place["partition"]] = place["offset"]
            self.quarantined += 1

    def lag(self, service: str, now: int) -> tuple[int, float]:
        """Return how many ticks a service has open, and for how many seconds the first of them (``now``: ms UTC)."""
        if self.tick is None:
            return 0, 0.0
        lanes = [s.rsplit("/", 1) for s in self.stages]
        closed = min(
            (self.closed.get((s, int(p)), 0) for s, p in lanes if s == service), default=self.tick["n"]
        )
        since = self.issued.get(closed + 1)
        return self.tick["n"] - closed, 0.0 if since is None else max(now - since, 0) / 1_000

    def rate(self, now: int) -> float:
        """Return raw records a second over the last seconds before ``now`` (ms UTC)."""
        return sum(count for at, count in self.recent if at > now - RATE_SECONDS * 1_000) / RATE_SECONDS

    def report(self, now: int) -> dict[str, Any]:
        """Return the pipeline as plain values; ``events`` are those refused plus those that got a feature vector.

        ``quarantined`` are events and labels that a rule of that severity marked. A champion of None means that the declared prior answers.
        """
        services = [self._service(name, now) for name in sorted({s.rsplit("/", 1)[0] for s in self.stages})]
        rejected = self._sums("ingestion").rejected
        slowest = max(
            (s["lag"] for s in services), key=lambda lag: lag["ticks"], default={"ticks": 0, "seconds": 0.0}
        )
        return {
            "name": self.name,
            "events": self._out("features", FEATURES) + rejected,
            "rejected": rejected,
            "quarantined": self.quarantined,
            "predictions": self._out("serving", PREDICTIONS),
            "outcomes": self._out("monitoring", OUTCOMES),
            "champion": _named(self.deployed.champion),
            "challenger": _named(self.deployed.challenger),
            "lag": slowest,
            "tick": self.tick["n"] if self.tick else 0,
            "time": self.tick["time"] if self.tick else None,
            "records": self._sums("ingestion").records_in,
            "records_per_second": round(self.rate(now), 1),
            "decisions": dict(self.counted),
            "services": services,
        }

    def _service(self, name: str, now: int) -> dict[str, Any]:
        ticks, seconds = self.lag(name, now)
        sums = self._sums(name)
        return {
            "name": name,
            "lag": {"ticks": ticks, "seconds": round(seconds, 3)},
            "records_in": sums.records_in,
            "records_out": sum(sums.out.values()),
            "rejected": sums.rejected,
        }

    def _sums(self, service: str) -> Sums:
        return self.sums.get(service, Sums())

    def _out(self, service: str, topic: Topic) -> int:
        return self._sums(service).out[topic.name(self.name)]

    def _forget(self) -> None:
        """Drop the times of ticks that every stage has closed."""
        lanes = {(s, int(p)) for s, p in (stage.rsplit("/", 1) for stage in self.stages)}
        done = min((self.closed.get(lane, 0) for lane in lanes), default=0)
        for n in [n for n in self.issued if n <= done]:
            del self.issued[n]


def _named(version: Version | None) -> str | None:
    return f"{version.name} v{version.version}" if version else None


_ROLLOUTS = ("ShadowStarted", "ShadowRefused", "Promoted", "RolledBack")


@dataclass
class Overview:
    """All pipelines; :meth:`take` wants every record of ``CONTROLS`` and of each pipeline's ``STREAMS``.

    Of a pipeline with rules that quarantine it wants the receipts too, with the pipeline's name among their fields.
    """

    pipelines: dict[str, PipelineState] = field(default_factory=dict)

    def take(self, record: str, fields: Fields, appended: int) -> None:
        """Take one record, with the time at which the broker appended it (milliseconds UTC)."""
        state = self.pipelines.setdefault(fields["pipeline"], PipelineState(fields["pipeline"]))
        if record == "Tick":
            state.take_tick(fields, appended)
        elif record == "LedgerEntry":
            state.take_entry(fields, appended)
        elif record == "Receipt":
            state.take_receipt(fields)
        elif record == "PipelineRegistered":
            state.stages = list(fields["stages"])
        else:
            state.take_control(record, fields, appended)

    def report(self, now: int) -> list[dict[str, Any]]:
        """Return all pipelines as plain values, by name (``now``: milliseconds UTC)."""
        return [state.report(now) for _, state in sorted(self.pipelines.items())]
