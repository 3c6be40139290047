"""The publisher against a real broker; the clock is a thread that says every step is at rest."""

import threading
from contextlib import closing
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus.encode import Encoder
from headrace.bus.kafka import consumer, producer, read_all, send
from headrace.bus.schemas import MemoryRegistry, codec
from headrace.contracts.frame import unframe
from headrace.contracts.topics import EVENTS, STEPS
from headrace.errors import CheckError
from headrace.sources import flights, pipelines, source
from headrace.sources.publisher import publish
from headrace.sources.sender import Sender, Target
from headrace.sources.wire import Wire

pytestmark = pytest.mark.broker
FLIGHTS = pipelines.find("flights", Path("pipelines"))
DAYS = 4


@pytest.fixture(scope="module")
def tables():
    return flights.tables()


@pytest.fixture
def stage(broker, request):
    """Yield a definition with topics of its own, and the target."""
    definition = FLIGHTS.model_copy(
        update={"name": f"flights-{request.node.name.replace('_', '-')}"[:60].rstrip("-")}
    )
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topics = [NewTopic(t.name(definition.name), n, 1) for t, n in ((EVENTS, 2), (STEPS, 1))]
    for done in admin.create_topics(topics).values():
        done.result(120)
    target = Target(broker.bootstrap, MemoryRegistry(), patience=240)
    with closing(Clock(definition, target)):
        yield definition, target


class Clock(threading.Thread):
    """Answers every StepRequested with a StepRested and keeps what was asked."""

    def __init__(self, definition, target):
        super().__init__(daemon=True)
        self.definition, self.target, self.over = definition, target, threading.Event()
        self.start()

    def run(self):
        writer = Encoder(self.target.registry).writer(STEPS, "StepRested", self.definition)
        asked = consumer(self.target.bootstrap, "test-clock")
        out = producer(self.target.bootstrap)
        asked.assign([TopicPartition(STEPS.name(self.definition.name), 0, 0)])
        while not self.over.is_set():
            message = asked.poll(0.2)
            if message is None or message.error():
                continue
            name, row = decoded(self.target.registry, message.value())
            if name == "StepRequested":
                answer = {
                    "pipeline": row["pipeline"],
                    "step": row["step"],
                    "time": row["time"],
                    "tick": row["step"],
                }
                columns = pa.RecordBatch.from_pylist([answer], schema=writer.types)
                send(out, writer.outgoing(columns, 0, row["step"]))
                out.flush()
        asked.close()

    def close(self):
        self.over.set()
        self.join()


def decoded(registry, value):
    schema_id, body = unframe(value)
    schema = registry.schema(schema_id)
    return schema["name"], codec(schema).decode([body]).columns.to_pylist(maps_as_pydicts="strict")[0]


def requests(definition, target):
    found = [
        decoded(target.registry, m.value) for m in read_all(target.bootstrap, STEPS.name(definition.name), 0)
    ]
    return [row for name, row in found if name == "StepRequested"]


def raw(definition, target):
    """Return (partition, offset, id) of every raw record, partition by partition."""
    name = EVENTS.name(definition.name)
    found = [m for p in (0, 1) for m in read_all(target.bootstrap, name, p)]
    return [(m.partition, m.offset, dict(m.headers)["ce_id"].decode()) for m in found]


def until(definition, tables, days=DAYS):
    return list(islice(source.steps(definition, tables), days))[-1].time


def go(stage, tables, days=DAYS):
    definition, target = stage
    told = []
    publish(
        definition, tables, target, source="test", until=until(definition, tables, days), tell=told.append
    )
    return told


def test_every_record_is_published_once_and_each_step_says_where_it_ends(stage, tables):
    told = go(stage, tables)
    steps = list(islice(source.steps(stage[0], tables), DAYS))
    found = raw(*stage)
    assert len(found) == len({i for *_, i in found}) == sum(map(len, steps)) == told[-1].events
    asked = requests(*stage)
    assert [r["step"] for r in asked] == list(range(DAYS + 1))
    assert [r["final"] for r in asked] == [False] * DAYS + [True]
    assert sum(asked[-1]["raw"].values()) == len(found)
    assert told[-1].time == steps[-1].time + FLIGHTS.lookback
    first = {i for p, offset, i in found if offset < asked[0]["raw"][str(p)]}
    assert first == {i for b in steps[0].batches.values() for i in b["event_id"].to_pylist()}


def test_one_key_keeps_its_order(stage, tables):
    go(stage, tables, days=2)
    definition, target = stage
    order = {
        i: n
        for n, i in enumerate(i for s in islice(source.steps(definition, tables), 2) for i in in_order(s))
    }
    for partition in (0, 1):
        places = [order[i] for p, _, i in raw(definition, target) if p == partition]
        assert places == sorted(places)


def in_order(step):
    ids = {name: batch["event_id"].to_pylist() for name, batch in step.batches.items()}
    return [ids[step.names[t]][r] for t, r in zip(step.types, step.rows, strict=True)]


def test_a_record_says_what_it_is(stage, tables):
    go(stage, tables, days=1)
    definition, target = stage
    message = read_all(target.bootstrap, EVENTS.name(definition.name), 0)[0]
    name, row = decoded(target.registry, message.value)
    headers = dict(message.headers)
    assert headers["ce_id"].decode() == row["event_id"]
    assert headers["ce_type"].decode() == f"flights.{name}"
    assert message.key.decode() == f"{row['carrier']}:{row['flight']}"
    assert headers["ce_time"].startswith(b"2013-01-01T")
    assert headers["traceparent"].count(b"-") == 3


def test_a_killed_publisher_goes_on_where_it_was(stage, tables):
    definition, target = stage
    done = until(definition, tables, 2)
    half = next(s for s in source.steps(definition, tables) if s.time > done)
    with pytest.raises(KeyboardInterrupt):
        publish(definition, tables, target, source="test", tell=stop_at(1))
    Sender(EVENTS.name(definition.name), target).send(
        Wire(definition, target.registry, "test").records(half)[:700]
    )
    go(stage, tables)
    found = [i for *_, i in raw(definition, target)]
    expected = [i for s in islice(source.steps(definition, tables), DAYS) for i in in_order(s)]
    assert sorted(found) == sorted(expected)
    assert [r["step"] for r in requests(definition, target)] == list(range(DAYS + 1))


def stop_at(step):
    def tell(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return tell


def test_a_stream_that_has_ended_takes_no_older_events(stage, tables):
    go(stage, tables, days=1)
    before = raw(*stage)
    with pytest.raises(CheckError, match="has ended"):
        go(stage, tables, days=2)
    assert raw(*stage) == before
