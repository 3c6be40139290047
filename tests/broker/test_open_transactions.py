"""A transaction that is over for its coordinator and open in a partition gets the end that was decided, and no other.

Such a one is made as brokers once let it happen: a record of the producer that reaches a partition behind the end of its
transaction. To the partition and to the coordinator it looks the same as an end that was left out.
"""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from aiokafka import TopicPartition as Spot
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from headrace.bus.decisions import steps
from headrace.bus.kafka import always, fence, producer, read_all
from headrace.bus.markers import writers
from headrace.bus.torn import _VERIFIES, State, look
from headrace.local.answers import within
from headrace.local.checkup import transactions
from headrace.local.platform import Platform
from headrace.testing.broker import running_kafka

pytestmark = pytest.mark.broker
kafka = pytest.fixture(scope="module")(running_kafka)


@pytest.fixture
def topic(kafka, request):
    """Lend a topic of two partitions with a name of its own; what is open on it goes with it."""
    name = request.node.name.replace("[", ".").rstrip("]")
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    client.create_topics([NewTopic(name, 2, 1)])[name].result(60)
    yield name
    client.delete_topics([name])[name].result(60)


def verify(kafka, *, on):
    """Tell the broker whether it asks the coordinator about the records it gets."""
    entry = ConfigEntry(_VERIFIES, str(on).lower(), incremental_operation=AlterConfigOpType.SET)
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    client.incremental_alter_configs([resource])[resource].result(60)
    asked = ConfigResource(ResourceType.BROKER, "1")
    assert within(
        30, lambda: client.describe_configs([asked])[asked].result(60)[_VERIFIES].value == str(on).lower()
    )


@contextmanager
def begun(kafka, owner, topic, partitions):
    """Open a transaction that writes to partitions; lend its producer."""
    writer = producer(kafka.bootstrap, owner)
    fence(writer, 60, always)
    writer.begin_transaction()
    for partition in partitions:
        writer.produce(topic, b"in time", partition=partition)
    writer.flush(30)
    yield writer
    writer.purge()


def behind(kafka, owner, place):
    """Write a record under the epoch of a producer whose transaction is over; return what the partition knows."""
    assert within(30, lambda: states(kafka, place[0]) == {})  # its ends come after the answer to a commit
    (known,) = writers(kafka.bootstrap, [(place[0], 0)])
    mine = [w for w in writers(kafka.bootstrap, [place]) if w.producer == known.producer]
    batch = DefaultRecordBatchBuilder(
        2, 0, 1, known.producer, known.epoch, mine[0].sequence + 1 if mine else 0, 1 << 14
    )
    batch.append(0, None, None, b"behind", [])
    asked = ProduceRequest(owner, -1, 10_000, [(place[0], [(place[1], bytes(batch.build()))])])

    async def send():
        client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap)
        await client.bootstrap()
        await client.set_topics([place[0]])
        answer = await client.send(client.cluster.leader_for_partition(Spot(*place)), asked)
        await client.close()
        return answer.topics[0][1][0][1]

    verify(kafka, on=False)
    try:
        assert within(30, lambda: asyncio.run(send()) == 0)  # what was switched takes effect a little later
    finally:
        verify(kafka, on=True)


def torn(kafka, owner, topic, *, commit, named=(0, 1)):
    with begun(kafka, owner, topic, named) as writer:
        writer.commit_transaction(30) if commit else writer.abort_transaction(30)
    behind(kafka, owner, (topic, 1))


def tell(kafka, *words):
    """Run the command as an operator does; return its exit code and what it printed."""
    command = [sys.executable, "-m", "headrace.cli", "transactions", *words]
    env = kafka.environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def states(kafka, topic):
    return {f.writer.place[1]: f.state for f in look(kafka.bootstrap) if f.writer.place[0] == topic}


def seen(kafka, topic):
    return [r.value for r in read_all(kafka.bootstrap, topic, 1)]


