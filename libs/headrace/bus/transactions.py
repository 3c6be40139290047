"""A replica's transactions, one after the other: every failure ends in a known outcome and a usable producer.

The rules, each from a failure seen on a real broker:

* A commit, an abort or a send of offsets that once timed out is called again until it has ended, and then the
  producer is replaced: a delayed EndTxn of the old one would close the next transaction (KAFKA-17754).
* An error that asks for an abort is answered by a flush and an abort; an abort with records in flight was fatal.
* A call that does not return at all is left behind with its producer.
* Any other error, be it fatal, a false ``_FENCED`` after CONCURRENT_TRANSACTIONS, ``_CONFLICT`` or an invalid state on
  abort, replaces the producer. ``init_transactions`` of the new one ends what the old one left open, so what became of
  the transaction can then be read from the log.
* Whoever replaces a producer reads the log before it goes on, also when it knows what became of its transaction: the
  new producer fences a successor that has taken over meanwhile, so a process that was stopped amid a commit would do
  the successor's work once more.
"""

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from headrace.bus.blocks import Block
from headrace.bus.failpoints import planned, reach
from headrace.bus.identity import Notes
from headrace.bus.kafka import TIMEOUTS, Going, always, fence, producer, send, send_block
from headrace.bus.transaction import Transaction
from headrace.bus.watched import StuckError, Watched

LOG = logging.getLogger("headrace.bus")
PATIENCE = 15.0  # seconds a step may take, in slices; longer than the broker keeps a transaction open
STUCK = 10.0  # seconds beyond a slice after which a call counts as one that never returns
RETURN = 60.0  # seconds in which a broker that went away has to be back
FAILURES = 8  # in a row, before the process gives up
_SLICE = 3.0  # shorter than socket.timeout.ms, so that no request is sent a second time unnoticed


