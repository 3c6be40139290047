"""One page about one event: where it lay, what every stage made of it, which model answered and who made it champion."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.audit.versions import champion_at, history, versions
from headrace.bus.commanding import definition
from headrace.bus.reading import Log, Span, of_ticks, records
from headrace.bus.schemas import Registry
from headrace.bus.shown import shown
from headrace.contracts.topics import (
    DEPLOYMENTS,
    EVENTS,
    FEATURES,
    LEDGER,
    OUTCOMES,
    PREDICTIONS,
    RECEIPTS,
    REJECTED,
    REKEYED,
    SHADOW_PREDICTIONS,
    TICKS,
    VALIDATED,
    Topic,
)
from headrace.errors import HeadraceError, UsageError
from headrace.pipeline.definition import Definition

SAME_TICK = (VALIDATED, RECEIPTS, REJECTED, FEATURES, PREDICTIONS, SHADOW_PREDICTIONS)
Found = dict[str, Any]
Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a raw record lies."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def read(cls, text: str) -> "Place":
        """Return the place that ``topic/partition@offset`` names; raise UsageError for other text."""
        topic, _, rest = text.partition("/")
        partition, _, offset = rest.partition("@")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise UsageError(
                f"{text} is no place", "a place is topic/partition@offset", "flights.events.v1/0@17"
            )
        return cls(topic, int(partition), int(offset))

    def holds(self, origin: Mapping[str, Any]) -> bool:
        """Tell whether an origin is this place."""
        return (origin["topic"], origin["partition"], origin["offset"]) == (
            self.topic,
            self.partition,
            self.offset,
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """The event a page is about; ``event_id`` is None where the record could not be decoded."""

    event_id: str | None
    place: Place
    tick: int | None


def quiet(topic: str, share: float) -> None:
    """Hear of progress (a topic, and how much of it is read, 0 to 1) and say nothing."""
    del topic, share


class Pages:
    """Makes pages about events of one pipeline."""

    def __init__(self, log: Log, registry: Registry, pipeline: str, tell: Tell = quiet) -> None:
        self._log, self._registry, self._pipeline, self._tell = log, registry, pipeline, tell
        self._definition: Definition = definition(log, registry, pipeline)

    def by_id(self, event_id: str) -> Found:
        """Return the page of an event id, of its first acceptance if it was accepted.

        Raises:
            HeadraceError: when neither an accepted record nor a receipt has this id.
        """
        for topic in (VALIDATED, RECEIPTS):
            name = topic.name(self._pipeline)
            spans = [Span(name, p, 0, end) for p, end in self._log.ends(name).items()]
            for found in self._naming(event_id, spans):
                fields = found["value"]
                if fields["event_id"] == event_id:
                    origin = {n: v for n, v in fields["origin"].items() if n != "ordinal"}
                    return self._page(Subject(event_id, Place(**origin), fields["tick"]))
        raise HeadraceError(
            f"no event {event_id} in {self._pipeline}",
            "no accepted record and no receipt has this id",
            f"headrace event show --at {EVENTS.name(self._pipeline)}/PARTITION@OFFSET",
        )

    def at(self, place: Place) -> Found:
        """Return the page of the raw record at a place.

        Raises:
            UsageError: when the place lies on another topic.
            HeadraceError: when no record lies there.
        """
        if place.topic != EVENTS.name(self._pipeline):
            raise UsageError(
                f"{place.topic} is not the raw topic of {self._pipeline}", EVENTS.name(self._pipeline)
            )
        reaches = place.offset < self._log.ends(place.topic).get(place.partition, 0)
        raw = self._raw(place) if reaches else None
        if raw is None:
            raise HeadraceError(f"no record at {place.topic}/{place.partition}@{place.offset}")
        column = self._definition.records[raw["record"]].id if raw["value"] else ""
        event_id = str(raw["value"][column]) if raw["value"] else None
        return self._page(Subject(event_id, place, self._tick_of(place)))

    def _raw(self, place: Place) -> Found | None:
        span = Span(place.topic, place.partition, place.offset, place.offset + 1)
        found = self._log.firsts([span]).get(span.place)
        return shown(found, self._registry) if found else None

    def _tick_of(self, place: Place) -> int | None:
        """Return the tick whose cut holds the raw record, as ingestion recorded it."""
        entries = records(self._log, self._registry, LEDGER.name(self._pipeline), self._pipeline)
        cuts = (e for _, _, e in entries if e["service"] == "ingestion" and e["partition"] == place.partition)
        return next((e["tick"] for e in cuts if e["raw_from"] <= place.offset < e["raw_to"]), None)

    def _page(self, subject: Subject) -> Found:
        page: Found = {
            "pipeline": self._pipeline,
            "event_id": subject.event_id,
            "raw": self._raw(subject.place),
        }
        if subject.tick is None:
            return {**page, "tick": None}
        ticks = records(self._log, self._registry, TICKS.name(self._pipeline), self._pipeline)
        by_number = {fields["n"]: fields for _, _, fields in ticks}
        page["tick"] = by_number.get(subject.tick, {"n": subject.tick})
        same_tick = (*SAME_TICK, REKEYED) if self._definition.rekey else SAME_TICK
        for topic in same_tick:
            page[topic.stream] = list(self._about(subject, topic, range(subject.tick, subject.tick + 1)))
        page[OUTCOMES.stream] = list(self._about(subject, OUTCOMES, range(subject.tick, 1 << 62)))
        return {**page, **self._models(page[PREDICTIONS.stream], by_number.get(subject.tick - 1))}

    def _about(self, subject: Subject, topic: Topic, ticks: range) -> Iterator[Found]:
        """Yield the records of a topic and of ticks that are about the subject."""
        spans = of_ticks(self._log, self._registry, topic.name(self._pipeline), ticks)
        for found in self._naming(subject.event_id or subject.place.topic, spans):
            fields = found["value"]
            if subject.event_id in (fields["event_id"], fields.get("label_event_id")) and (
                subject.event_id or subject.place.holds(fields["origin"])
            ):
                yield {
                    name: found[name] for name in ("topic", "partition", "offset", "appended", "record")
                } | fields

    def _naming(self, text: str, spans: Iterable[Span]) -> Iterator[Found]:
        """Yield the records whose bytes hold a text: Avro keeps text as it is, so no other need be decoded."""
        needle = text.encode()
        for span in spans:
            for n, stamped in enumerate(self._log.read([span])):
                if not n % REPORTED:
                    self._tell(
                        span.topic,
                        (stamped.record.offset - span.start) / max(1, (span.end or 0) - span.start),
                    )
                if needle in (stamped.record.value or b""):
                    yield shown(stamped, self._registry)

    def _models(self, predictions: list[Found], before: Mapping[str, Any] | None) -> Found:
        """Return the versions that answered, and the deployment under which the first one did."""
        if not predictions:
            return {}
        found = history(self._log, self._registry, self._pipeline)
        known = {version["version"]: version for version in versions(found)}
        cut = before["controls"].get(DEPLOYMENTS.name(), 0) if before else 0
        made = champion_at(found, cut)
        model = known.get(predictions[0]["model_version"])
        return {"model": model or {"version": 0, "status": "the declared prior"}, "made_champion_by": made}


REPORTED = 5_000  # records between two words of progress
