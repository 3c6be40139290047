"""Rigs: topics, a producer, readers and runners of one kind of log, in memory or on the real broker."""

import time
from abc import ABC, abstractmethod
from itertools import count
from typing import ClassVar

import pyarrow as pa
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from headrace.bus.arrivals import Told
from headrace.bus.encode import Encoder
from headrace.bus.engine import Engine, decode_plain
from headrace.bus.fusion import FusedEngine
from headrace.bus.kafka import consumer, producer, read_all, send
from headrace.bus.memory import MemoryLog, MemoryRunner, settle
from headrace.bus.observer import Said, encoded
from headrace.bus.provision import stage_names
from headrace.bus.records import Outgoing
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.runner import KafkaRunner
from headrace.bus.schemas import MemoryRegistry, codec, record_schema
from headrace.bus.scribe import Scribe
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
from tests.laws.shop import HOUR, SHOP

DATA_PLANE = (INGESTION, FEATURE_SERVICE, SERVING, MONITORING)
PUBLIC = (VALIDATED, REJECTED, RECEIPTS, FEATURES, PREDICTIONS, PROFILES, OUTCOMES)
PATIENCE = 240.0
READ_COMMITTED, READ_UNCOMMITTED = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED


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
            "stages": stage_names(self.services, self.definition),
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
    def fused(self, chain, *, abort=never, max_batch=1_000):
        """Return a runner of a chain of services as one."""

    def fused_engine(self, chain, max_batch):
        scribe = Scribe(0)  # all that is written is encoded beside the handlers
        return FusedEngine([self.engine(s, max_batch, scribe) for s in chain])

    @abstractmethod
    def settle(self, runners):
        """Run until nothing moves."""

    def engine(self, service, max_batch, scribe=None):
        return Engine(service, self.registry, self.artifacts, max_batch=max_batch, scribe=scribe)

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

    def fused(self, chain, *, abort=never, max_batch=1_000):
        return MemoryRunner(self.log, self.fused_engine(chain, max_batch), abort=abort)

    def settle(self, runners):
        settle(runners)


class KafkaRig(Rig):
    """The real broker."""

    def __init__(self, name, broker):
        self.bootstrap = broker.bootstrap
        self._client = consumer(self.bootstrap, "conformance")
        self._plain, self._runners = None, []
        super().__init__(name, ConfluentRegistry(broker.registry_url))

    def close(self):
        for client in (self._client, *self._runners):
            client.close()

    def create(self):
        """Create the topics; the control topics anew, so that no engine opens the pipeline of another check."""
        controls = [t.name() for t in CONTROL_TOPICS]
        own = [t.name(self.definition.name) for t in PIPELINE_TOPICS]
        own += [changelog(s.name, self.definition.name) for s in self.services]
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.forget([*controls, *own])
        new = [NewTopic(n, 1, 1) for n in controls] + [
            NewTopic(n, self.definition.partitions, 1) for n in own
        ]
        _done(self._admin.create_topics(new))

    def forget(self, names):
        """Delete those of the topics that there are."""
        old = sorted(set(names) & set(self._admin.list_topics(timeout=10).topics))
        _done(self._admin.delete_topics(old) if old else {})
        while set(old) & set(self._admin.list_topics(timeout=10).topics):
            time.sleep(0.05)

    def append(self, records, *, commit=True):
        if commit:
            self._plain = self._plain or producer(self.bootstrap)  # which takes half a second to begin
            send(self._plain, records)
            assert self._plain.flush(120) == 0
            return
        failing = producer(self.bootstrap, "conformance-producer")
        failing.init_transactions(120)
        failing.begin_transaction()
        send(failing, records)
        failing.flush(120)
        failing.abort_transaction(120)
        self._markers_written({(r.topic, r.partition) for r in records})

    def _markers_written(self, places):
        """Wait for the markers of a transaction: the coordinator writes them after it has answered the producer."""
        while self._ends(places, READ_COMMITTED) != self._ends(places, READ_UNCOMMITTED):
            time.sleep(0.005)

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

    def fused(self, chain, *, abort=never, max_batch=1_000):
        return self.started(AbortingRunner(self.bootstrap, self.fused_engine(chain, max_batch)), abort)

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
        self._markers_written({(t.name(self.definition.name), 0) for t in PIPELINE_TOPICS})

    def _caught_up(self, runners):
        """Tell whether every runner has read to the end of all it reads, by one question to the broker."""
        # up to the last record: a commit is answered before its markers are written, so the stable end may lag
        ends = self._ends({(t.topic, t.partition) for r in runners for t in r.reads()}, READ_UNCOMMITTED)
        return all(
            r.ends.get((t.topic, t.partition), -1) >= ends[t.topic, t.partition]
            for r in runners
            for t in r.reads()
        )

    def _ends(self, places, isolation):
        latest = {TopicPartition(*place): OffsetSpec.latest() for place in places}
        asked = self._admin.list_offsets(latest, isolation_level=isolation)
        return {(t.topic, t.partition): found.result(120).offset for t, found in asked.items()}


def _done(futures):
    for future in futures.values():
        future.result(120)


class AbortingRunner(KafkaRunner):
    """Aborts chosen transactions after their records lie on the broker, and knows how far it has read."""

    abort = staticmethod(never)

    def __init__(self, *args):
        super().__init__(*args)
        self.ends = {}

    def reads(self):
        return self._consumer.assignment()

    def _records(self, found):
        self.ends |= {told.place: told.offset for told in found if isinstance(told, Told)}
        return super()._records(found)

    def _carry_out(self, transaction):
        if not self.abort(transaction):
            super()._carry_out(transaction)
            return
        self.transactions.begin()
        self.transactions.send(transaction)
        self.transactions.abort()
        self.engine.rollback()


NUMBERS = count()


def fresh_name():
    return f"shop-{next(NUMBERS)}"
