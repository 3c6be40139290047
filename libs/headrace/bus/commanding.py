"""An operator's word as an event on a control topic, and the wait for its answer."""

import getpass
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from headrace.bus.encode import Encoder
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import producer, send
from headrace.bus.observer import Said, encoded
from headrace.bus.reading import Log, Span, records
from headrace.bus.refusals import derived_id
from headrace.bus.schemas import Registry
from headrace.contracts.topics import (
    ALIASES,
    COMMANDS,
    DEPLOYMENTS,
    MODELS,
    PIPELINES,
    QUARANTINE,
    RETRAIN,
    TICKS,
    Topic,
)
from headrace.errors import HeadraceError, UnreachableError, UsageError
from headrace.pipeline.definition import Definition

PAUSE = 0.1
OPERATOR = -1  # the tick of what is said between ticks
Place = tuple[str, int, int]  # topic, partition, offset
Told = tuple[int, str, Mapping[str, Any]]


def definition(log: Log, registry: Registry, pipeline: str) -> Definition:
    """Return the definition a pipeline was last registered with; raise UsageError for an unknown pipeline."""
    definitions = _definitions(log, registry)
    if pipeline not in definitions:
        known = ", ".join(sorted(definitions)) or "none"
        raise UsageError(f"there is no pipeline {pipeline}", f"registered are: {known}", "headrace status")
    return Definition.model_validate_json(definitions[pipeline])


def only(log: Log, registry: Registry) -> str:
    """Return the name of the one pipeline there is; raise UsageError where there are others."""
    known = sorted(_definitions(log, registry))
    if len(known) != 1:
        raise UsageError(
            "name the pipeline", f"registered are: {', '.join(known) or 'none'}", "--pipeline NAME"
        )
    return known[0]


def _definitions(log: Log, registry: Registry) -> dict[str, str]:
    found = decode_plain((s.record for s in log.read([Span(PIPELINES.name())])), registry)
    return {fields["pipeline"]: fields["definition"] for _, _, fields in found}


def rollback(pipeline: str, why: str, *, by: str | None = None, to_version: int | None = None) -> Said:
    """Return the wish for an earlier champion; None: the one before."""
    return Said(COMMANDS, "RollbackRequested", {**order(pipeline, why, by), "to_version": to_version})


def release(pipeline: str, quarantine_id: str, why: str, *, by: str | None = None) -> Said:
    """Return the word that a quarantined stretch of labels may be used."""
    return Said(
        QUARANTINE, "QuarantineReleased", {"quarantine_id": quarantine_id, **order(pipeline, why, by)}
    )


def skip(pipeline: str, service: str, place: Place, why: str, *, by: str | None = None) -> Said:
    """Return the order that lets a service step over a raw record."""
    where = {"service": service, "topic": place[0], "partition": place[1], "offset": place[2]}
    return Said(COMMANDS, "SkipRequested", {**order(pipeline, why, by), **where})


def pause(pipeline: str, why: str, *, by: str | None = None) -> Said:
    """Return the order to stop trainings."""
    return Said(RETRAIN, "RetrainPaused", order(pipeline, why, by))


def resume(pipeline: str, why: str, *, by: str | None = None) -> Said:
    """Return the order to go on with trainings."""
    return Said(RETRAIN, "RetrainResumed", order(pipeline, why, by))


def retrain(pipeline: str, why: str, now: int, *, by: str | None = None) -> Said:
    """Return the wish for a training; ``now`` is the time of the last tick."""
    asked = {
        "request_id": str(uuid4()),
        "pipeline": pipeline,
        "tick": OPERATOR,
        "time": now,
        "trigger": "operator",
    }
    return Said(RETRAIN, "RetrainRequested", {**asked, "reason": why, "requested_by": by or operator()})


