"""One service on a broker: its engine, a consumer of all that it reads, and its transactions."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    TopicPartition,
)

from headrace.bus import metering
from headrace.bus.arrivals import Arrivals, Told, by_place
from headrace.bus.backpressure import Backpressure
from headrace.bus.ends import LAST, STABLE, Ends
from headrace.bus.engine import Engine
from headrace.bus.failpoints import reach
from headrace.bus.fusion import FusedEngine
from headrace.bus.identity import ids_of, refuse_others, remembered
from headrace.bus.inbox import Inbox, read_columns
from headrace.bus.kafka import (
    Going,
    always,
    answered,
    consumer,
    fence,
    passed,
    producer,
    read_from,
    ready,
)
from headrace.bus.lane import Lane
from headrace.bus.records import Incoming
from headrace.bus.scribe import AT_ONCE
from headrace.bus.stalls import EVERY, Stalls
from headrace.bus.transaction import Transaction
from headrace.bus.transactions import Outcome, Transactions, retire
from headrace.bus.unreadable import Stepping
from headrace.bus.verdict import is_progress, kept
from headrace.bus.watched import Watched
from headrace.errors import UnreachableError
from headrace.local.answers import within

LOG = logging.getLogger("headrace.bus")
RECENT = 2_000  # offsets of a changelog in which a lane's progress is looked for first
SETTLED = 60.0  # seconds in which an open transaction has to end; the broker ends it after ten


class KafkaRunner:
    """Runs one engine on a broker: every transaction of the engine is one transaction of Kafka."""

    transactions_class: type[Transactions] = Transactions
    queued_rows = 100_000  # of one partition of an input, before its fetching pauses
    look_every = EVERY  # seconds

    def __init__(self, bootstrap: str, engine: Engine | FusedEngine, *, replica: int = 0) -> None:
        self.engine = engine
        self._bootstrap = bootstrap
        self._group = f"headrace.{engine.service.name}"
        self._consumer = consumer(bootstrap, self._group)
        self._groups = {engine.service.name: self._consumer}
        self.transactions = self.transactions_class(bootstrap, f"{self._group}.{replica}", self._metadata)
        self._backpressure = Backpressure(self._consumer, self.queued_rows)
        self._ends = Ends(bootstrap)
        self._stalls = Stalls(self._consumer, self._ends, self.look_every)
        self._assigned = False
        self._inbox = Inbox(self._consumer)
        self._stepping = Stepping(bootstrap, self._inbox.fetch_from, engine.wanted)
        self._new: list[str] = []  # pipelines that have been heard of and are still to be opened
        self._beside = Watched()

    def start(self, going: Going = always, timeout: float = 60.0) -> None:
        """Fence older replicas and begin to read the control topics; give up quietly when ``going`` says no.

        Raises:
            UnreachableError: when the broker does not answer, or has no Headrace topics, within ``timeout`` s.
        """
        topics = self.engine.control_topics
        self.transactions.listen(going)
        for service in self.engine.guests:  # none of them may go on as a process of its own
            guest = producer(self._bootstrap, f"headrace.{service}.0")
            fence(guest, timeout, going)
            retire(guest)
        if ready(self._consumer, self.transactions.producer, topics, going, timeout):
            self._assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in topics])

    def pump(self, wait: float = 0.2) -> bool:
        """Read what is new, do one transaction; return whether anything happened."""
        moved = self._read(0.0 if self.engine.more else wait)
        while self._new:
            self._open(self._new.pop(0))
        reach("after-consume")
        began = time.perf_counter()
        transaction = self.engine.work()
        if transaction is None:
            return moved
        self._carry_out(transaction)
        self._backpressure.apply(self.engine.lanes.values())
        took = time.perf_counter() - began
        metering.took(self.engine.service.name, took)
        time.sleep(self.engine.rest(transaction, took))
        return True

    def close(self) -> None:
        """Leave: nothing is open between two calls of :meth:`pump`, so there is nothing to finish."""
        self.engine.drop()
        self.transactions.close()
        self._inbox.close()
        for client in self._groups.values():
            client.close()

    # -- reading ------------------------------------------------------------------------------------

    def _read(self, wait: float) -> bool:
        found = self._inbox.take(wait)
        if not found:
            self._stalls.look(self._backpressure.paused)
            return False
        self._stalls.heard(found)
        self._new += self.engine.take(by_place(self._records(found)))
        if finished := self.engine.finished():
            self._consumer.incremental_unassign([TopicPartition(*place) for place in finished])
            self._inbox.forget(finished)
        self._backpressure.apply(self.engine.lanes.values())
        return True

    def _records(self, found: Sequence[Arrivals | Told]) -> Iterator[Arrivals]:
        for item in self._stepping.sifted(found):
            if isinstance(item, Arrivals):
                yield item
            elif item.is_end:
                self.engine.reached(*item[:3])
            else:
                passed(item.error)

    # -- a new pipeline -----------------------------------------------------------------------------

    def _open(self, pipeline: str) -> None:
        """Restore the lanes of a pipeline and begin to read it where its state was left."""
        wanted = self._books(pipeline)
        for lane in self.engine.open_pipeline(pipeline):
            self._await_settled(lane)
            self._restore(lane)
            wanted += self._inputs(lane)
        self._assign(wanted)

    def _books(self, pipeline: str) -> list[TopicPartition]:
        return [TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in self.engine.book_topics(pipeline)]

    def _restore(self, lane: Lane) -> None:
        reach("during-restore")
        for found in read_columns(self._bootstrap, lane.changelog, lane.partition):
            self.engine.restore(lane, found)

    def _await_settled(self, lane: Lane) -> None:
        """Wait until nothing of a lane's former owner is under way: that may have been a fused chain."""
        if not within(SETTLED, partial(self._settled, lane)):
            raise UnreachableError(
                f"a transaction on {lane.changelog}/{lane.partition} does not end",
                f"waited {SETTLED:g} s",
                "headrace transactions list",
            )

    def _settled(self, lane: Lane) -> bool:
        """Tell whether no transaction is open on a lane's changelog."""
        place = TopicPartition(lane.changelog, lane.partition)
        stable, end = (answered(partial(self._ends.of, place, level), SETTLED) for level in (STABLE, LAST))
        return stable == end

    def _inputs(self, lane: Lane, patience: float = 30.0) -> list[TopicPartition]:
        """Return where a lane's inputs go on, and tell the lane.

        Raises:
            ConfigurationError: when a topic was deleted and made again since the lane worked on it.
            KafkaException: when the committed offsets are not known within ``patience`` seconds, be it because a
                transaction that commits some is still open.
        """
        asked = [TopicPartition(q.name, q.partition) for q in lane.queues]
        if not asked:
            return []
        starts = []
        member = self._member(lane.service.name)
        note = TopicPartition(lane.changelog, lane.partition)
        held = answered(lambda: member.committed([*asked, note], patience), patience)
        self._recognise(lane, remembered(held))
        for found in (place for place in held if place.topic != lane.changelog):
            start = max(found.offset, 0)
            lane.resume(found.topic, found.partition, start)
            starts.append(TopicPartition(found.topic, found.partition, start or OFFSET_BEGINNING))
        return starts

    def _recognise(self, lane: Lane, before: Mapping[str, str]) -> None:
        """Refuse topics that are others than the lane worked on, and remember those it works on now."""
        name = lane.service.name
        read = [*(q.name for q in lane.queues), *self.engine.book_topics(lane.pipeline), lane.changelog]
        now = answered(partial(ids_of, self._ends.client, read), SETTLED)
        refuse_others(name, before, now)
        inputs = [(name, q.name, q.partition) for q in lane.queues]
        self.transactions.notes.remember(inputs, (name, lane.changelog, lane.partition), now)

    def _assign(self, wanted: Sequence[TopicPartition]) -> None:
        if self._assigned:
            self._consumer.incremental_assign(list(wanted))
        else:
            self._consumer.assign(list(wanted))
            self._assigned = True
        self._inbox.assigned(wanted)

    def _member(self, service: str) -> Consumer:
        """Return a client of a service's group; those of fused members read nothing, they have their offsets."""
        if service not in self._groups:
            self._groups[service] = consumer(self._bootstrap, f"headrace.{service}")
        return self._groups[service]

    def _metadata(self, service: str) -> Any:
        """Return in whose name a service's offsets are committed: here that of nobody in particular."""
        return self._member(service).consumer_group_metadata()

    # -- writing ------------------------------------------------------------------------------------

    def _carry_out(self, transaction: Transaction) -> None:
        """Do a transaction of the engine on the broker, and keep or undo what the engine did for it."""
        outcome = self._outcome(transaction)
        if outcome is not Outcome.COMMITTED:
            self.engine.drop()
        if not self.transactions.usable:
            return  # told to stop amid a failure: whoever comes next reads from the log what became of it
        if outcome is Outcome.COMMITTED or (outcome is Outcome.UNKNOWN and self._kept()):
            self.engine.commit()
            metering.committed(self.engine.service.name, transaction)
        else:
            self.undo()
            metering.aborted(self.engine.service.name)

    def _outcome(self, transaction: Transaction) -> Outcome:
        """Do a transaction on the broker; where it is large, on another thread, while this one reads or works ahead."""
        if transaction.rows <= AT_ONCE:
            return self.transactions.carry_out(transaction)
        ended: list[Outcome] = []
        meanwhile = self._work_ahead if self.engine.foresees else self._inbox.look_ahead
        self._beside.call(lambda: ended.append(self.transactions.carry_out(transaction)), None, meanwhile)
        return ended[0]

    def _work_ahead(self) -> None:
        self._read(0.0)
        self.engine.ahead()

    def undo(self) -> None:
        """Give back what the transaction took: state, progress, and the input, which is handled again."""
        self.engine.rollback()

    def _kept(self) -> bool:
        found = kept(self.engine.lanes.values(), self._recent, self.engine.registry)
        LOG.warning("the log says that the transaction was %s", "committed" if found else "not committed")
        return found

    def _recent(self, changelog: str, partition: int) -> list[Incoming]:
        """Return the end of a changelog, back to where it tells a lane's progress: state is long, that is short."""
        place, span = TopicPartition(changelog, partition), RECENT
        end = answered(partial(self._ends.of, place, STABLE), SETTLED)
        while True:
            found, _ = read_from(self._bootstrap, changelog, partition, max(end - span, 0))
            if span >= end or any(map(is_progress, found)):
                return found
            span *= 8
