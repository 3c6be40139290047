"""A reader's ways to read the same log give the same records, in whatever order they are asked."""

import threading

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus.kafka import producer, send
from headrace.bus.reading import KafkaLog, Span, held
from headrace.bus.records import Outgoing

pytestmark = pytest.mark.broker
COUNT, PARTITIONS, TOPIC = 600, 2, "reading.events.v1"


@pytest.fixture
def filled(broker):
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    client.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(120)
    writer = producer(broker.bootstrap)
    send(writer, [Outgoing(TOPIC, n % PARTITIONS, None, b"%d" % n, (("h", b"x"),)) for n in range(COUNT)])
    writer.flush(60)
    return broker.bootstrap


def spans(start, end):
    return [Span(TOPIC, p, start, end) for p in range(PARTITIONS)]


def alternating(bootstrap, found):
    """Read stretches that overlap, now as columns, now as records, and their first records."""
    with KafkaLog(bootstrap) as log:
        for start, end in ((0, 300), (100, 200), (50, 300), (299, 300), (0, None)):
            columns = {place: list(records) for place, records in held(log, spans(start, end)).items()}
            records = {place: [] for place in columns}
            for stamped in log.read(spans(start, end)):
                records[stamped.place].append(stamped.record)
            firsts = {place: first.record.offset for place, first in log.firsts(spans(start, end)).items()}
            found.append((columns, records, firsts))


def test_records_columns_and_firsts_agree_in_turn(filled):
    found = []
    reading = threading.Thread(target=alternating, args=(filled, found), daemon=True)
    reading.start()
    reading.join(120)
    assert not reading.is_alive(), f"the reader waits for ever after {len(found)} stretches"
    for columns, records, firsts in found:
        assert columns == records
        assert firsts == {place: told[0].offset for place, told in records.items()}
    assert [sum(map(len, records.values())) for _, records, _ in found] == [600, 200, 500, 2, 600]
