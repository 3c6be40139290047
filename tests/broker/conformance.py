"""What both logs must do alike, as checks over a rig: topics, a producer, readers and runners of one kind of log."""

import time
from abc import ABC, abstractmethod
from itertools import count
from typing import ClassVar

import pyarrow as pa
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from headrace.bus.encode import Encoder
from headrace.bus.engine import Engine, decode_plain
from headrace.bus.kafka import KafkaRunner, consumer, producer, read_all, send
from headrace.bus.memory import MemoryLog, MemoryRunner, settle
from headrace.bus.observer import Said, encoded
from headrace.bus.provision import stage_names
from headrace.bus.records import Outgoing
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import MemoryRegistry, codec, record_schema
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.frame import frame
from headrace.contracts.topics import (
    CONTROL_TOPICS,
    EVENTS,
    FEATURES,
    LEDGER,
    OUTCOMES,
    PIPELINE_TOPICS,
    PIPELINES,
    PREDICTIONS,
    PROFILES,
    RECEIPTS,
    REJECTED,
    TICKS,
    VALIDATED,
    changelog,
)
from headrace.testing.loop import MemoryArtifacts
from services.features.service import SERVICE as FEATURE_SERVICE
from services.ingestion.service import SERVICE as INGESTION
from services.monitoring.service import SERVICE as MONITORING
from services.serving.service import SERVICE as SERVING
from tests.laws.shop import HOUR, SHOP, timed

DATA_PLANE = (INGESTION, FEATURE_SERVICE, SERVING, MONITORING)
PUBLIC = (VALIDATED, REJECTED, RECEIPTS, FEATURES, PREDICTIONS, PROFILES, OUTCOMES)
PATIENCE = 60.0


def never(_transaction):
    return False


class Once:
    """Aborts the first transaction that is asked about."""

    def __init__(self):
        self.left = 1

    def __call__(self, _transaction):
        self.left -= 1
        return self.left >= 0


class Rig(ABC):
    """One kind of log, with the shop pipeline under a name of its own registered on it."""

    services = DATA_PLANE
    changes: ClassVar = {}

    def __init__(self, name, registry):
        self.definition, self.registry = SHOP.model_copy(update={"name": name, **self.changes}), registry
        self.artifacts = MemoryArtifacts()
        self.encoder = Encoder(registry)
        self.create()
        told = {"pipeline": name, "tick": -1, "digest": self.definition.digest}
        registered = told | {
            "definition": self.definition.canonical(),
            "stages": stage_names(self.services, 1),
        }
        self.say(Said(PIPELINES, "PipelineRegistered", registered))

    @abstractmethod
    def create(self):
        """Create the pipeline's topics."""

    @abstractmethod
    def append(self, records, *, commit=True):
        """Append as a producer does, or as one whose transaction aborts."""

    @abstractmethod
    def held(self, topic, partition):
        """Return the records that a reader sees."""

    @abstractmethod
    def end(self, topic):
        """Return the end offset of partition 0, as a clock asks for it."""

    @abstractmethod
    def committed(self, service, topic):
        """Return where a service goes on in partition 0 of its input."""

    @abstractmethod
    def runner(self, service, *, abort=never, max_batch=1_000):
        """Return a runner of a new replica; transactions that ``abort`` chooses do not commit."""

    @abstractmethod
    def settle(self, runners):
        """Run until nothing moves."""

    def engine(self, service, max_batch):
        return Engine(service, self.registry, self.artifacts, max_batch=max_batch)

    def say(self, said):
        self.append(encoded(self.encoder, said, self.definition))

    def events(self, rows):
        """Return (record, row) pairs as raw records; one named ``!`` is the bytes it holds."""
        return [self._raw(EVENTS.name(self.definition.name), name, row) for name, row in rows]

    def _raw(self, topic, record, row):
        if record == "!":
            return Outgoing(topic, 0, b"?", row["bytes"])
        schema = record_schema(EVENTS, record, self.definition)
        columns = pa.RecordBatch.from_pylist([row], schema=arrow_schema(schema))
        framed = frame(self.registry.register(topic, schema), codec(schema).encode(columns))
        return Outgoing(topic, 0, row["shop"].encode(), framed[0])

    def tick(self, n, end):
        fields = {"pipeline": self.definition.name, "n": n, "time": n * HOUR, "reason": "step", "step": n}
        self.say(Said(TICKS, "Tick", fields | {"raw": {"0": end}, "controls": {}}))

    def read(self, topic):
        return self.held(topic.name(self.definition.name), 0)

    def rows(self, topic):
        return [fields for _, _, fields in decode_plain(self.read(topic), self.registry)]

    def story(self):
        """Return all that was said; the ledger sorted, since its order is a race of services."""
        told = {t.stream: [(r.key, r.value, list(r.headers)) for r in self.read(t)] for t in PUBLIC}
        return told, sorted(r.value for r in self.read(LEDGER))


