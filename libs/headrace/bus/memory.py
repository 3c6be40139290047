"""A log in memory: the same engines on the same records, for tests and for replay."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from headrace.bus.arrivals import Arrivals, arrivals, by_place, runs
from headrace.bus.blocks import Block, arrived
from headrace.bus.changelog import PROGRESS, Progress
from headrace.bus.engine import Engine
from headrace.bus.fusion import FusedEngine
from headrace.bus.held import Held
from headrace.bus.records import Incoming, Outgoing, Place
from headrace.bus.transaction import Transaction


class MemoryLog:
    """Topics in memory; every append is atomic, offsets are positions."""

    def __init__(self) -> None:
        self.partitions: dict[Place, Held] = defaultdict(Held)
        self.committed: dict[tuple[str, str, int], int] = {}

    def append(self, records: Iterable[Outgoing]) -> None:
        """Append records in order."""
        for (topic, partition), run in groupby(records, itemgetter(0, 1)):
            held = self.partitions[topic, partition]
            told = enumerate(run, start=len(held))
            held.add(arrivals([Incoming(topic, partition, n, r.key, r.value, r.headers) for n, r in told]))

    def add(self, block: Block) -> None:
        """Append the records of a block."""
        held = self.partitions[block.topic, block.partition]
        held.add(arrived(block, len(held)))

    def read(self, topic: str) -> list[Incoming]:
        """Return every record of a topic, partition by partition."""
        return [r for (name, _), held in sorted(self.partitions.items()) if name == topic for r in held]

    def commit(self, transaction: Transaction) -> None:
        """Make a transaction visible: its records and its offsets at once."""
        for block in transaction.produced:
            self.add(block)
        self.committed |= transaction.offsets
        for place in transaction.last_of_tails():
            self.committed[transaction.tails[place], *place] = len(self.partitions[place])


class MemoryRunner:
    """Runs one engine on a log; ``abort`` decides, transaction by transaction, which ones fail to commit."""

    def __init__(
        self,
        log: MemoryLog,
        engine: Engine | FusedEngine,
        *,
        most: int = 1_000_000,
        abort: Callable[[Transaction], bool] = lambda _: False,
        begin: Mapping[int, Progress] | None = None,
    ) -> None:
        """Run ``engine`` on ``log``; ``begin`` gives lanes a first tick by partition, for a replay from the middle."""
        self.log, self.engine, self._most, self._abort = log, engine, most, abort
        self._begin = begin or {}
        self._at: dict[Place, int] = {}
        self._watched: list[str] = list(engine.control_topics)

    def pump(self) -> bool:
        """Read what is new, do one transaction; return whether anything happened."""
        moved = self._read()
        transaction = self.engine.work()
        if transaction is None:
            return moved
        if self.engine.foresees:
            self._read()
            self.engine.ahead()
        if self._abort(transaction):
            self.engine.rollback()
        else:
            self.log.commit(transaction)
            self.engine.commit()
        return True

    def _read(self) -> bool:
        found: list[Arrivals] = []
        for (topic, partition), held in list(self.log.partitions.items()):
            if topic not in self._watched and (topic, partition) not in self._at:
                continue
            at = self._at.get((topic, partition), 0)
            if new := held[at : at + self._most]:
                found.append(new.columns())
            self._at[topic, partition] = at + len(new)
        for topic in self._watched:
            held = self.log.partitions[topic, 0]
            if self._at.get((topic, 0), 0) == len(held):
                self.engine.reached(topic, 0, len(held))
        for pipeline in self.engine.take(by_place(found)):
            self._open(pipeline)
        for place, at in list(self._at.items()):
            if at == len(self.log.partitions[place]):
                self.engine.reached(*place, at)
        for place in self.engine.finished():
            del self._at[place]
        return bool(found)

    def _open(self, pipeline: str) -> None:
        for lane in self.engine.open_pipeline(pipeline):
            for found in runs(self.log.partitions[lane.changelog, lane.partition]):
                self.engine.restore(lane, found)
            if lane.partition in self._begin:
                lane.restore({PROGRESS.name: {"open": self._begin[lane.partition].row()}})
            for queue in lane.queues:
                start = self.log.committed.get((lane.service.name, queue.name, queue.partition), 0)
                self._at[queue.name, queue.partition] = start
                lane.resume(queue.name, queue.partition, start)
        self._watched += self.engine.book_topics(pipeline)


def settle(runners: Sequence[MemoryRunner]) -> None:
    """Run engines in turn until none has anything left to do."""
    while sum(runner.pump() for runner in runners):
        pass
