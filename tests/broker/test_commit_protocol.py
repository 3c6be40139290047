"""Transactions whose end goes wrong: what was committed is kept once, what was not is done again once."""

from contextlib import closing
from threading import Event

import pytest
from confluent_kafka import KafkaError, KafkaException
from conformance import orders
from rigs import DATA_PLANE, INGESTION, AbortingRunner, KafkaRig, fresh_name, never

from headrace.bus import runner as runner_module
from headrace.bus import transactions
from headrace.bus.errors import ReplacedError
from headrace.bus.transactions import FAILURES, Transactions
from headrace.contracts.topics import EVENTS, LEDGER, PREDICTIONS, REJECTED, VALIDATED

pytestmark = pytest.mark.broker


class Answerless(Transactions):
    """The answer of every second commit gets lost after it was carried out."""

    calls = 0

    def commit(self):
        super().commit()
        self.calls += 1
        if self.calls % 2:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "the answer was lost"))


class Unasked(Transactions):
    """Every second commit gets lost on its way."""

    calls = 0

    def commit(self):
        self.calls += 1
        if self.calls % 2:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "the request was lost"))
        super().commit()


class Late(Transactions):
    """Every step times out once before it ends well."""

    def _finish(self, call, *more):
        self._late = True
        super()._finish(call, *more)


class Fenced(Transactions):
    """The send of offsets says that the producer is fenced, which is not true, every second time."""

    calls = 0

    def offsets(self, transaction):
        self.calls += 1
        if self.calls % 2:
            raise KafkaException(KafkaError(KafkaError._FENCED, "CONCURRENT_TRANSACTIONS", fatal=True))
        super().offsets(transaction)


class Halved(Transactions):
    """Some transactions break off amid their records."""

    calls = 0

    def _send(self, block, *, last=False):
        self.calls += 1
        if self.calls in {2, 5, 11, 23, 47}:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "the broker went away"))
        super()._send(block, last=last)


class Stuck(Transactions):
    """Every second send of offsets hands over its request to nobody, and never returns."""

    calls = 0

    def offsets(self, transaction):
        self.calls += 1
        if self.calls % 2:
            self._finish(lambda _wait: Event().wait())
        super().offsets(transaction)


class Torn(Transactions):
    """Every commit is refused, whatever is done."""

    def commit(self):
        raise KafkaException(KafkaError(KafkaError.INVALID_TXN_STATE, "no"))


class Overslept(Transactions):
    """One commit ends well, but late, and much has happened meanwhile."""

    def asleep(self):
        pass

    def commit(self):
        super().commit()
        self.asleep()


def run_with(kind, rig, *, fused=False):
    class Runner(AbortingRunner):
        transactions_class = kind

    engine = rig.fused_engine(DATA_PLANE[:3], 7) if fused else rig.engine(INGESTION, 7)
    return rig.started(Runner(rig.bootstrap, engine), never)


def every_row_ended_once(rig, raw):
    ends = [r["origin"]["offset"] for topic in (VALIDATED, REJECTED) for r in rig.rows(topic)]
    assert sorted(ends) == list(range(raw))
    assert rig.committed(INGESTION, EVENTS) == raw


# How records are sent: by the runner, by another thread, by the runner of a fused chain, while that works ahead.
@pytest.mark.parametrize("way", ["here", "beside", "fused", "ahead"])
@pytest.mark.parametrize("kind", [Answerless, Unasked, Late, Fenced, Halved, Stuck], ids=lambda k: k.__name__)
def test_each_row_ends_once_and_each_tick_closes_once(kind, way, broker, monkeypatch):
    monkeypatch.setattr(runner_module, "AT_ONCE", 1_000 if way in {"here", "fused"} else 0)
    monkeypatch.setattr(transactions, "STUCK", -2.0)  # a call counts as stuck after a second
    monkeypatch.setattr(runner_module, "RECENT", 1)  # which is never where the progress stands
    fused = way in {"fused", "ahead"}
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        runner = run_with(kind, rig, fused=fused)
        if way == "ahead":
            runner.engine.most = 7
        rig.append(rig.events(orders(0, 20)))
        rig.settle([runner])
        rig.tick(1, 20)  # nothing but the close of a tick: a transaction without offsets
        rig.settle([runner])
        rig.tick(2, 20)
        rig.append(rig.events(orders(20, 10)))
        rig.settle([runner])
        every_row_ended_once(rig, 30)
        entries = [e for e in rig.rows(LEDGER) if e["service"] == "ingestion"]
        assert [(e["tick"], e["records_in"]) for e in entries] == [(1, 20), (2, 0)]
        scored = [r["origin"]["offset"] for r in rig.rows(PREDICTIONS)]
        assert sorted(scored) == (list(range(30)) if fused else [])


def test_a_replica_that_was_replaced_stops_and_writes_nothing(broker):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        old = run_with(Transactions, rig)
        rig.append(rig.events(orders(0, 5)))
        rig.settle([old])
        rig.append(rig.events(orders(5, 5)))
        while not (pending := old._read(1.0) and old.engine.work()):
            pass
        new = run_with(Transactions, rig)
        rig.settle([new])
        rig.append(rig.events(orders(10, 5)))
        rig.settle([new])
        with pytest.raises(ReplacedError):
            old._carry_out(pending)
        every_row_ended_once(rig, 15)


def test_a_replica_whose_late_commit_was_kept_and_followed_by_anothers_stops(broker):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        old = run_with(Overslept, rig)
        rig.append(rig.events(orders(0, 5)))

        def replaced():
            del old.transactions.asleep
            new = run_with(Transactions, rig)
            rig.append(rig.events(orders(5, 5)))
            rig.settle([new])
            old.transactions._late = True

        old.transactions.asleep = replaced
        with pytest.raises(ReplacedError):
            rig.settle([old])
        every_row_ended_once(rig, 10)


def test_a_replica_whose_work_was_done_by_another_goes_on(broker):
    """Handlers are pure: when the log holds the same progress, it holds the same state and the same outputs."""
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        old = run_with(Transactions, rig)
        rig.append(rig.events(orders(0, 5)))
        rig.settle([old])
        new = run_with(Transactions, rig)
        rig.append(rig.events(orders(5, 5)))
        rig.settle([new])
        rig.settle([old])
        rig.append(rig.events(orders(10, 5)))
        rig.settle([old])
        every_row_ended_once(rig, 15)


def test_what_never_succeeds_ends_the_process(broker):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        runner = run_with(Torn, rig)
        rig.append(rig.events(orders(0, 5)))
        with pytest.raises(KafkaException):
            rig.settle([runner])
        assert runner.transactions._failures == FAILURES + 1
        assert rig.read(VALIDATED) == []