def order(pipeline: str, why: str, by: str | None) -> dict[str, Any]:
    """Return the fields that every order has; raise UsageError for an empty reason."""
    if not why.strip():
        raise UsageError(
            "the reason is empty", "it is kept with the event for those who audit it", '--why "..."'
        )
    return {
        "command_id": str(uuid4()),
        "pipeline": pipeline,
        "tick": OPERATOR,
        "by": by or operator(),
        "why": why,
    }


def operator() -> str:
    """Return the name of the OS user."""
    return getpass.getuser()


def say(bootstrap: str, registry: Registry, said: Said, about: Definition) -> None:
    """Write an event to its topic and return when the broker has it.

    Raises:
        UnreachableError: when the broker does not take it within half a minute.
    """
    writer = producer(bootstrap)
    send(writer, encoded(Encoder(registry), said, about))
    if writer.flush(30):
        raise UnreachableError(f"the broker at {bootstrap} did not take the event", "", "headrace doctor")


class Answers:
    """Waits for what the services say about a wish."""

    def __init__(
        self,
        log: Log,
        registry: Registry,
        pipeline: str,
        seconds: float,
        *,
        rest: Callable[[], None] | None = None,
    ) -> None:
        """Wait up to ``seconds`` in all; ``rest`` is what is done between two looks."""
        self._log, self._registry, self._pipeline = log, registry, pipeline
        self._deadline, self._seconds = time.monotonic() + seconds, seconds
        self._rest = rest or (lambda: time.sleep(PAUSE))

    def rolled_back(self, command_id: str) -> tuple[str, Mapping[str, Any]]:
        """Return RolledBack or RollbackRefused, and its fields with ``obeyed_after``.

        That is the first tick whose cut holds the event: serving handles all that comes after this tick under it.
        None when the rollback was refused.
        """
        ids = {derived_id("rollback", self._pipeline, command_id), command_id}
        offset, name, fields = self._first(
            DEPLOYMENTS, lambda f: bool(ids & {f.get("rollout_id"), f.get("command_id")})
        )
        if name == "RollbackRefused":
            return name, {**fields, "obeyed_after": None}
        _, _, tick = self._first(TICKS, lambda f: f["controls"].get(DEPLOYMENTS.name(), 0) > offset)
        return name, {**fields, "obeyed_after": tick["n"]}

    def trained(self, request_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield what becomes of a request, up to the refusal of its candidate or the version's first deployment."""
        _, name, fields = self._first(MODELS, lambda f: f.get("request_id") == request_id)
        yield name, fields
        if name == "RetrainRefused":
            return
        training, told = fields["training_id"], ("ModelCandidate", "TrainingFailed")
        _, name, fields = self._first(MODELS, lambda f: f.get("training_id") == training, told)
        yield name, fields
        if name == "TrainingFailed":
            return
        candidate = fields["candidate_id"]
        _, name, fields = self._first(ALIASES, lambda f: f.get("candidate_id") == candidate)
        yield name, fields
        if name == "ModelVersionRegistered":
            version = fields["version"]
            _, name, fields = self._first(DEPLOYMENTS, lambda f: f.get("version") == version)
            yield name, fields

    def _first(
        self, topic: Topic, wanted: Callable[[Mapping[str, Any]], bool], names: tuple[str, ...] = ()
    ) -> Told:
        """Return the first record of a topic that is wanted, waiting until there is one."""
        while True:
            told = records(self._log, self._registry, topic.name(self._pipeline), self._pipeline)
            for offset, name, fields in told:
                if wanted(fields) and (not names or name in names):
                    return offset, name, fields
            if time.monotonic() > self._deadline:
                raise HeadraceError(
                    f"no answer on {topic.name(self._pipeline)} within {self._seconds:.0f} s",
                    "the event is written and will be answered when the services come to it",
                    "headrace status",
                )
            self._rest()


def last_time(log: Log, registry: Registry, pipeline: str) -> int:
    """Return the time of a pipeline's newest tick, in microseconds UTC; 0 before the first."""
    ticks = records(log, registry, TICKS.name(pipeline), pipeline)
    return int(ticks[-1][2]["time"]) if ticks else 0
