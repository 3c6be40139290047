"""Replicas of a service join, leave and are lost under load: the result is that of one that was never disturbed."""

import time
from dataclasses import replace

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus import kafka
from headrace.bus.engine import Engine, decode_plain
from headrace.bus.kafka import producer, read_all, send
from headrace.bus.records import Outgoing
from headrace.bus.scribe import Made
from headrace.bus.sharing import SharingRunner
from headrace.chaos.shop import STEP, definition, events
from headrace.contracts.topics import CONTROL_TOPICS, FEATURES, LEDGER, PIPELINES, TICKS, VALIDATED, changelog
from headrace.errors import ConfigurationError
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock
from services.features.service import SERVICE as FEATURE_SERVICE
from services.ingestion.service import SERVICE as INGESTION
from services.training.service import SERVICE as TRAINING

PARTITIONS, STEPS, EVENTS_A_STEP = 6, 12, 60
SHOP = definition(PARTITIONS)
PATIENCE = 240.0


@pytest.fixture(scope="module")
def calm():
    """Play ingestion and features in memory, undisturbed."""
    loop = MemoryLoop(SHOP, (INGESTION, FEATURE_SERVICE), Clock())
    for step in range(STEPS):
        found = (e for e in events(1, step, EVENTS_A_STEP) if e.row is not None)
        loop.publish((step + 1) * STEP, [(e.record, e.row) for e in found])
    loop.publish((STEPS + 4) * STEP, [], final=True)
    return loop


class Play:
    """What came before features, on a broker, and some replicas of features; ticks come one by one, as load does."""

    def __init__(self, broker, calm, runner_class=SharingRunner):
        self.bootstrap, self._calm, self._class = broker.bootstrap, calm, runner_class
        self._create()
        self._plain = producer(self.bootstrap)
        log = calm.log
        self._say(log.read(PIPELINES.name()) + log.read(VALIDATED.name(SHOP.name)) + self._entries())
        self._ticks = log.read(TICKS.name(SHOP.name))
        self.replicas, self.owners, self._turns = {}, set(), 0

    def _create(self):
        names = [t.name() for t in CONTROL_TOPICS] + [t.name(SHOP.name) for t in (TICKS, LEDGER)]
        wide = [VALIDATED.name(SHOP.name), FEATURES.name(SHOP.name), changelog("features", SHOP.name)]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        old = sorted({*names, *wide} & set(admin.list_topics(timeout=10).topics))
        done(admin.delete_topics(old) if old else {})
        while {*old} & set(admin.list_topics(timeout=10).topics):
            time.sleep(0.05)
        done(
            admin.create_topics(
                [NewTopic(n, 1, 1) for n in names] + [NewTopic(n, PARTITIONS, 1) for n in wide]
            )
        )

    def _entries(self):
        entries = self._calm.log.read(LEDGER.name(SHOP.name))
        said = decode_plain(entries, self._calm.registry)
        return [r for r, (_, _, f) in zip(entries, said, strict=True) if f["service"] == "ingestion"]

    def _say(self, records):
        send(self._plain, [Outgoing(*r[:2], *r[3:]) for r in records])
        assert self._plain.flush(120) == 0

    def tick(self):
        """Let the clock say its next tick; return whether there was one."""
        said = self._ticks[:1]
        del self._ticks[:1]
        self._say(said)
        return bool(said)

    # -- replicas -----------------------------------------------------------------------------------

    def join(self, number):
        engine = Engine(FEATURE_SERVICE, self._calm.registry, self._calm.artifacts, max_batch=7)
        self.replicas[number] = self._class(self.bootstrap, engine, replica=number)
        self.replicas[number].start()

    def leave(self, number):
        self.replicas.pop(number).close()

    def freeze(self, number, amid):
        """Stop a replica amid a transaction, and let its session run out; return it and the transaction."""
        runner = self.replicas[number]
        while (transaction := self._begun(runner, amid)) is None:
            self.turn()
        del self.replicas[number]
        runner.membership._client.close()  # a static member: the group waits for it
        return runner, transaction

    def _begun(self, runner, amid):
        """Return a transaction that was begun, or None when the group has just begun another generation."""
        self.tick()
        deadline = time.monotonic() + PATIENCE
        while (transaction := runner.engine.work()) is None:
            assert time.monotonic() < deadline, "there is no work to be stopped in"
            runner._read(0.2)
        runner.transactions.begin()
        try:
            amid(runner, transaction)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.ILLEGAL_GENERATION:
                raise
            runner.transactions.abort()
            runner.undo()
            return None
        return transaction

    def turn(self):
        self._turns += 1
        if self._turns % 20 == 0 and len(self._ticks) > STEPS // 2:
            self.tick()
        for number, runner in list(self.replicas.items()):
            runner.pump(0.005)
            self.owners.update((number, key[1]) for key in runner.engine.lanes)

    def until(self, reached):
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, {n: sorted(r.engine.lanes) for n, r in self.replicas.items()}
            self.turn()

    def spread(self):
        """Tell whether every lane is somewhere and nobody is without."""
        held = [len(r.engine.lanes) for r in self.replicas.values()]
        return sum(held) == PARTITIONS and all(held)

    def given(self):
        """Return how many partitions the group has given to those who are there."""
        return sum(len(r.membership.owned) for r in self.replicas.values())

    def finish(self):
        """Say every tick, work until all are closed, and leave."""
        while self.tick():
            self.turn()
        last = self._calm.runners[1].engine.lanes[SHOP.name, 0].progress.tick
        self.until(lambda: self.spread() and self.open_ticks() == {last})
        for number in list(self.replicas):
            self.leave(number)

    def open_ticks(self):
        return {lane.progress.tick for r in self.replicas.values() for lane in r.engine.lanes.values()}


