"""The re-key stage on the real broker: aborted, taken over, and still exact over the order that it recorded."""

from collections import Counter
from contextlib import closing
from typing import ClassVar

import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient
from conformance import answers, orders
from rigs import READ_UNCOMMITTED, KafkaRig, Once

from headrace.audit.recording import books, last_ticks, with_data
from headrace.audit.replay import replay
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import producer
from headrace.bus.observer import Said
from headrace.bus.partitions import partitions_of
from headrace.bus.provision import announce, create_topics
from headrace.bus.reading import KafkaLog
from headrace.contracts.topics import (
    CONTROL_TOPICS,
    EVENTS,
    FEATURES,
    LEDGER,
    PREDICTIONS,
    REKEYED,
    TICKS,
    VALIDATED,
)
from headrace.errors import ConfigurationError
from tests.laws.moving import MOVED, PARTITIONS, STAGES, counted, folded
from tests.laws.shop import HOUR

pytestmark = pytest.mark.broker


class MovedRig(KafkaRig):
    """The shop with six partitions, keyed by order and counted by shop."""

    services = STAGES
    changes: ClassVar = {"partitions": PARTITIONS, "records": MOVED.records, "rekey": MOVED.rekey}

    def __init__(self, name, broker):
        self._settings = broker
        super().__init__(name, broker)

    def create(self):
        """Create the topics as a platform does."""
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.forget([t.name() for t in CONTROL_TOPICS])
        create_topics(self._settings, [self.definition], self.services)

    def _raw(self, topic, record, row):
        key = row["order_id"].encode()
        (partition,) = partitions_of(pa.array([key]), PARTITIONS).tolist()
        return super()._raw(topic, record, row)._replace(key=key, partition=partition)

    def tick(self, n, end=None):  # noqa: ARG002 -- all partitions have one
        """Tick where all partitions end now."""
        name = EVENTS.name(self.definition.name)
        found = self._ends({(name, p) for p in range(PARTITIONS)}, READ_UNCOMMITTED)
        raw = {str(p): at for (_, p), at in found.items()}
        fields = {"pipeline": self.definition.name, "n": n, "time": n * HOUR, "reason": "step", "step": n}
        self.say(Said(TICKS, "Tick", fields | {"raw": raw, "controls": {}}))

    def records(self, topic):
        """Return (record type, fields) of a topic, partition by partition."""
        name = topic.name(self.definition.name)
        held = [r for p in range(1 if topic is LEDGER else PARTITIONS) for r in self.held(name, p)]
        return [(record, fields) for _, record, fields in decode_plain(held, self.registry)]


def check(rig):
    moved, ledger = rig.records(REKEYED), [e for _, e in rig.records(LEDGER)]
    assert counted(rig.records(FEATURES)) == folded(moved)
    accepted = rig.records(VALIDATED)
    assert Counter(r["event_id"] for _, r in moved) == Counter(r["event_id"] for _, r in accepted)
    asked = Counter(r["event_id"] for name, r in moved if name == "Order")
    assert Counter(r["event_id"] for _, r in rig.records(PREDICTIONS)) == asked
    name = REKEYED.name(rig.definition.name)
    told = Counter()
    for entry in ledger:
        if entry["service"] == "rekey":
            told.update({p: entry["records_out"].get(f"{name}/{p}", 0) for p in range(PARTITIONS)})
    assert told == Counter({p: len(rig.held(name, p)) for p in range(PARTITIONS)})


def run(rig, steps, *, number, max_batch=1_000, abort=Once):
    """Play steps, every stage in a new replica each time, whose first transaction is aborted."""
    for n in range(steps):
        runners = [rig.runner(s, abort=abort(), max_batch=max_batch) for s in STAGES]
        rig.append(rig.events([*orders(n * number, number, n), *answers(n * number, number // 2, n)]))
        rig.tick(n + 1)
        rig.settle(runners)
    check(rig)


def again(rig, services=STAGES):
    """Replay from the broker's log as ``headrace replay`` does."""
    scoring = [s for s in services if s.name != "monitoring"]
    with KafkaLog(rig.bootstrap) as log:
        held = books(log, rig.definition.name)
        first, last = last_ticks(held, rig.registry, 1_000)
        held = with_data(held, log, rig.registry, first, last)
    return replay(held, scoring, rig.registry, rig.artifacts, from_tick=first, to_tick=last)


def test_features_follow_the_recorded_order_and_a_replay_too(broker):
    with closing(KafkaRig("unmoved", broker)), closing(MovedRig("moved", broker)) as rig:
        run(rig, 1, number=40, max_batch=7)
        verdicts = again(rig)
        assert (verdicts.checked, verdicts.match) == (40, 40)


@pytest.mark.slow
def test_many_replicas_and_aborts_leave_no_trace(broker):
    with closing(MovedRig("moved-often", broker)) as rig:
        run(rig, 12, number=400, max_batch=50)
        verdicts = again(rig)
        assert (verdicts.checked, verdicts.match) == (4_800, 4_800)


def test_a_re_key_cannot_be_changed_once_its_pipeline_runs(broker):
    with closing(MovedRig("fixed", broker)) as rig:
        other = rig.definition.model_copy(update={"rekey": {"Order": "order_id", "Return": "order_id"}})
        with pytest.raises(ConfigurationError, match=r"fixed runs with rekey .* and its file says"):
            announce(broker, rig.registry, {"fixed": other}, STAGES)


def test_a_client_s_partitioner_puts_keys_where_the_stage_does(broker):
    with closing(MovedRig("keyed", broker)) as rig:
        client, told = producer(rig.bootstrap), {}
        name = EVENTS.name("keyed")
        for key in (f"shop-{n}".encode() * (n % 5 + 1) for n in range(60)):
            client.produce(name, b"", key, on_delivery=lambda _, m: told.update({m.key(): m.partition()}))
        assert client.flush(60) == 0
        assert told == dict(zip(told, partitions_of(pa.array(list(told)), PARTITIONS).tolist(), strict=True))