class MemoryRig(Rig):
    """A log in memory."""

    def __init__(self, name, registry=None):
        self.log = MemoryLog()
        super().__init__(name, registry or MemoryRegistry())

    def create(self):
        """Do nothing: a topic in memory is there when it is written to."""

    def append(self, records, *, commit=True):
        self.log.append(records if commit else ())

    def held(self, topic, partition):
        return list(self.log.partitions[topic, partition])

    def end(self, topic):
        return len(self.log.partitions[topic.name(self.definition.name), 0])

    def committed(self, service, topic):
        return self.log.committed.get((service.name, topic.name(self.definition.name), 0), 0)

    def runner(self, service, *, abort=never, max_batch=1_000):
        return MemoryRunner(self.log, self.engine(service, max_batch), abort=abort)

    def settle(self, runners):
        settle(runners)


class KafkaRig(Rig):
    """The real broker."""

    def __init__(self, name, broker):
        self.bootstrap = broker.bootstrap
        self._client = consumer(self.bootstrap, "conformance")
        self._runners = []
        super().__init__(name, ConfluentRegistry(broker.registry_url))

    def close(self):
        for client in (self._client, *self._runners):
            client.close()

    def create(self):
        """Create the topics; the control topics anew, so that no engine opens the pipeline of another check."""
        names = [t.name(self.definition.name) for t in (*PIPELINE_TOPICS, *CONTROL_TOPICS)]
        names += [changelog(s.name, self.definition.name) for s in self.services]
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        old = sorted(set(names) & set(self._admin.list_topics(timeout=10).topics))
        _done(self._admin.delete_topics(old) if old else {})
        while set(old) & set(self._admin.list_topics(timeout=10).topics):
            time.sleep(0.05)
        _done(self._admin.create_topics([NewTopic(n, 1, 1) for n in names]))

    def append(self, records, *, commit=True):
        if commit:
            plain = producer(self.bootstrap)
            send(plain, records)
            assert plain.flush(30) == 0
            return
        failing = producer(self.bootstrap, "conformance-producer")
        failing.init_transactions(30)
        failing.begin_transaction()
        send(failing, records)
        failing.flush(30)
        failing.abort_transaction(30)

    def held(self, topic, partition):
        return read_all(self.bootstrap, topic, partition)

    def end(self, topic):
        place = TopicPartition(topic.name(self.definition.name), 0)
        return self._client.get_watermark_offsets(place, 10)[1]

    def committed(self, service, topic):
        client = consumer(self.bootstrap, f"headrace.{service.name}")
        (found,) = client.committed([TopicPartition(topic.name(self.definition.name), 0)], 10)
        client.close()
        return max(found.offset, 0)

    def runner(self, service, *, abort=never, max_batch=1_000):
        return self.started(AbortingRunner(self.bootstrap, self.engine(service, max_batch)), abort)

    def started(self, runner, abort):
        runner.abort = abort
        runner.start()
        self._runners.append(runner)
        return runner

    def settle(self, runners):
        deadline = time.monotonic() + PATIENCE
        moving = True
        while moving:
            assert time.monotonic() < deadline, "the runners never come to rest"
            moved = [runner.pump(0.02) for runner in runners]
            moving = any(moved) or not self._caught_up(runners)

    def _caught_up(self, runners):
        """Tell whether every runner has read to the end of all it reads, by one question to the broker."""
        places = {(t.topic, t.partition) for runner in runners for t in runner.reads()}
        asked = self._admin.list_offsets({TopicPartition(*place): OffsetSpec.latest() for place in places})
        ends = {(t.topic, t.partition): found.result(30).offset for t, found in asked.items()}
        return all(
            r.ends.get((t.topic, t.partition), -1) >= ends[t.topic, t.partition]
            for r in runners
            for t in r.reads()
        )


