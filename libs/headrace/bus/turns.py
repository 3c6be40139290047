"""How the lanes of an engine take their turns in one transaction, and what becomes of one whose handler fails."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from headrace.bus.arrivals import Arrivals, by_place, runs
from headrace.bus.errors import HandlerError, UnansweredError
from headrace.bus.lane import Lane
from headrace.bus.records import Incoming, Place
from headrace.bus.transaction import Transaction

Key = tuple[str, int]
ROWS_PER_TRANSACTION = 65_536
FEW, ALL = 2, inf  # partitions
LITTLE = 100  # rows of a transaction up to which it costs what its partitions cost
REST = 0.1  # seconds at most


class Turns(ABC):
    """What takes turns is a pipeline's partition: one lane of a service, or those of a fused chain.

    ``few`` of them share a transaction where records trickle in, those first that have waited longest: what the first
    wrote need not wait for the last. ``trickling`` says that rows come one by one, from producers, and not as others'
    transactions.
    """

    def __init__(self, *, few: float, trickling: bool = False) -> None:
        self.few, self._trickling = few, trickling
        self.stopped: dict[Key, HandlerError | UnansweredError] = {}
        self._working: set[Key] = set()
        self._turn: dict[Key, int] = {}
        self._count = 0
        self.more = False  # whether partitions were left for the next transaction

    def receive(self, messages: Sequence[Incoming]) -> list[str]:
        """Take records as a consumer gave them; return the names of pipelines seen for the first time."""
        return self.take(by_place(runs(messages)))

    @abstractmethod
    def take(self, groups: Mapping[Place, Arrivals]) -> list[str]:
        """Take records by topic and partition; return the names of pipelines seen for the first time."""

    @abstractmethod
    def _keys(self) -> Iterable[Key]:
        """Return the pipelines and partitions, in the order of their turns."""

    @abstractmethod
    def _at(self, key: Key) -> Sequence[Lane]:
        """Return the lanes of a pipeline's partition."""

    @abstractmethod
    def _advance(self, key: Key, transaction: Transaction) -> bool:
        """Do the next piece of work of a partition; return False when there is none."""

    @abstractmethod
    def go_on_or_raise(self) -> None:
        """Raise the error of a stopped partition when none is left that works."""

    def work(self) -> Transaction | None:
        """Return the next transaction, or None when nothing can be done yet.

        Every transaction must be ended by :meth:`commit` or :meth:`rollback` before the next call.

        Raises:
            HandlerError, UnansweredError: when no partition is left that works.
        """
        self.go_on_or_raise()
        transaction, self.more = Transaction(), False
        for key in self._in_turn():
            self.more = len(self._working) >= self.few and transaction.rows < LITTLE
            if self.more:
                break
            try:
                while (
                    key not in self.stopped
                    and transaction.rows < ROWS_PER_TRANSACTION
                    and self._advance(key, transaction)
                ):
                    self._working.add(key)
            except (HandlerError, UnansweredError) as error:
                self._stop(key, error)
                return self.work()
        self._count += 1
        for key in self._working:
            self._seal(key, transaction)
            self._turn[key] = self._count
        transaction.settle()
        return transaction if self._working else None

    def rest(self, transaction: Transaction, took: float) -> float:
        """Return the seconds to wait after a transaction of ``took`` seconds, so that more rows share the next one's price.

        Where rows trickle in on more partitions than share a transaction there is always one to begin, and the service
        would keep those behind it from the processors with ever smaller ones.
        """
        wide = sum(1 for _ in self._keys()) > self.few
        return min(took, REST) if self._trickling and wide and transaction.rows < LITTLE else 0.0

    def _in_turn(self) -> list[Key]:
        """Return the partitions, those first that have waited longest."""
        return sorted(self._keys(), key=lambda key: self._turn.get(key, 0))

    def _seal(self, key: Key, transaction: Transaction) -> None:
        for lane in self._at(key):
            lane.seal(transaction)

    def _stop(self, key: Key, error: HandlerError | UnansweredError) -> None:
        """Stop a partition whose handler fails, its offset unmoved; the others do their work again without it."""
        self._working.add(key)
        self.rollback()
        self.stopped[key] = error

    def commit(self) -> None:
        """Keep what the last transaction did."""
        for lane in self._touched():
            lane.commit()
        self.forget()

    def rollback(self) -> None:
        """Undo what the last transaction did; the same input is handled again."""
        for lane in self._touched():
            lane.rollback()

    @abstractmethod
    def forget(self) -> None:
        """Drop from the books what every lane has closed."""

    def _touched(self) -> list[Lane]:
        found = [lane for key in self._working for lane in self._at(key)]
        self._working.clear()
        return found
