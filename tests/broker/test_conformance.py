"""One suite for both logs: what is shown of handlers in memory holds on the broker, because the two behave alike."""

from contextlib import closing

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from conformance import (
    CHECKS,
    check_a_new_replica_goes_on_where_the_last_one_was,
    check_a_reader_sees_committed_records_only,
    check_a_tick_closes_at_its_end_even_where_no_record_lies,
    check_a_tick_stays_open_until_its_end_is_read,
    check_an_aborted_transaction_leaves_nothing_and_is_done_again_once,
    check_offsets_and_outputs_become_visible_together,
    check_records_come_back_as_they_were_appended,
    check_state_comes_back_from_the_changelog,
)
from rigs import AbortingRunner, KafkaRig, MemoryRig, fresh_name, never

from headrace.bus.kafka import consumer, incoming
from headrace.contracts.topics import EVENTS

named = pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))


@named
def test_memory(check):
    check(MemoryRig(fresh_name()))


@pytest.mark.broker
@named
def test_kafka(check, broker):
    with closing(KafkaRig(fresh_name(), broker)) as rig:
        check(rig)


# -- planted differences: each must be caught ----------------------------------------------------------------


class Leaking(MemoryRig):
    """An aborted transaction stays visible."""

    def runner(self, service, *, abort=never, max_batch=1_000):
        def leak(transaction):
            failed = abort(transaction)
            self.log.append(transaction.records() if failed else ())
            return failed

        return super().runner(service, abort=leak, max_batch=max_batch)


class Forgetful(MemoryRig):
    """A new replica begins at the beginning."""

    def runner(self, service, *, abort=never, max_batch=1_000):
        self.log.committed.clear()
        return super().runner(service, abort=abort, max_batch=max_batch)


class Lagging(MemoryRig):
    """Outputs are visible, the offsets behind them are not."""

    def committed(self, service, topic):
        return super().committed(service, topic) - 1


class Shuffling(MemoryRig):
    """The log does not keep the order of what is appended."""

    def append(self, records, *, commit=True):
        super().append(sorted(records, key=lambda r: r.value or b"", reverse=True), commit=commit)


class Hasty(MemoryRig):
    """The end of a partition is told before it is reached."""

    def settle(self, runners):
        for runner in runners:
            runner.pump()
            runner.engine.reached(EVENTS.name(self.definition.name), 0, 1 << 40)
        super().settle(runners)


class Dirty(KafkaRig):
    """A reader sees what was never committed."""

    isolation = "read_uncommitted"

    def held(self, topic, partition):
        client = consumer(self.bootstrap, "dirty", **{"isolation.level": self.isolation})
        client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        found = []
        while not (message := client.poll(10)).error():
            found.append(incoming(message))
        client.close()
        return found


class Clean(Dirty):
    """The same reader with nothing wrong: it is the isolation that the check catches."""

    isolation = "read_committed"


class Blank(KafkaRig):
    """A new replica does not read the changelog."""

    def runner(self, service, *, abort=never, max_batch=1_000):
        engine = self.engine(service, max_batch)
        engine.restore = lambda _lane, _changelog: None
        return self.started(AbortingRunner(self.bootstrap, engine), abort)


class EndBlind(AbortingRunner):
    """The end of a partition is never told to the engine."""

    def _records(self, found):
        reached, self.engine.reached = self.engine.reached, lambda *_: None
        try:
            yield from super()._records(found)
        finally:
            self.engine.reached = reached


class Blind(KafkaRig):
    """Ticks close on records alone."""

    def runner(self, service, *, abort=never, max_batch=1_000):
        return self.started(EndBlind(self.bootstrap, self.engine(service, max_batch)), abort)


@pytest.mark.parametrize(
    ("rig", "check"),
    [
        (Leaking, check_an_aborted_transaction_leaves_nothing_and_is_done_again_once),
        (Forgetful, check_a_new_replica_goes_on_where_the_last_one_was),
        (Lagging, check_offsets_and_outputs_become_visible_together),
        (Shuffling, check_records_come_back_as_they_were_appended),
        (Hasty, check_a_tick_stays_open_until_its_end_is_read),
    ],
)
def test_a_difference_planted_in_memory_is_caught(rig, check):
    with pytest.raises(AssertionError):
        check(rig(fresh_name()))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("rig", "check"),
    [
        (Dirty, check_a_reader_sees_committed_records_only),
        (Blank, check_state_comes_back_from_the_changelog),
        (Blind, check_a_tick_closes_at_its_end_even_where_no_record_lies),
    ],
)
def test_a_difference_planted_on_the_broker_is_caught(rig, check, broker):
    with closing(rig(fresh_name(), broker)) as planted, pytest.raises((AssertionError, ValueError)):
        check(planted)


@pytest.mark.broker
def test_a_reader_with_nothing_planted_passes(broker):
    with closing(Clean(fresh_name(), broker)) as rig:
        check_a_reader_sees_committed_records_only(rig)
