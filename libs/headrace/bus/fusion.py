"""Several services as one: members run in one process and one transaction, and hand columns to each other.

Handlers are pure and what one emits is cast to its topic's types before anything is passed on, so a fused chain
writes the same topics with the same bits as its members do as processes of their own. Every member keeps its state,
its ledger entries and its consumer group, and they are committed together: a pipeline can be switched from one mode
to the other between any two transactions. A lean chain does not write the topics between its members; their counts
and digests still stand in the ledger, and a replay makes their records again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

from headrace.bus.arrivals import Arrivals
from headrace.bus.books import Books
from headrace.bus.changelog import plain
from headrace.bus.chunks import handed_over
from headrace.bus.encode import Typed
from headrace.bus.engine import Engine
from headrace.bus.lane import Lane
from headrace.bus.queues import Queue
from headrace.bus.records import Place
from headrace.bus.service import Selection, Service
from headrace.bus.transaction import Transaction
from headrace.bus.turns import ALL, Key, Turns
from headrace.bus.undo import Undo
from headrace.contracts import catalogue
from headrace.contracts.topics import LEDGER, PIPELINES, Topic
from headrace.errors import ConfigurationError


def links(services: Sequence[Service]) -> list[Topic]:
    """Return the topics between the members of a chain.

    Raises:
        ConfigurationError: when the services do not follow each other, one input each.
    """
    made = [i.topic for s in services[:1] for i in s.consumes]
    found = []
    for service in services:
        inputs = [i.topic for i in service.consumes]
        if len(inputs) != 1 or inputs[0] not in made or service.pace != "stream" or service.single:
            raise ConfigurationError(
                f"{service.name} cannot be fused in this place",
                "a member answers event by event and takes one topic, the first any and others what one before writes",
                "fuse: ingestion features serving",
            )
        found.append(inputs[0])
        made += service.emits
    return found[1:]


def in_order(services: Sequence[Service]) -> list[Service]:
    """Return services so that each comes after those that write what it takes."""
    by_name = {s.name: s for s in services}
    makers = {
        s.name: [m.name for m in services if set(m.emits) & {i.topic for i in s.consumes}] for s in services
    }
    return [by_name[name] for name in TopologicalSorter(makers).static_order()]


def refuse_readers(between: Iterable[Topic], pipeline: str, others: Collection[str]) -> None:
    """Refuse to leave out topics that one of ``others``, services outside the chain, reads.

    Raises:
        ConfigurationError: naming topic and readers.
    """
    for topic in between:
        if readers := sorted(set(others) & set(catalogue.topics()[topic.stream].consumers)):
            raise ConfigurationError(
                f"{topic.name(pipeline)} cannot be left out",
                f"{', '.join(readers)} of this pipeline reads it",
                "leave --lean away",
            )


class FusedEngine(Turns):
    """A chain of engines that works like one; the first member reads the log, the others what it hands them."""

    foresees = True

    def __init__(self, members: Sequence[Engine], *, lean: bool = False) -> None:
        super().__init__(few=ALL, most=members[0].most)  # its transactions are dear
        self.members, self.lean = list(members), lean
        self.links = links([m.service for m in members])
        self.service, self.registry = members[0].service, members[0].registry
        for member in self.members:
            member.stopped = self.stopped  # an order to skip a record lets all of them go on
        self._most = {m.service.name: m.max_batch for m in members}
        self._chains: dict[Key, list[list[Lane]]] = {}
        self._unread: set[tuple[str, int]] = set()
        self._finished: list[tuple[str, int]] = []
        self._lent: Undo[list[tuple[Books, dict[str, Any]]]] = Undo(list)

    @property
    def guests(self) -> list[str]:
        """Return the members after the first, under whose name the chain writes."""
        return [m.service.name for m in self.members[1:]]

    # -- what to read -------------------------------------------------------------------------------

    @property
    def control_topics(self) -> list[str]:
        """Return the control topics that any member reads."""
        return sorted({name for m in self.members for name in m.control_topics})

    @property
    def lanes(self) -> dict[tuple[str, int, str], Lane]:
        """Return the lanes of all members, by pipeline, partition and service."""
        return {(*key, m.service.name): lane for m in self.members for key, lane in m.lanes.items()}

    def book_topics(self, pipeline: str) -> list[str]:
        """Return a pipeline's topics that are read whole, from their beginning."""
        return self.members[0].book_topics(pipeline)

    def open_pipeline(self, pipeline: str) -> list[Lane]:
        """Make the lanes of all members for a registered pipeline, and connect them.

        Raises:
            ConfigurationError: when a lean chain would leave out what another service of the pipeline reads.
        """
        opened = [lane for m in self.members for lane in m.open_pipeline(pipeline)]
        for key in (k for k in self.members[0].lanes if k[0] == pipeline):
            self._chains[key] = _linked(self._at(key))
            for chain in self._chains[key]:
                self._connect(chain)
        if self.lean:
            self._refuse_readers(pipeline)
        return opened

    def _refuse_readers(self, pipeline: str) -> None:
        """Refuse to leave out a topic that a stage of the pipeline outside the chain reads."""
        registered = self.members[0].books[pipeline].controls[PIPELINES.name()][-1].record
        others = {stage.partition("/")[0] for stage in registered["stages"]} - {
            m.service.name for m in self.members
        }
        refuse_readers(self.links, pipeline, others)

    def restore(self, lane: Lane, changelog: Arrivals) -> None:
        """Give a lane the state its changelog holds."""
        next(m for m in self.members if m.service is lane.service).restore(lane, changelog)

    def take(self, groups: Mapping[Place, Arrivals]) -> list[str]:
        """Take records by topic and partition; return the names of pipelines seen for the first time."""
        owned = {name for m in self.members for name in m.data_topics}
        found: list[str] = []
        for member in self.members:
            own = member.data_topics
            found = member.take({p: g for p, g in groups.items() if p[0] in own or p[0] not in owned})
        return found

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """Take the end of a partition: what lies between two members comes from inside from there on."""
        for member in self.members:
            member.reached(topic, partition, offset)
        if (topic, partition) in self._unread:
            self._unread.discard((topic, partition))
            self._finished.append((topic, partition))

    def wanted(self, topic: str, partition: int) -> int:
        """Return the offset below which nothing of a partition is wanted any more."""
        return max(m.wanted(topic, partition) for m in self.members)

    def finished(self) -> list[tuple[str, int]]:
        """Return the partitions that need not be read any more, each once."""
        found, self._finished = self._finished, []
        return found

    # -- the chain ----------------------------------------------------------------------------------

    def _connect(self, chain: Sequence[Lane]) -> None:
        """Let each lane hand what it writes to those that take it, and its ledger entries to all after it."""
        for place, lane in enumerate(chain):
            after = chain[place + 1 :]
            for taker in after:
                queue = taker.queues[0]
                self._unread.add((queue.name, queue.partition))
                if queue.topic in lane.service.emits:
                    lane.taps[queue.topic] = partial(_hand_over, queue)
            lane.taps[LEDGER] = partial(self._lend, [taker.books for taker in after])
            if self.lean:
                lane.unwritten = frozenset(set(self.links) & set(lane.service.emits))

    def _lend(self, books: Sequence[Books], parts: Sequence[Typed]) -> None:
        """Show ledger entries to the members after: they are on the log only when the transaction is."""
        for entry in (row for part in parts for row in plain(part.columns)):
            for held in books:
                held.add_entry(entry)
                self._lent.newest.append((held, entry))

    # -- transactions out ---------------------------------------------------------------------------

    def _keys(self) -> Iterable[Key]:
        return self.members[0].lanes

    def _at(self, key: Key) -> list[Lane]:
        return [m.lanes[key] for m in self.members]

    def go_on_or_raise(self) -> None:
        """Raise the error of a stopped partition when none is left that works."""
        self.members[0].go_on_or_raise()

    def _advance(self, key: Key, transaction: Transaction) -> bool:
        """Empty what lies between the members, let the first do one piece when they are even, empty it again."""
        moved = False
        for chain in self._chains[key]:
            moved |= self._drain(chain, transaction)
            if self._even(chain):
                moved |= chain[0].work(transaction, self._most[chain[0].service.name])
                moved |= self._drain(chain, transaction)
        return moved

    def _drain(self, chain: Sequence[Lane], transaction: Transaction) -> bool:
        moved, rows = False, transaction.rows
        for lane in chain[1:]:
            while lane.work(transaction, self._most[lane.service.name]):
                moved = True
        transaction.rows = rows  # an event counts once, however many members handle it
        return moved

    def _even(self, chain: Sequence[Lane]) -> bool:
        """Tell whether all that the first member makes of its next piece can be handled at once."""
        return all(
            lane.progress.tick == chain[0].progress.tick
            and not lane.queues[0].chunks
            and (lane.queues[0].name, lane.partition) not in self._unread
            and lane.ready()
            for lane in chain[1:]
        )

    def _seal(self, key: Key, transaction: Transaction) -> None:
        super()._seal(key, transaction)
        for lane in self._at(key)[1:] if not self.lean else ():
            if lane.queues[0].took_handed_over:
                transaction.tails[lane.queues[0].name, lane.partition] = lane.service.name

    def ahead(self) -> None:
        """Do the next transaction's work on top of the open one, while others find out what becomes of that."""
        self._lent.begin()
        super().ahead()

    def commit(self) -> None:
        """Keep what the open transaction did; what was done ahead is open then."""
        self._lent.keep()
        super().commit()

    def _undo(self) -> None:
        for books, entry in self._lent.back():
            books.take_back(entry)
        super()._undo()

    def forget(self) -> None:
        """Drop from the books what every lane has closed."""
        for member in self.members:
            member.forget()


def _linked(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Return the lanes of a partition as chains: one, or two where a re-key lies between and the log is read again."""
    chains: list[list[Lane]] = []
    for lane in lanes:
        if chains and any(lane.queues[0].topic in before.service.emits for before in chains[-1]):
            chains[-1].append(lane)
        else:
            chains.append([lane])
    return chains


def _hand_over(queue: Queue, parts: Sequence[Typed]) -> None:
    rows = [(p.writer.schema["name"], Selection(p.places, p.columns)) for p in parts if p.columns.num_rows]
    if rows:
        queue.add(handed_over(queue.topic, queue.partition, rows))
