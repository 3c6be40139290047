"""Blocks sent through the client's C library arrive as those sent record by record."""

import pyarrow as pa
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus import native
from headrace.bus.blocks import Block
from headrace.bus.kafka import producer, read_all, send, send_block

pytestmark = pytest.mark.broker
COUNT = 5_000


def column(text):
    return pa.array([b"before", *(text % n for n in range(COUNT))], pa.binary())[1:]


def blocks(topic):
    ids = column(b"%d")
    headers = (("id", ids), ("source", b"one for all"), ("empty", b""))
    yield Block(topic, 0, ids, column(b"value %d"), headers)
    yield Block(topic, 0, ids, column(b"plain %d"))
    yield Block(topic, 1, column(b"gone %d"))


def told(broker, topic):
    found = [r for p in (0, 1) for r in read_all(broker.bootstrap, topic, p)]
    return [(r.partition, r.key, r.value, list(r.headers)) for r in found]


@pytest.fixture
def topics(broker):
    names = ("native-blocks", "native-records")
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    for made in client.create_topics([NewTopic(name, 2, 1) for name in names]).values():
        made.result(120)
    return names


def test_blocks_arrive_as_their_records_also_through_a_full_queue(broker, topics):
    assert native.library() is not None, "the client is another than the proven one"
    fast, slow = topics
    with_little_room = producer(broker.bootstrap, **{"queue.buffering.max.messages": 100})
    for block in blocks(fast):
        send_block(with_little_room, block)
    plain = producer(broker.bootstrap)
    for block in blocks(slow):
        send(plain, block)
    assert with_little_room.flush(60) == plain.flush(60) == 0
    assert told(broker, fast) == told(broker, slow)
    assert len(told(broker, fast)) == 3 * COUNT


@pytest.mark.parametrize("place", range(3))
def test_a_refused_record_is_an_error(broker, place):
    transactional = producer(broker.bootstrap, "native-refused")  # no transaction has begun
    with pytest.raises(KafkaException):
        send_block(transactional, list(blocks("native-refused"))[place])