def done(futures):
    for future in futures.values():
        future.result(120)


def told(records):
    """Return bodies by partition, in order."""
    return {p: [(r.key, r.value[5:]) for r in records if r.partition == p] for p in range(PARTITIONS)}


def in_time(runner, transaction):
    """Send everything, offsets too: the commit is good whenever it comes."""
    runner.transactions.send(transaction)
    runner.transactions.offsets(runner._fenced(transaction))


def too_early(runner, transaction):
    """Send what others read, and stop before state and offsets."""
    told = [block for block in transaction.produced if "changelog" not in block.topic]
    runner.transactions.send(replace(transaction, coming=[Made(told)]))


def disturbed(broker, calm, runner_class=SharingRunner):
    """Play with replicas that join, leave, and go on after their session has run out."""
    play = Play(broker, calm, runner_class)
    play.join(0)
    play.until(play.spread)
    for number in (1, 2, 3):
        play.join(number)
    play.until(play.spread)
    play.leave(3)
    play.until(play.spread)
    early, _ = play.freeze(1, in_time)
    late, refused = play.freeze(2, too_early)
    play.until(lambda: play.given() == PARTITIONS)
    early.transactions.commit()
    play.until(play.spread)
    with pytest.raises(KafkaException, match="UNKNOWN_MEMBER_ID"):
        late.transactions.offsets(late._fenced(refused))
    late.transactions.abort()
    play.join(4)
    play.finish()
    assert {number for number, _ in play.owners} == {0, 1, 2, 3, 4}
    for runner in (early, late):
        runner.transactions.close()


def test_replicas_that_come_go_and_are_lost_leave_no_trace(broker, calm, monkeypatch):
    # Longer than a busy machine may take.
    monkeypatch.setitem(kafka.TRANSACTIONAL, "transaction.timeout.ms", 60_000)
    disturbed(broker, calm)
    name = FEATURES.name(SHOP.name)
    found = [r for p in range(PARTITIONS) for r in read_all(broker.bootstrap, name, p)]
    assert told(found) == told(calm.log.read(name))
    ledger = LEDGER.name(SHOP.name)
    closed = [r.value for r in read_all(broker.bootstrap, ledger, 0)]
    assert sorted(closed) == sorted(r.value for r in calm.log.read(ledger))


def test_a_service_of_one_lane_has_no_second_replica(broker, calm):
    with pytest.raises(ConfigurationError, match="training cannot have several replicas"):
        SharingRunner(broker.bootstrap, Engine(TRAINING, calm.registry, calm.artifacts))
