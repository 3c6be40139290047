"""One service over all its pipelines and partitions, without any I/O: records in, transactions out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from headrace.bus import chunks
from headrace.bus.arrivals import Arrivals
from headrace.bus.books import Books
from headrace.bus.changelog import plain, read
from headrace.bus.encode import Encoder
from headrace.bus.errors import BrokenRecordError
from headrace.bus.lane import Lane
from headrace.bus.records import Incoming, Place
from headrace.bus.schemas import Registry, codec, reading_schema
from headrace.bus.scribe import Scribe
from headrace.bus.service import Artifacts, Service
from headrace.bus.skips import ORDER, Skip, Skips
from headrace.bus.transaction import Transaction
from headrace.bus.turns import ALL, FEW, MOST, Key, Turns
from headrace.contracts.frame import unframe
from headrace.contracts.topics import COMMANDS, CONTROL_TOPICS, EVENTS, LEDGER, PIPELINES, TICKS, Topic
from headrace.pipeline.definition import Definition

Fields = dict[str, Any]


class Engine(Turns):
    """The lanes of one replica of a service, and the books they share."""

    def __init__(
        self,
        service: Service,
        registry: Registry,
        artifacts: Artifacts,
        *,
        max_batch: int = 1_000,
        max_transaction: int = MOST,
        replica: tuple[int, int] = (0, 1),
        proven: Collection[Skip] | None = None,
        scribe: Scribe | None = None,
    ) -> None:
        super().__init__(
            few=FEW if service.pace == "stream" else ALL,
            trickling=EVENTS in (i.topic for i in service.consumes),
            most=max_transaction,
        )
        self.service, self.registry, self._artifacts = service, registry, artifacts
        self._encoder, self._scribe = Encoder(registry), scribe
        self.max_batch, self._replica = max_batch, replica
        self.books: dict[str, Books] = {}
        self.lanes: dict[tuple[str, int], Lane] = {}
        self._data: dict[str, tuple[Topic, str]] = {}
        self._control = {t.name(): t for t in CONTROL_TOPICS}
        self._seen: dict[str, list[tuple[str, int, str, Fields]]] = {}
        self._definitions: dict[str, Definition] = {}
        self.shares = (
            False  # whether lanes of other replicas may come here, with ticks that are open only there
        )
        self._proven, self._heard = proven, False

    @property
    def guests(self) -> list[str]:
        """Return the services that run in this engine beside its own: none, where no chain is fused."""
        return []

    # -- what to read -------------------------------------------------------------------------------

    @property
    def control_topics(self) -> list[str]:
        """Return the control topics the service reads, all from their beginning."""
        own = [i.topic for i in self.service.consumes if i.topic.scope == "control"]
        if self._may_skip:
            own.append(COMMANDS)
        return sorted({t.name() for t in (PIPELINES, *own, *self.service.follows)})

    @property
    def _may_skip(self) -> bool:
        """Tell whether operators may let the service step over a record: where it takes them one after another."""
        return self.service.pace == "stream" and not self.service.single

    @property
    def data_topics(self) -> set[str]:
        """Return the topics of opened pipelines that lanes take records from."""
        return set(self._data)

    def finished(self) -> list[tuple[str, int]]:
        """Return the partitions that need not be read any more: none, while a service reads all its input."""
        return []

    def book_topics(self, pipeline: str) -> list[str]:
        """Return a pipeline's topics that are read whole, from their beginning: none without work in it."""
        needed = self.service.needed(self._definitions[pipeline])
        return [TICKS.name(pipeline), LEDGER.name(pipeline)] if needed else []

    # -- pipelines ----------------------------------------------------------------------------------

    def definition(self, pipeline: str) -> Definition:
        """Return the definition a pipeline was last registered with, as far as read."""
        return self._definitions[pipeline]

    def open_pipeline(self, pipeline: str) -> list[Lane]:
        """Make the lanes of a registered pipeline that this replica owns."""
        self.admit(pipeline)
        if pipeline not in self.books:
            return []
        index, replicas = self._replica
        lanes = 1 if self.service.single else self._definitions[pipeline].partitions
        return [self.open_lane(pipeline, p) for p in range(lanes) if p % replicas == index]

    def admit(self, pipeline: str) -> None:
        """Open the books of a registered pipeline, without any lane, if there is work for the service in it."""
        if not self.service.needed(self._definitions[pipeline]):
            return
        books = self.books[pipeline] = Books(pipeline, skips=Skips(self._proven))
        for seen in self._seen.values():
            for control in seen:
                books.add_control(*control)
        for item in self.service.inputs(self._definitions[pipeline]):
            if item.topic.scope == "pipeline":
                self._data[item.topic.name(pipeline)] = (item.topic, pipeline)

    def open_lane(self, pipeline: str, partition: int) -> Lane:
        """Make a lane, still empty."""
        books, definition = self.books[pipeline], self._definitions[pipeline]
        lane = Lane(self.service, books, partition, definition, self._encoder, self._artifacts, self._scribe)
        self.lanes[pipeline, partition] = lane
        return lane

    def close_lane(self, pipeline: str, partition: int) -> Lane:
        """Drop a lane with all it holds, between two transactions, and return it."""
        self.stopped.pop((pipeline, partition), None)
        return self.lanes.pop((pipeline, partition))

    def restore(self, lane: Lane, changelog: Arrivals) -> None:
        """Give a lane the state its changelog holds; a long one may come in parts, one after the other."""
        lane.restore(read(changelog, self.service.tables, self.registry))

    # -- records in ---------------------------------------------------------------------------------

    def take(self, groups: Mapping[Place, Arrivals]) -> list[str]:
        """Take records by topic and partition; return the names of pipelines seen for the first time."""
        known = set(self._definitions)
        for topic, places in groupby(sorted(groups), key=itemgetter(0)):
            self._take(topic, [groups[place] for place in places])
        return sorted(set(self._definitions) - known)

    def reached(self, topic: str, partition: int, offset: int) -> None:
        """Take the end of a partition: nothing is left unread below ``offset``."""
        self._heard |= topic == COMMANDS.name()
        for books in self.books.values():
            books.caught_up |= topic == TICKS.name(books.pipeline)
        for queue in (q for lane in self.lanes.values() for q in lane.queues):
            if (queue.name, queue.partition) == (topic, partition):
                queue.reach(offset)

    def wanted(self, topic: str, partition: int) -> int:
        """Return the offset below which nothing of a partition is wanted any more."""
        queues = (q for lane in self.lanes.values() for q in lane.queues)
        return min((q.reached for q in queues if (q.name, q.partition) == (topic, partition)), default=0)

    def _take(self, topic: str, parts: Sequence[Arrivals]) -> None:
        """Take records of one topic, a part for each partition."""
        if topic in self._control:
            self._take_control(topic, chain.from_iterable(parts))
        elif topic in self._data:
            for some in chunks.together(parts):
                self._take_data(topic, some)
        else:
            pipeline, _, _ = topic.partition(".")
            books = self.books[pipeline]
            add = books.add_tick if topic == TICKS.name(pipeline) else books.add_entry
            for _, _, record in self._plain(chain.from_iterable(parts)):
                add(record)

    def _take_control(self, topic: str, messages: Iterable[Incoming]) -> None:
        for offset, name, record in self._plain(messages):
            self._seen.setdefault(topic, []).append((topic, offset, name, record))
            if topic == PIPELINES.name():
                self._definitions[record["pipeline"]] = Definition.model_validate_json(record["definition"])
            for books in self.books.values():
                books.add_control(topic, offset, name, record)
            if name == ORDER:
                self.stopped.pop((record["pipeline"], record["partition"]), None)

    def _take_data(self, topic: str, parts: Sequence[Arrivals]) -> None:
        logical, pipeline = self._data[topic]
        definition = self._definitions[pipeline]
        if logical is EVENTS:
            found = chunks.raw(logical, parts, self.registry, definition)
        else:
            found = chunks.derived(
                logical, parts, self.registry, lambda name: reading_schema(logical, name, definition)
            )
        queues = [q for lane in self.lanes.values() for q in lane.queues if q.name == topic]
        for messages, chunk in zip(parts, found, strict=True):
            for queue in (q for q in queues if q.partition == messages.partition):
                queue.add(chunk)
                queue.reach(messages.last + 1)

    def _plain(self, messages: Iterable[Incoming]) -> list[tuple[int, str, Fields]]:
        return decode_plain(messages, self.registry)

    # -- transactions out ---------------------------------------------------------------------------

    def _keys(self) -> Iterable[Key]:
        return self.lanes

    def _at(self, key: Key) -> list[Lane]:
        return [self.lanes[key]]

    def _advance(self, key: Key, transaction: Transaction) -> bool:
        return self.lanes[key].work(transaction, self.max_batch)

    def go_on_or_raise(self) -> None:
        """Raise the error of a stopped lane when no lane is left that works, and no order can be waiting unread."""
        heard = self._heard or not self._may_skip
        if self.stopped and heard and len(self.stopped) == len(self.lanes):
            raise next(reversed(self.stopped.values()))

    def forget(self) -> None:
        """Drop from the books what every lane has closed."""
        for pipeline, books in self.books.items():
            open_ticks = [lane.saved.tick for (p, _), lane in self.lanes.items() if p == pipeline]
            if self.shares:
                partitions = range(self._definitions[pipeline].partitions)
                open_ticks += [books.closed.get((self.service.name, p), 0) + 1 for p in partitions]
            if open_ticks:
                books.forget(min(open_ticks))


def decode_plain(messages: Iterable[Incoming], registry: Registry) -> list[tuple[int, str, Fields]]:
    """Return (offset, record type, fields) of records of ours, in the order given.

    Raises:
        BrokenRecordError: when a record cannot be decoded.
    """
    found = []
    for schema_id, group in groupby(messages, key=lambda m: unframe(m.value or b"")[0]):
        run = list(group)
        schema = registry.schema(schema_id)
        if schema is None:
            raise BrokenRecordError(run[0].where, f"schema id {schema_id} is unknown")
        decoded = codec(schema).decode([unframe(m.value)[1] for m in run])
        for place, why in decoded.errors.items():
            raise BrokenRecordError(run[place].where, why)
        rows = zip(run, plain(decoded.columns), strict=True)
        found += [(m.offset, str(schema["name"]), fields) for m, fields in rows]
    return found
