"""Services with the commit protocol done wrong in one way each: the oracle must object to every one."""

from collections.abc import Callable
from typing import Any

from headrace.bus.runner import KafkaRunner
from headrace.bus.transaction import Transaction
from headrace.bus.transactions import Outcome, Transactions
from headrace.chaos.schedule import CONTROL

HASTY: dict[str, Any] = {"slice_seconds": 0.5, "socket.timeout.ms": 2_000}
"""Settings with which an end that is held back is soon a late one."""


class AtLeastOnce(Transactions):
    """Makes its records visible first and commits the offsets afterwards."""

    def offsets(self, transaction: Transaction) -> None:
        """Commit what was sent, then open another transaction for the offsets."""
        self.producer.flush()
        self.producer.commit_transaction()
        self.producer.begin_transaction()
        super().offsets(transaction)


class CommitFirst(Transactions):
    """Commits the offsets before it sends its records."""

    def send(self, transaction: Transaction) -> None:
        """Commit the offsets in a transaction of their own."""
        super().offsets(transaction)
        self.producer.commit_transaction()
        self.producer.begin_transaction()
        super().send(transaction)

    def offsets(self, transaction: Transaction) -> None:
        """Do nothing: they are committed."""


class NoSeek(Transactions):
    """Aborts its second transaction with offsets and does not put the input back."""

    _committed = 0

    def offsets(self, transaction: Transaction) -> None:
        """Count the transactions that take input."""
        super().offsets(transaction)
        self._committed += bool(transaction.offsets)

    def commit(self) -> None:
        """Abort once where a commit was due."""
        if self._committed != 2:  # noqa: PLR2004 -- the second
            super().commit()
            return
        self._committed += 1
        self.abort()

    def carry_out(self, transaction: Transaction) -> Outcome:
        """Take every transaction for done."""
        super().carry_out(transaction)
        return Outcome.COMMITTED


class OffsetZero(Transactions):
    """Commits the offset of the last record, not the one after it."""

    def offsets(self, transaction: Transaction) -> None:
        """Forget the plus one."""
        for place, offset in transaction.offsets.items():
            transaction.offsets[place] = max(offset - 1, 0)
        super().offsets(transaction)


class Hasty(Transactions):
    """Does everything right, but takes an end for late after two seconds: no mutant, what one is held against."""

    def __init__(self, bootstrap: str, transactional_id: str, group: Callable[[str], Any]) -> None:
        super().__init__(bootstrap, transactional_id, group, **HASTY)


class KeepProducer(Hasty):
    """Goes on with the producer whose commit was late, so that the late end closes another transaction."""

    def recreate(self) -> None:
        """Take it for usable."""
        self._late = False


MUTANTS: dict[str, type[Transactions]] = {
    "at-least-once": AtLeastOnce,
    "commit-first": CommitFirst,
    "no-seek": NoSeek,
    "offset-zero": OffsetZero,
    "keep-producer": KeepProducer,
    CONTROL: Hasty,
}


def plug_in(name: str) -> None:
    """Let this process carry out its transactions wrongly."""
    KafkaRunner.transactions_class = MUTANTS[name]
