"""Effects that were asked for and have no outcome yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headrace.bus.engine import decode_plain
from headrace.bus.reading import Log, Span, records
from headrace.bus.schemas import Registry
from headrace.contracts.topics import (
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    TICKS,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
    Topic,
)

EFFECTS = ((TRAINING_EFFECTS, TRAINING_RESULTS), (REGISTRY_EFFECTS, REGISTRY_RESULTS))
"""Each topic of requests, and that of their outcomes."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A request without an outcome; ``age`` is in ticks of its pipeline, None where an operator asked between ticks."""

    effect_id: str
    pipeline: str
    topic: str
    offset: int
    kind: str
    tick: int
    age: int | None


def unresolved(log: Log, registry: Registry) -> list[Unresolved]:
    """Return the effects without an outcome, topic by topic, in the order they were asked for."""
    newest: dict[str, int] = {}
    found = []
    for requests, results in EFFECTS:
        done = {fields["effect_id"] for _, fields in _told(log, registry, results)}
        for offset, fields in _told(log, registry, requests):
            if fields["effect_id"] in done:
                continue
            pipeline, tick = fields["pipeline"], fields["tick"]
            if pipeline not in newest:
                newest[pipeline] = _last_tick(log, registry, pipeline)
            done.add(fields["effect_id"])  # a request that was repeated is the same effect
            age = newest[pipeline] - tick if tick >= 0 else None
            told = (fields["effect_id"], pipeline, requests.name(), offset, fields["kind"], tick, age)
            found.append(Unresolved(*told))
    return found


def _told(log: Log, registry: Registry, topic: Topic) -> Iterator[tuple[int, dict[str, Any]]]:
    found = decode_plain((s.record for s in log.read([Span(topic.name())])), registry)
    return ((offset, fields) for offset, _, fields in found)


def _last_tick(log: Log, registry: Registry, pipeline: str) -> int:
    ticks = records(log, registry, TICKS.name(pipeline), pipeline)
    return int(ticks[-1][2]["n"]) if ticks else 0
