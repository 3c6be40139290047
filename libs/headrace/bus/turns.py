"""How the lanes of an engine take their turns in one transaction, and what becomes of one whose handler fails."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from headrace.bus.arrivals import Arrivals, by_place, runs
from headrace.bus.errors import HandlerError, UnansweredError
from headrace.bus.lane import Lane
from headrace.bus.records import Incoming, Place
from headrace.bus.transaction import Transaction
from headrace.bus.undo import Undo

Key = tuple[str, int]
MOST = 65_536  # rows of a transaction from which on it takes no more
FEW, ALL = 2, inf  # partitions
LITTLE = 100  # rows of a transaction up to which it costs what its partitions cost
REST = 0.1  # seconds at most


class Turns(ABC):
    """What takes turns is a pipeline's partition: one lane of a service, or those of a fused chain.

    ``few`` of them share a transaction where records trickle in, those first that have waited longest: what the first
    wrote need not wait for the last. ``trickling`` says that rows come one by one, from producers, and not as others'
    transactions. With ``most`` rows a transaction takes no more.
    """

    foresees = False  # whether much is worked on while the transaction before it is carried out

    def __init__(self, *, few: float, trickling: bool = False, most: int = MOST) -> None:
        self.few, self._trickling, self.most = few, trickling, most
        self.stopped: dict[Key, HandlerError | UnansweredError] = {}
        self._worked: Undo[set[Key]] = Undo(set)
        self._ahead: Transaction | None = None
        self._turn: dict[Key, int] = {}
        self._count = 0
        self.more = False  # whether the next transaction need not wait for more input

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
        if self._ahead is not None:
            made, self._ahead = self._ahead, None
            return made
        self.go_on_or_raise()
        try:
            return self._next()
        except _FailedError as failed:
            self.rollback()
            self.stopped[failed.key] = failed.error  # its offset is unmoved; the others do their work again
            return self.work()

    def ahead(self) -> None:
        """Do the next transaction's work on top of the open one, while others find out what becomes of that."""
        before = self._worked.newest
        for lane in self._lanes(before):
            lane.begin()
        self._worked.begin()
        self._worked.newest.update(before)
        try:
            self._ahead = self._next()
        except _FailedError:  # a handler is pure: it fails again when nothing else is open, and is named then
            self._ahead = None
        self.more = self._ahead is not None
        if not self.more:
            self._undo()

    def drop(self) -> None:
        """Undo what was done ahead."""
        if self._ahead is not None:
            self._ahead = None
            self._undo()

    def _next(self) -> Transaction | None:
        transaction, self.more, worked = Transaction(), False, set[Key]()
        for key in self._in_turn():
            self.more = len(worked) >= self.few and transaction.rows < LITTLE
            if self.more:
                break
            try:
                while (
                    key not in self.stopped
                    and transaction.rows < self.most
                    and self._advance(key, transaction)
                ):
                    worked.add(key)
            except (HandlerError, UnansweredError) as error:
                self._worked.newest.update(worked, (key,))
                raise _FailedError(key, error) from error
        self._worked.newest.update(worked)
        self._count += 1
        for key in worked:
            self._seal(key, transaction)
            self._turn[key] = self._count
        return transaction if worked else None

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

    def commit(self) -> None:
        """Keep what the open transaction did; what was done ahead is open then."""
        for lane in self._lanes(self._worked.keep()):
            lane.commit()
        self.forget()

    def rollback(self) -> None:
        """Undo what the open transaction did, and what was done ahead of its end; the same input is handled again."""
        self.drop()
        self._undo()

    def _undo(self) -> None:
        for lane in self._lanes(self._worked.back()):
            lane.rollback()

    @abstractmethod
    def forget(self) -> None:
        """Drop from the books what every lane has closed."""

    def _lanes(self, keys: Iterable[Key]) -> list[Lane]:
        return [lane for key in keys for lane in self._at(key)]


class _FailedError(Exception):
    """A handler of a partition failed."""

    def __init__(self, key: Key, error: HandlerError | UnansweredError) -> None:
        super().__init__(key, error)
        self.key, self.error = key, error