@pytest.mark.parametrize("commit", [True, False])
def test_a_torn_transaction_gets_the_end_that_was_decided(kafka, topic, commit):
    torn(kafka, "headrace.torn.0", topic, commit=commit)
    code, told = tell(kafka, "list", "--json")
    (found,) = json.loads(told)["transactions"]
    assert (code, found["state"], found["partition"]) == (0, "torn", 1)
    assert (found["owner"], found["decided"]) == ("headrace.torn.0", "commit" if commit else "abort")
    assert transactions(Platform(kafka)).ok is False

    assert "1 would be finished; --yes does it" in tell(kafka, "finish")[1]
    assert states(kafka, topic) == {1: State.TORN}
    code, told = tell(kafka, "finish", "--yes")
    assert (code, "1 were finished" in told) == (0, True)

    assert states(kafka, topic) == {}
    assert seen(kafka, topic) == ([b"in time", b"behind"] if commit else [])
    assert transactions(Platform(kafka)).ok is True


def test_its_owner_goes_on_behind_the_end(kafka, topic):
    torn(kafka, "headrace.goes-on.0", topic, commit=True)
    tell(kafka, "finish", "--yes")
    with begun(kafka, "headrace.goes-on.0", topic, [0, 1]) as writer:
        writer.commit_transaction(30)
    assert seen(kafka, topic) == [b"in time", b"behind", b"in time"]


def test_an_owner_that_could_still_write_is_fenced_before(kafka, topic):
    with begun(kafka, "headrace.alive.0", topic, [0, 1]) as writer:
        writer.commit_transaction(30)
        behind(kafka, "headrace.alive.0", (topic, 1))
        assert tell(kafka, "finish", "--yes")[0] == 0
        writer.begin_transaction()
        writer.produce(topic, b"too late", partition=1)
        with pytest.raises(Exception, match="_FENCED"):
            writer.commit_transaction(30)
    assert seen(kafka, topic) == [b"in time", b"behind"]


def test_a_transaction_that_is_under_way_is_left_alone(kafka, topic):
    with begun(kafka, "headrace.busy.0", topic, [0, 1]) as writer:
        assert states(kafka, topic) == {0: State.OPEN, 1: State.OPEN}
        assert tell(kafka, "finish", "--yes")[0] == 0
        assert states(kafka, topic) == {0: State.OPEN, 1: State.OPEN}
        writer.commit_transaction(30)
    assert seen(kafka, topic) == [b"in time"]


def test_one_that_ends_while_the_decisions_are_read_is_not_torn(kafka, topic, monkeypatch):
    with begun(kafka, "headrace.ending.0", topic, [0, 1]) as writer:

        def ending(*asked):
            writer.commit_transaction(30)
            assert within(30, lambda: seen(kafka, topic) == [b"in time"])
            return steps(*asked)

        monkeypatch.setattr("headrace.bus.torn.steps", ending)
        assert states(kafka, topic) == {}


def test_an_owner_that_has_begun_anew_on_the_same_partition_is_left_alone(kafka, topic):
    torn(kafka, "headrace.anew.0", topic, commit=True)
    with begun(kafka, "headrace.anew.0", topic, [1]) as writer:
        assert states(kafka, topic) == {1: State.OPEN}
        writer.commit_transaction(30)


def test_what_no_decision_names_is_refused(kafka, topic):
    torn(kafka, "headrace.unexplained.0", topic, commit=True, named=[0])
    code, told = tell(kafka, "finish", "--yes")
    assert (code, "have no end that is known" in told) == (5, True)
    assert states(kafka, topic) == {1: State.UNEXPLAINED}


def test_a_broker_that_does_not_verify_is_refused(kafka, topic):
    torn(kafka, "headrace.unverified.0", topic, commit=True)
    verify(kafka, on=False)
    try:
        code, told = tell(kafka, "finish", "--yes")
    finally:
        verify(kafka, on=True)
    assert (code, _VERIFIES in told) == (5, True)
    assert states(kafka, topic) == {1: State.TORN}


def test_those_of_others_are_not_ours(kafka, topic):
    torn(kafka, "somebody.else", topic, commit=True)
    assert states(kafka, topic) == {}