class Outcome(Enum):
    """What became of a transaction; UNKNOWN asks the caller to look at the log."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


class Transactions:
    """The life of one transactional producer, and of those that replace it."""

    def __init__(
        self,
        bootstrap: str,
        transactional_id: str,
        group: Callable[[str], Any],
        *,
        slice_seconds: float = _SLICE,
        **settings: Any,
    ) -> None:
        self._bootstrap, self._id, self._group = bootstrap, transactional_id, group
        self._slice, self._settings = slice_seconds, settings
        self._going: Going = always
        self._late, self._failures = False, 0
        self._watched = Watched()
        self._ends: dict[tuple[str, int], int] = {}
        self.notes = Notes()
        self.producer: Producer = self._new()

    def listen(self, going: Going) -> None:
        """End every wait early when ``going`` says no."""
        self._going = going

    @property
    def usable(self) -> bool:
        """Whether the next transaction can begin; not so when a replacement was told to stop."""
        return not self._late

    def carry_out(self, transaction: Transaction) -> Outcome:
        """Do one transaction and return what became of it; afterwards the producer can begin the next.

        What is still to be encoded is waited for here; what that raises is raised before anything is begun.

        Raises:
            KafkaException: when ``FAILURES`` in a row did not help, or the broker does not come back in time.
        """
        transaction.settle()
        asked = False
        try:
            self.begin()
            self.send(transaction)
            self.offsets(transaction)
            asked = True
            self.commit()
        except (KafkaException, StuckError) as error:
            outcome = self._undo(error, asked=asked)
        else:
            outcome, self._failures = Outcome.COMMITTED, 0
        if self._late:
            self.recreate()  # it is let in whoever has gone on meanwhile, so the log has to say who did
            outcome = Outcome.UNKNOWN
        return outcome

    def close(self) -> None:
        """Leave: nothing is open between two transactions, so an end that takes long is not waited for."""
        retire(self.producer).join(_SLICE)

    # -- the steps, each small enough to be replaced -----------------------------------------------------

    def begin(self) -> None:
        """Open a transaction."""
        self.producer.begin_transaction()
        reach("after-begin")

    def send(self, transaction: Transaction) -> None:
        """Hand over the records."""
        self._ends.clear()
        lasts = set(transaction.last_of_tails().values())
        produced = transaction.produced
        middle = len(produced) // 2 if planned("mid-produce") else -1
        for n, block in enumerate(produced):
            half = len(block) // 2 if n == middle else 0
            if n == middle:
                self._send(block.cut(0, half))
                self.producer.flush(1)
                reach("mid-produce")
            self._send(block.cut(half, len(block)), last=n in lasts)

    def _send(self, block: Block, *, last: bool = False) -> None:
        """Hand over a block; where it holds the ``last`` record of a tail, we want to hear of its delivery."""
        stop = len(block) - last
        send_block(self.producer, block.cut(0, stop))
        if last:
            send(self.producer, block.cut(stop, len(block)), self._note)

    def offsets(self, transaction: Transaction) -> None:
        """Tie the offsets of the inputs to the records."""
        reach("before-offsets")
        groups: dict[str, list[TopicPartition]] = {}
        for service, place in self.notes.marked(transaction.offsets | self._landed(transaction)):
            groups.setdefault(service, []).append(place)
        for service, places in groups.items():
            metadata = self._group(service)
            self._finish(partial(self.producer.send_offsets_to_transaction, places, metadata))
        reach("after-offsets")

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._ends[message.topic(), message.partition()] = message.offset() + 1

    def _landed(self, transaction: Transaction) -> dict[tuple[str, str, int], int]:
        """Return the offsets after the last records of the tails, as soon as the broker has told them."""
        lasts = transaction.last_of_tails()
        if not lasts:
            return {}
        self.producer.flush(PATIENCE)
        if lasts.keys() - self._ends.keys():
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "records were not delivered"))  # noqa: SLF001
        return {(transaction.tails[place], *place): self._ends[place] for place in lasts}

    def commit(self) -> None:
        """Make everything visible."""
        reach("during-commit")
        self._finish(self.producer.commit_transaction)
        reach("after-commit")

    def abort(self) -> None:
        """Undo everything on the broker."""
        self.producer.flush(self._slice)
        self._finish(self.producer.abort_transaction)

    def recreate(self) -> None:
        """Replace the producer; the broker ends what the old one left open before the new one may begin."""
        retire(self.producer)
        self.producer, self._watched = self._new(), Watched()
        self._late = not fence(self.producer, RETURN, self._going)

    # -- how they fail -----------------------------------------------------------------------------------

    def _finish(self, call: Callable[[float], None]) -> None:
        """Call again what timed out, until it has ended or ``PATIENCE`` is over; once late, the producer must go."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._watched.call(partial(call, self._slice), self._slice + STUCK)
            except KafkaException as error:
                if not _timed_out(error) or time.monotonic() > deadline or not self._going():
                    raise
                self._late = True
            else:
                return

    def _undo(self, error: KafkaException | StuckError, *, asked: bool) -> Outcome:
        LOG.warning("a transaction failed: %s", error)
        self._failures += 1
        if self._failures > FAILURES:
            raise error
        if _asks_for_abort(error) and not (asked and self._late):
            try:
                self.abort()
            except (KafkaException, StuckError) as second:
                LOG.warning("its abort failed too, so the producer is replaced: %s", second)
            else:
                return Outcome.ABORTED
        self._late = True
        return Outcome.UNKNOWN

    def _new(self) -> Producer:
        return producer(self._bootstrap, self._id, **self._settings)


def retire(client: Producer) -> threading.Thread:
    """Drop a producer with all it holds, on a thread of its own: its end can take as long as a timeout."""
    thread = threading.Thread(target=_close, args=(client,), name="retired-producer", daemon=True)
    thread.start()
    return thread


def _close(client: Producer) -> None:
    try:
        client.purge()
        client.close()
    except KafkaException as error:  # a fenced producer has nothing left to end
        LOG.debug("a retired producer said: %s", error)


def _asks_for_abort(error: KafkaException | StuckError) -> bool:
    return isinstance(error, KafkaException) and bool(error.args[0].txn_requires_abort())


def _timed_out(error: KafkaException) -> bool:
    told: KafkaError = error.args[0]
    return bool(told.retriable()) and not told.txn_requires_abort() and told.code() in TIMEOUTS
