"""What a service reads whole and never commits: ticks, the ledger and the control topics of one pipeline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.bus.service import Fold, Tick
from headrace.bus.skips import ORDER, Skips
from headrace.contracts.topics import PIPELINES, Topic
from headrace.pipeline.definition import Definition

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Control:
    """A record of a control topic, where it stood."""

    offset: int
    name: str
    record: Record


@dataclass(slots=True)
class Books:
    """Ticks, ledger entries and control records of one pipeline, as far as they have been read.

    ``closed`` is the last tick that each stage has closed, by service and partition; ``caught_up`` tells whether the
    ticks that were there at the start have all been read.
    """

    pipeline: str
    ticks: dict[int, Tick] = field(default_factory=dict)
    controls: dict[str, list[Control]] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    closed: dict[tuple[str, int], int] = field(default_factory=dict)
    skips: Skips = field(default_factory=Skips)
    caught_up: bool = False
    _ledger: dict[tuple[str, int, int], Record] = field(default_factory=dict)

    def add_tick(self, record: Record) -> None:
        """Take a Tick record."""
        self.ticks[record["n"]] = Tick(
            pipeline=record["pipeline"],
            n=record["n"],
            time=record["time"],
            reason=record["reason"],
            step=record["step"],
            raw={int(p): end for p, end in record["raw"].items()},
            controls=dict(record["controls"]),
        )

    def add_entry(self, record: Record) -> None:
        """Take a LedgerEntry; the first of two for one service, partition and tick stands."""
        stage = (record["service"], record["partition"])
        self._ledger.setdefault((*stage, record["tick"]), record)
        self.closed[stage] = max(record["tick"], self.closed.get(stage, 0))

    def take_back(self, record: Record) -> None:
        """Forget an entry that was added before its transaction was committed, and then was not."""
        self._ledger.pop((record["service"], record["partition"], record["tick"]), None)

    def add_control(self, topic: str, offset: int, name: str, record: Record) -> None:
        """Take a record of a control topic; other pipelines' records only move the position."""
        self.reached[topic] = offset + 1
        if record["pipeline"] == self.pipeline:
            self.controls.setdefault(topic, []).append(Control(offset, name, record))
            if name == ORDER:
                self.skips.add(record)

    def entry(self, service: str, partition: int, tick: int) -> Record | None:
        """Return the ledger entry of a service, or None when it has not closed the tick."""
        return self._ledger.get((service, partition, tick))

    def expected(self, topic: Topic, partition: int, tick: int) -> int | None:
        """Return how many records of a tick a topic's partition holds, or None while a producer has not closed it."""
        name, total = topic.name(self.pipeline), 0
        stage = 0 if topic.moved else partition
        counted = f"{name}/{partition}" if topic.moved else name
        for service in topic.producers:
            entry = self.entry(service, stage, tick)
            if entry is None:
                return None
            total += entry["records_out"].get(counted, 0)
        return total

    def cut(self, topic: str, tick: int) -> int:
        """Return where a control topic ended at a tick (0 before the first)."""
        return self.ticks[tick].controls.get(topic, 0) if tick in self.ticks else 0

    def read_to(self, topics: Sequence[str], tick: int) -> bool:
        """Tell whether the control topics have been read up to a tick's cut."""
        return all(self.reached.get(topic, 0) >= self.cut(topic, tick) for topic in topics)

    def between(self, topic: str, after: int, to: int) -> list[Control]:
        """Return the records of a control topic that came after the cut of one tick, up to that of another."""
        low, high = self.cut(topic, after), self.cut(topic, to)
        return [c for c in self.controls.get(topic, []) if low <= c.offset < high]

    def definition(self, tick: int) -> Definition:
        """Return the pipeline's definition at a tick's cut; before the first tick, the one first registered."""
        registered = self.controls[PIPELINES.name()]
        end = self.cut(PIPELINES.name(), tick)
        known = [c for c in registered if c.offset < end] or registered[:1]
        return Definition.model_validate_json(known[-1].record["definition"])

    def entries(self) -> Iterator[Record]:
        """Return every ledger entry, in the order they were read."""
        yield from self._ledger.values()

    def forget(self, before: int) -> None:
        """Drop ledger entries of ticks that every lane has closed."""
        for key in [k for k in self._ledger if k[2] < before]:
            del self._ledger[key]


@dataclass(slots=True)
class Folds:
    """A lane's folded control topics; they move forward from cut to cut, never back."""

    books: Books
    follows: Mapping[Topic, Fold]
    states: dict[Topic, Any] = field(default_factory=dict)
    tick: int = 0

    def advance(self, tick: int) -> bool:
        """Fold everything up to a tick's cut; return whether anything changed, the definition included."""
        changed = self.tick == 0
        for topic, fold in self.follows.items():
            for control in self.books.between(topic.name(), self.tick, tick):
                self.states[topic] = fold(self.states.get(topic), control.name, control.record)
                changed = True
        changed |= bool(self.books.between(PIPELINES.name(), self.tick, tick))
        self.tick = tick
        return changed
