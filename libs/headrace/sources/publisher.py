"""Publish a source to the raw topic as any producer would: idempotent, in order, step by step.

A pipeline with a ``source`` clock gets a step's events, then a request for a tick, and waits for rest. A publisher
that was killed goes on after the last step it asked for; what it had sent of the next one it finds in the raw
topic by id, so nothing is sent twice. On a ``wall`` clock events just stream.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from headrace.errors import CheckError
from headrace.pipeline.definition import Definition
from headrace.sources.sender import Sender, Target
from headrace.sources.source import Step, Tables, steps
from headrace.sources.steps_topic import Requested, StepsTopic
from headrace.sources.wire import Wire


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a publisher is: the step it closed last, its time (us), and the events sent so far."""

    step: int
    time: int
    events: int
    final: bool = False


Tell = Callable[[Progress], None]


def publish(
    definition: Definition,
    tables: Tables,
    target: Target,
    *,
    source: str,
    until: int | None = None,
    tell: Tell,
) -> Progress:
    """Publish the tables, tell the progress after each step, and return the last one.

    ``source`` goes into the records' ``ce_source``; ``until`` (us of event time) ends the stream early. On a
    source clock the stream ends with a step that lies a look-back later, so that windows and labels close.
    Raises ``CheckError`` when the pipeline's stream has ended after these events, ``UnreachableError`` when the
    broker or the services do not answer.
    """
    wire = Wire(definition, target.registry, source)
    sender = Sender(wire.topic, target)
    cut = steps(definition, tables, until=until)
    if definition.clock.kind == "wall":
        return _stream(wire, sender, cut, tell)
    with closing(StepsTopic(definition, target)) as topic:
        return _Steps(definition, wire, sender, topic, tell).run(cut)


def _stream(wire: Wire, sender: Sender, cut: Iterator[Step], tell: Tell) -> Progress:
    progress = Progress(-1, 0, 0)
    for step in cut:
        sender.send(wire.records(step))
        progress = Progress(step.number, step.time, sender.events)
        tell(progress)
    return replace(progress, final=True)


@dataclass(frozen=True, slots=True)
class _Steps:
    """A stream under a source clock: send a step, ask for a tick, wait for rest."""

    definition: Definition
    wire: Wire
    sender: Sender
    topic: StepsTopic
    tell: Tell

    def run(self, cut: Iterator[Step]) -> Progress:
        """Publish what is left of the stream, and its end."""
        last = self.topic.requested
        self.sender.look(last.raw if last else {})
        self.topic.wait()
        left = ((step, self.wire.records(step)) for step in self._remaining(cut, last))
        current = next(left, None)
        while current is not None:
            step, records = current
            self.sender.send(records)
            wanted = self._request(step.number, step.time, final=False)
            current = next(left, None)  # encoded while the services work
            self._rest(wanted)
        return self._end()

    def _remaining(self, cut: Iterator[Step], last: Requested | None) -> Iterator[Step]:
        """Yield the steps after the last one asked for, numbered on from it."""
        if last is None:
            yield from cut
            return
        number = last.step
        for step in cut:
            if last.final and step.time - self.definition.clock.step < last.time:
                raise self._late(last.time)
            if step.time > last.time:
                number += 1
                yield replace(step, number=number)

    def _end(self) -> Progress:
        last = self.topic.requested
        if last is not None and not last.final:
            return self._rest(self._request(last.step + 1, last.time + self.definition.lookback, final=True))
        return Progress(last.step, last.time, 0, final=True) if last else Progress(-1, 0, 0, final=True)

    def _request(self, step: int, time_us: int, *, final: bool) -> Requested:
        wanted = Requested(step, time_us, dict(self.sender.ends), final=final)
        self.sender.deliver(self.topic.request(wanted))
        return wanted

    def _rest(self, wanted: Requested) -> Progress:
        self.topic.wait()
        progress = Progress(wanted.step, wanted.time, self.sender.events, final=wanted.final)
        self.tell(progress)
        return progress

    def _late(self, ended: int) -> CheckError:
        name, day = self.definition.name, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ended // 1_000_000))
        return CheckError(
            f"the stream of {name} has ended; some of these events lie before its end",
            f"events before {day} would be late",
            f"headrace init another pipeline than {name}, or publish later events",
        )
