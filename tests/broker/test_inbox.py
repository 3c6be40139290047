"""What comes from the client's C library is what comes message by message: records, headers, ends, in the order of each partition."""

import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus import native
from headrace.bus.arrivals import Arrivals, Told, by_place
from headrace.bus.inbox import Inbox, read_columns
from headrace.bus.kafka import consumer, producer, send
from headrace.bus.records import Outgoing

pytestmark = pytest.mark.broker
COUNT, PARTITIONS = 3_000, 3


def record(topic, n):
    headers = ((f"h{n}", b"x%d" % n), ("", b""), ("again", b"1"), ("again", b"2")) if n % 5 == 0 else ()
    key, value = (None if n % 7 == 0 else b"key %d" % n), (None if n % 11 == 0 else b"value %d" % n)
    return Outgoing(topic, n % PARTITIONS, key, value, headers)


@pytest.fixture
def topic(broker):
    name = f"inbox-{len(made)}.events.v1"
    made.append(name)
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    client.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(120)
    return name


made: list[str] = []


class Reader:
    """A consumer with its inbox, and what it was told."""

    def __init__(self, broker, topic, *, plain, start=0):
        self.client = consumer(broker.bootstrap, f"inbox-{plain}")
        self.inbox = Inbox(self.client, plain=plain)
        self.assign([TopicPartition(topic, p, start) for p in range(PARTITIONS)])
        self.parts, self.ends, self.plain_ones = [], {}, 0

    def assign(self, spots):
        self.client.incremental_assign(spots)
        self.inbox.assigned(spots)

    def until(self, done):
        for _ in range(300):
            if done():
                return
            for item in self.inbox.take(0.2):
                if isinstance(item, Told):
                    assert item.is_end
                    self.ends[item.place] = item.offset
                else:
                    self.parts.append(item)
        raise AssertionError(f"{self.ends} and {sum(map(len, self.parts))} records only")

    def held(self):
        return {place: list(found) for place, found in by_place(self.parts).items()}

    def close(self):
        self.inbox.close()
        self.client.close()


@pytest.fixture(params=[True, False], ids=["message by message", "as columns"])
def reader(request, broker, topic):
    assert native.library() is not None, "the client is another than the proven one"
    made = Reader(broker, topic, plain=request.param)
    yield made
    made.close()


def written(broker, topic, start, stop):
    client = producer(broker.bootstrap)
    send(client, (record(topic, n) for n in range(start, stop)))
    assert client.flush(60) == 0


def wanted(topic, start, stop):
    found = {}
    for n in range(start, stop):
        r = record(topic, n)
        found.setdefault((topic, r.partition), []).append((r.key, r.value, r.headers))
    return found


def bare(held):
    return {place: [(r.key, r.value, tuple(r.headers)) for r in records] for place, records in held.items()}


def test_records_come_whole_and_in_order_with_the_ends_of_their_partitions(broker, topic, reader):
    written(broker, topic, 0, COUNT)
    ends = {(topic, p): COUNT // PARTITIONS for p in range(PARTITIONS)}
    reader.until(lambda: reader.ends == ends)
    assert bare(reader.held()) == wanted(topic, 0, COUNT)
    assert all([r.offset for r in records] == list(range(len(records))) for records in reader.held().values())
    written(broker, topic, COUNT, 2 * COUNT)
    reader.inbox.look_ahead()
    reader.until(lambda: sum(map(len, reader.parts)) == 2 * COUNT)
    assert bare(reader.held()) == wanted(topic, 0, 2 * COUNT)


def test_a_partition_is_read_to_its_end_now(broker, topic):
    written(broker, topic, 0, COUNT)
    parts = [part for p in range(PARTITIONS) for part in read_columns(broker.bootstrap, topic, p)]
    assert bare(by_place(parts)) == wanted(topic, 0, COUNT)


def test_records_that_came_a_few_at_a_time_are_taken_as_one_with_one_end(broker, topic):
    reader = Reader(broker, topic, plain=False)
    reader.until(lambda: len(reader.ends) == PARTITIONS)
    for n in range(0, 10 * PARTITIONS, PARTITIONS):
        written(broker, topic, n, n + PARTITIONS)
        time.sleep(0.1)  # in which the client hears of an end
    reader.inbox.look_ahead()
    for place in [(topic, p) for p in range(PARTITIONS)]:
        parts = [item for item in reader.inbox._ahead if item.place == place]
        assert [type(part) for part in parts] == [Arrivals, Told]
        assert len(parts[0]) == 10
        assert parts[1].offset <= 10
    reader.close()


def test_what_was_taken_ahead_of_a_partition_that_goes_is_not_given(broker, topic, reader):
    written(broker, topic, 0, COUNT)
    reader.until(lambda: sum(map(len, reader.parts)) == COUNT)
    written(broker, topic, COUNT, 2 * COUNT)
    gone = (topic, 0)
    while not any(item.place == gone for item in reader.inbox._ahead):
        reader.inbox.look_ahead()
    reader.client.incremental_unassign([TopicPartition(*gone)])
    reader.inbox.forget([gone])
    half = COUNT // PARTITIONS
    reader.until(lambda: sum(map(len, reader.parts)) == COUNT + 2 * half)
    assert bare(reader.held())[gone] == wanted(topic, 0, COUNT)[gone]
    reader.assign([TopicPartition(*gone, half)])  # and when it comes back, it goes on where it is told to
    reader.until(lambda: sum(map(len, reader.parts)) == 2 * COUNT)
    assert bare(reader.held()) == wanted(topic, 0, 2 * COUNT)


def test_a_partition_that_is_fetched_from_elsewhere_gives_no_record_of_before(broker, topic, reader):
    written(broker, topic, 0, COUNT)
    reader.until(lambda: sum(map(len, reader.parts)) == COUNT)
    for _ in range(20):
        reader.parts.clear()
        reader.client.incremental_unassign([TopicPartition(topic, 1)])
        reader.assign([TopicPartition(topic, 1, 500)])
        last = COUNT // PARTITIONS - 1
        reader.until(lambda last=last: any(r.offset == last for part in reader.parts for r in part))
        offsets = [r.offset for r in reader.held()[topic, 1]]
        assert offsets == list(range(500, COUNT // PARTITIONS))


def test_pieces_of_headers_are_those_of_their_records(broker, topic, reader):
    written(broker, topic, 0, 60)
    reader.until(lambda: sum(map(len, reader.parts)) == 60)
    (first,) = (found for place, found in by_place(reader.parts).items() if place == (topic, 0))
    assert isinstance(first, Arrivals)
    listed = [r.headers for r in first]
    assert list(first.headers[5:15]) == listed[5:15]
    assert [first.headers[5:15][n] for n in range(10)] == listed[5:15]
    assert list(first.headers.take(first.offsets[[15, 0, 5]])) == [listed[15], listed[0], listed[5]]
