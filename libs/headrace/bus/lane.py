"""One pipeline, one partition, one service: the order of work that makes every result a function of the log."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from headrace.bus.blocks import Block
from headrace.bus.books import Books, Folds
from headrace.bus.changelog import PROGRESS, Progress, entries
from headrace.bus.encode import Encoder, Typed, block, spread, values
from headrace.bus.errors import HandlerError, UnansweredError
from headrace.bus.ledger import ledger_entry
from headrace.bus.queues import Queue
from headrace.bus.refusals import refusal_emits
from headrace.bus.rows import Overlays, State
from headrace.bus.scribe import Coming, Made, Scribe
from headrace.bus.service import Artifacts, Batch, Context, Emit, Row, Service, Step, Table, Tick
from headrace.bus.skips import refuse, stretch
from headrace.bus.tickpace import control_batch
from headrace.bus.transaction import Transaction
from headrace.bus.tree import extended
from headrace.bus.undo import Undo
from headrace.contracts.frame import SIZE
from headrace.contracts.topics import EVENTS, LEDGER, PIPELINES, Topic, changelog
from headrace.pipeline.definition import Definition

DEEP = 64  # trees that may wait for each other: each asks the one before it
_NO_TREE = Made(b"")
Tap = Callable[[Sequence[Typed]], None]


class Lane:
    """The state, the queues and the open tick of one service for one partition of one pipeline."""

    def __init__(
        self,
        service: Service,
        books: Books,
        partition: int,
        definition: Definition,
        encoder: Encoder,
        artifacts: Artifacts,
        scribe: Scribe | None = None,
    ) -> None:
        self.service, self.books, self.partition = service, books, partition
        self.pipeline = books.pipeline
        self._encoder, self._artifacts, self._scribe = encoder, artifacts, scribe or Scribe()
        self._inputs, self._partitions = service.inputs(definition), definition.partitions
        self.states = {t.name: State(t) for t in service.tables}
        self.queues = [
            Queue(i.topic, i.topic.name(self.pipeline), p)
            for i in self._inputs
            if i.topic.scope == "pipeline"
            for p in (range(self._partitions) if i.fan_in else [partition])
        ]
        self._controls = [i.topic for i in service.consumes if i.topic.scope == "control"]
        self._watched = [t.name() for t in (PIPELINES, *self._controls, *service.follows)]
        self.progress = Progress()
        self._before = Undo(lambda: self.progress)
        self._deep = 0  # trees that wait for each other, at most
        self._folds = Folds(books, service.follows)
        self._view: Any = None
        self._definition: Definition | None = None
        self._viewed_at = -1
        self.taps: dict[Topic, Tap] = {}
        self.unwritten: frozenset[Topic] = frozenset()

    @property
    def changelog(self) -> str:
        """Return the name of the topic that holds this lane's state."""
        return changelog(self.service.name, self.pipeline)

    @property
    def saved(self) -> Progress:
        """Return the progress that the last committed transaction left."""
        return self._before.oldest

    def resume(self, topic: str, partition: int, offset: int) -> None:
        """Tell a lane where its input was committed."""
        for queue in self.queues:
            if (queue.name, queue.partition) == (topic, partition):
                queue.position = queue.reached = offset

    def restore(self, found: Mapping[str, Mapping[str, Row | None]]) -> None:
        """Take the state a previous owner of the lane left on the changelog: rows by table and key."""
        for table, rows in found.items():
            if table in self.states:
                self.states[table].restore(rows)
        for row in found.get(PROGRESS.name, {}).values():
            if row is not None:
                self.progress = Progress.of(row)
        self._before.keep()

    # -- one transaction ----------------------------------------------------------------------------

    def work(self, transaction: Transaction, max_batch: int) -> bool:
        """Do the next piece of work inside the transaction; return False when there is none."""
        if not self.ready():
            return False
        if self.service.pace == "tick":
            return self._whole_tick(transaction, max_batch)
        return self._next_batch(transaction, max_batch) or self._close(transaction)

    def seal(self, transaction: Transaction) -> None:
        """Write changed state, progress and offsets: the last thing before a commit."""
        for state in self.states.values():
            self._keep(state.table, state.changed(), transaction)
        self._deep = 0  # whoever carries the transaction out asks for its trees
        if self.progress == self._before.newest:
            return
        self._later(transaction.rows, partial(self._told, self.progress), transaction)
        for queue in self.queues:
            if queue.taken.newest and queue.position is not None:
                transaction.offsets[self.service.name, queue.name, queue.partition] = queue.position

    def _keep(self, table: Table, changed: Mapping[str, Row | None], transaction: Transaction) -> None:
        if changed:
            work = partial(entries, self._encoder, self.changelog, self.partition, table, changed)
            self._later(len(changed), work, transaction)

    def _told(self, progress: Progress) -> list[Block]:
        """Return the changelog's record of a progress; its trees have grown by then."""
        row = {"open": progress.row()}
        return entries(self._encoder, self.changelog, self.partition, PROGRESS, row)

    def begin(self) -> None:
        """Begin a transaction on top of the open one, which may still be undone with it."""
        self._before.begin()
        for part in self._parts():
            part.begin()

    def commit(self) -> None:
        """Keep what the oldest transaction did."""
        self._before.keep()
        for part in self._parts():
            part.commit()

    def rollback(self) -> None:
        """Undo what the newest transaction did: state, queues and progress are as before it."""
        self.progress = self._before.newest
        self._before.back()
        for part in self._parts():
            part.rollback()

    def _parts(self) -> list[State | Queue]:
        return [*self.states.values(), *self.queues]

    # -- readiness ----------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Tell whether the control state of the open tick is known, and bring the view up to it."""
        previous = self.progress.tick - 1
        if previous == self._viewed_at:
            return True
        if previous and previous not in self.books.ticks:
            return False
        if not self.books.read_to(self._watched, previous) or not self.books.controls.get(PIPELINES.name()):
            return False
        if self._folds.tick > previous:  # an aborted close: fold again from the start
            self._folds = Folds(self.books, self.service.follows)
        if self._folds.advance(previous) or self._definition is None:
            self._definition = self.books.definition(previous)
            self._view = self.service.view(Context(self._definition, self._folds.states, self._artifacts))
        self._viewed_at = previous
        return True

    def _expected(self) -> int | None:
        """Return how many records of the open tick the inputs hold, or None while that is not known."""
        counts = [self.books.expected(q.topic, q.partition, self.progress.tick) for q in self.queues]
        return None if None in counts else sum(c for c in counts if c is not None)

    # -- streaming ----------------------------------------------------------------------------------

    def _next_batch(self, transaction: Transaction, max_batch: int) -> bool:
        tick = self.books.ticks.get(self.progress.tick)
        raw = self.queues[0].topic is EVENTS
        if raw and tick is None and not self.books.caught_up:
            return False  # the tick that cuts these records may be on the log already
        before = tick.raw.get(self.partition, 0) if tick and raw else None
        in_turn = sorted(self.queues, key=lambda queue: len(queue.taken.newest))
        found = (queue.take(self.progress.tick, max_batch, before) for queue in in_turn)
        batch = next((batch for batch in found if batch is not None), None)
        if batch is None:
            return False
        if raw and (last := self.books.ticks.get(self.progress.tick - 1)):
            batch = replace(batch, since=last.time)
        for piece, order in self.books.skips.pieces(self.service.name, batch):
            self._run(piece, transaction, order)
        return True

    def _complete(self, tick: Tick) -> bool:
        if self.queues[0].topic is EVENTS:
            return self.queues[0].reached >= tick.raw.get(self.partition, 0)
        return self._expected() == self.progress.records_in

    # -- a tick at its close ------------------------------------------------------------------------

    def _whole_tick(self, transaction: Transaction, max_batch: int) -> bool:
        n = self.progress.tick
        tick = self.books.ticks.get(n)
        if tick is None or not self.books.read_to([t.name() for t in self._controls], n):
            return False
        expected = self._expected()
        if expected is None or any(
            q.waiting(n) < (self.books.expected(q.topic, q.partition, n) or 0) for q in self.queues
        ):
            return False
        for batch in self._batches(n, max_batch):
            self._run(batch, transaction)
        return self._close(transaction)

    def _batches(self, n: int, max_batch: int) -> Iterator[Batch]:
        """Yield a tick's records, input by input in the order of the manifest."""
        for item in self._inputs:
            if item.topic.scope == "control":
                yield from control_batch(item.topic, self.books.between(item.topic.name(), n - 1, n), n)
            for queue in (q for q in self.queues if q.topic is item.topic):
                while (batch := queue.take(n, max_batch)) is not None:
                    yield batch

    def _close(self, transaction: Transaction) -> bool:
        tick = self.books.ticks.get(self.progress.tick)
        if tick is None or (self.service.pace == "stream" and not self._complete(tick)):
            return False
        due = {name: state.due(tick.time) for name, state in self.states.items() if state.table.due}
        overlays = Overlays(self.states)
        for name, rows in due.items():
            overlays[name].delete([key for key, _ in rows])
        step = self.service.on_due(due, overlays, tick, self._view)
        overlays.apply()
        self._emit(step, None, transaction)
        raw_to = self._raw_cut(tick)
        entry = ledger_entry(self.service.name, self.partition, tick, self.progress, raw_to)
        self._produce(LEDGER, [Emit("LedgerEntry", entry)], None, transaction)
        self.progress = Progress(tick=tick.n + 1, raw_from=raw_to or 0)
        return True

    def _raw_cut(self, tick: Tick) -> int | None:
        """Return the raw offset at which the tick closes: where the tick ends, or where we already are."""
        if not self.queues or self.queues[0].topic is not EVENTS:
            return None
        return max(tick.raw.get(self.partition, 0), self.queues[0].position or 0, self.progress.raw_from)

    # -- handlers -----------------------------------------------------------------------------------

    def _run(self, batch: Batch, transaction: Transaction, order: Mapping[str, Any] | None = None) -> None:
        overlays = Overlays(self.states)
        try:
            step = (
                refuse(batch, overlays, order) if order else self.service.handle(batch, overlays, self._view)
            )
        except Exception as error:
            raise HandlerError(self.service.name, self._culprit(batch, type(error)), error) from error
        self._every_row_ended(batch, step)
        overlays.apply()
        transaction.rows += len(batch)
        self._emit(step, batch, transaction)
        self.progress = replace(
            self.progress,
            records_in=self.progress.records_in + len(batch),
            rejected=self.progress.rejected
            + sum(len(r.rows) for r in step.refused if r.severity == "reject"),
            absorbed=self.progress.absorbed + len(step.absorbed),
        )

    def _emit(self, step: Step, batch: Batch | None, transaction: Transaction) -> None:
        for topic, emits in step.emitted.items():
            self._produce(topic, emits, batch, transaction)
        if batch is not None and step.refused:
            for topic, emits in refusal_emits(step.refused, batch).items():
                self._produce(topic, emits, batch, transaction)

    def _produce(
        self, topic: Topic, emits: Sequence[Emit], batch: Batch | None, transaction: Transaction
    ) -> None:
        assert self._definition is not None  # noqa: S101 -- a lane works only when it is ready
        partition = 0 if topic.scope == "control" or topic is LEDGER else self.partition
        name, parts = topic.name(self.pipeline), self._encoder.typed(topic, emits, batch, self._definition)
        if topic.moved:
            for place, moved in spread(parts, self._partitions):
                self._write(moved, place, transaction)
                self._count(f"{name}/{place}", moved)
            return
        if parts and topic not in self.unwritten:
            self._write(parts, partition, transaction)
        if topic in self.taps:
            self.taps[topic](parts)
        if topic is not LEDGER:
            self._count(name, parts)

    def _write(self, parts: Sequence[Typed], partition: int, transaction: Transaction) -> None:
        work = partial(_blocks, parts, partition, self.progress.tick)
        self._later(sum(map(len, parts)), work, transaction)

    def _later(self, rows: int, work: Callable[[], list[Block]], transaction: Transaction) -> None:
        transaction.coming.append(self._scribe.do(rows, work))

    def _count(self, name: str, parts: Sequence[Typed]) -> None:
        """Add what was written to the open tick's counts, and to its trees when they grow."""
        rows, counts, trees = sum(map(len, parts)), self.progress.records_out, self.progress.trees
        size = counts.get(name, 0)
        grown = self._scribe.do(rows, partial(_grown, trees.get(name, _NO_TREE), size, parts))
        counts, trees = {**counts, name: size + rows}, {**trees, name: grown}
        self.progress = replace(self.progress, records_out=counts, trees=trees)
        self._deep += 1
        if self._deep == DEEP:
            self._deep = 0
            for peaks in trees.values():
                peaks.result()

    def _every_row_ended(self, batch: Batch, step: Step) -> None:
        if batch.topic.scope == "control":
            return
        ended = np.zeros(len(batch), bool)
        ended[step.absorbed] = True
        for emit in (e for emits in step.emitted.values() for e in emits if e.cause is not None):
            ended[emit.cause] = True
        for refused in step.refused:
            ended[refused.rows] |= refused.severity == "reject"
        if not ended.all():
            open_rows = np.flatnonzero(~ended)
            raise UnansweredError(self.service.name, _where(batch, int(open_rows[0])), len(open_rows))

    def _culprit(self, batch: Batch, kind: type[Exception]) -> str:
        """Name the row with which the handler begins to fail, by bisection over prefixes."""
        low, high = 0, len(batch)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fails(stretch(batch, 0, middle), kind) else (middle, high)
        return _where(batch, low)

    def _fails(self, batch: Batch, kind: type[Exception]) -> bool:
        try:
            self.service.handle(batch, Overlays(self.states), self._view)
        except kind:
            return True
        return False


def _blocks(parts: Sequence[Typed], partition: int, tick: int) -> list[Block]:
    return [block(parts, partition, tick)]


def _grown(before: Coming[bytes], size: int, parts: Sequence[Typed]) -> bytes:
    """Extend a tree of ``size`` leaves by the bodies of a topic's parts."""
    return extended(before.result(), size, values(parts), SIZE)


def _where(batch: Batch, row: int) -> str:
    origin = batch.lineage["origin"][row].as_py() if "origin" in batch.lineage.schema.names else None
    return f"{origin['topic']}/{origin['partition']}@{origin['offset']}" if origin else batch.topic.stream