def _done(futures):
    for future in futures.values():
        future.result(30)


class AbortingRunner(KafkaRunner):
    """Aborts chosen transactions after their records lie on the broker, and knows how far it has read."""

    abort = staticmethod(never)

    def __init__(self, *args):
        super().__init__(*args)
        self.ends = {}

    def reads(self):
        return self._consumer.assignment()

    def _taken(self, found):
        found = list(found)
        self.ends |= {(m.topic(), m.partition()): m.offset() for m in found if m.error()}
        return super()._taken(found)

    def _carry_out(self, transaction):
        if not self.abort(transaction):
            super()._carry_out(transaction)
            return
        self._producer.begin_transaction()
        send(self._producer, transaction.produced)
        self._producer.flush(30)
        self._producer.abort_transaction(15)
        self.engine.rollback()


# -- the events of the checks ------------------------------------------------------------------------------


def orders(first, number, step=0):
    rows = [
        {"order_id": f"o{n}", "shop": "abc"[n % 3], "amount": float(n), "at": n}
        for n in range(first, first + number)
    ]
    return timed(step, [("Order", row) for row in rows])


def answers(first, number, step=0):
    rows = [
        {"return_id": f"r{n}", "order_id": f"o{n}", "shop": "abc"[n % 3], "kept": n % 2.0, "at": n + 30}
        for n in range(first, first + number)
    ]
    return timed(step, [("Return", row) for row in rows])


BROKEN = [("!", {"bytes": b"no record"})]
STEPS = [
    [*orders(0, 20), *BROKEN, *answers(0, 12)],
    [*orders(15, 10, 1), *answers(10, 8, 1)],  # five ids again
    [],
    [*orders(30, 3, 3), *answers(12, 20, 3)],
]


# -- the checks --------------------------------------------------------------------------------------------


def check_records_come_back_as_they_were_appended(rig):
    topic = rig.definition.name + ".steps.v1"
    sent = [Outgoing(topic, 0, f"k{n}".encode(), b"\0" * n, [("h", bytes([n]))]) for n in range(60)]
    sent += [Outgoing(topic, 0, b"gone", None, []), Outgoing(topic, 0, None, b"keyless", [])]
    rig.append(sent[:25])
    rig.append(sent[25:])
    found = rig.held(topic, 0)
    assert [(r.key, r.value, list(r.headers)) for r in found] == [
        (s.key, s.value, list(s.headers)) for s in sent
    ]
    assert [r.offset for r in found] == list(range(len(sent)))


def check_a_reader_sees_committed_records_only(rig):
    rig.append(rig.events(orders(0, 3)))
    rig.append(rig.events(orders(3, 2)), commit=False)
    rig.append(rig.events(orders(5, 1)))
    assert [r.value for r in rig.read(EVENTS)] == [r.value for r in rig.events(orders(0, 3) + orders(5, 1))]


def check_an_aborted_transaction_leaves_nothing_and_is_done_again_once(rig):
    rig.append(rig.events(STEPS[0]))
    seen = []

    def abort(transaction):
        seen.append((len(transaction.produced), rig.read(VALIDATED), rig.committed(INGESTION, EVENTS)))
        return len(seen) == 1

    rig.settle([rig.runner(INGESTION, abort=abort)])
    first, second = seen[:2]
    assert first[0] > 0
    assert second[1:] == ([], 0)  # what the aborted transaction left for the next to see
    _once(rig, len(STEPS[0]))


def _once(rig, raw):
    """Every raw record has one end, and the input is committed behind the last."""
    ends = [r["origin"]["offset"] for topic in (VALIDATED, REJECTED) for r in rig.rows(topic)]
    assert sorted(ends) == list(range(raw))
    assert rig.committed(INGESTION, EVENTS) == raw


def check_offsets_and_outputs_become_visible_together(rig):
    runner = rig.runner(INGESTION)
    for n in range(4):
        rig.append(rig.events(orders(n * 5, 5)))
        rig.settle([runner])
        _once(rig, (n + 1) * 5)


def check_a_new_replica_goes_on_where_the_last_one_was(rig):
    reference = MemoryRig(rig.definition.name, rig.registry)  # dead letters hold schema ids
    _run(reference, [reference.runner(s) for s in DATA_PLANE], STEPS)
    for n, step in enumerate(STEPS):
        _run(rig, [rig.runner(s, max_batch=7) for s in DATA_PLANE], [step], first=n)
    assert rig.story() == reference.story()


def check_state_comes_back_from_the_changelog(rig):
    rig.append(rig.events(orders(0, 5)))
    rig.settle([rig.runner(INGESTION)])
    rig.append(rig.events(orders(3, 4)))  # o3 and o4 again: known only to the state
    rig.tick(1, 9)
    rig.settle([rig.runner(INGESTION)])
    assert [r["event_id"] for r in rig.rows(VALIDATED)] == [f"o{n}" for n in range(7)]
    (entry,) = rig.rows(LEDGER)
    assert (entry["records_in"], entry["absorbed"]) == (9, 2)


def check_a_tick_closes_at_its_end_even_where_no_record_lies(rig):
    runner = rig.runner(INGESTION)
    rig.append(rig.events(orders(0, 3)))
    rig.append(
        rig.events(orders(3, 2)), commit=False
    )  # on a broker the end is now behind nothing but markers
    end = rig.end(EVENTS)
    rig.tick(1, end)
    rig.settle([runner])
    (entry,) = rig.rows(LEDGER)
    assert (entry["records_in"], entry["raw_from"], entry["raw_to"]) == (3, 0, end)


def check_a_tick_stays_open_until_its_end_is_read(rig):
    runner = rig.runner(INGESTION)
    rig.append(rig.events(orders(0, 3)))
    rig.tick(1, 4)
    rig.settle([runner])
    assert rig.read(LEDGER) == []
    rig.append(rig.events(orders(3, 2)))
    rig.settle([runner])
    (entry,) = rig.rows(LEDGER)
    assert (entry["records_in"], entry["raw_to"]) == (4, 4)


def check_the_same_input_gives_the_same_bytes(rig):
    reference = MemoryRig(rig.definition.name, rig.registry)  # dead letters hold schema ids
    _run(reference, [reference.runner(s) for s in DATA_PLANE], STEPS)
    _run(rig, [rig.runner(s, abort=Once(), max_batch=11) for s in DATA_PLANE], STEPS)
    told, ledger = rig.story()
    assert all(told[t.stream] for t in PUBLIC)
    assert len(ledger) == len(STEPS) * len(DATA_PLANE)
    assert (told, ledger) == reference.story()


def _run(rig, runners, steps, first=0):
    for n, step in enumerate(steps, first):
        rig.append(rig.events(step))
        rig.tick(n + 1, rig.end(EVENTS))
        rig.settle(runners)


CHECKS = [check for name, check in list(globals().items()) if name.startswith("check_")]
NUMBERS = count()


def fresh_name():
    return f"shop-{next(NUMBERS)}"
