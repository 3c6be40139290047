"""A delayed EndTxn must not close the next transaction (KAFKA-17754): without our rule it does, with it it cannot."""

import pyarrow as pa
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus.blocks import Block
from headrace.bus.kafka import always, fence, read_all
from headrace.bus.scribe import Made
from headrace.bus.transaction import Transaction
from headrace.bus.transactions import Outcome, Transactions
from headrace.chaos.mutants import HASTY
from headrace.chaos.proxy import proxied
from headrace.local.settings import LOOPBACK

pytestmark = pytest.mark.broker


class KeepProducer(Transactions):
    """Goes on with the producer whose commit was late: the rule is off."""

    def recreate(self):
        self._late = False

    def abort(self):
        with pytest.raises(KafkaException, match="INVALID_TXN_STATE"):  # the late EndTxn has ended it already
            super().abort()


def only(topic, value):
    return Block(topic, 0, pa.array([b""]), pa.array([value]))


def story(kind, broker, topic):
    """Commit one record with a late EndTxn, abort another while it arrives; return what a reader sees."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    for created in client.create_topics([NewTopic(topic, 1, 1)]).values():
        created.result(120)
    with proxied(broker.kafka_port) as proxy:
        transactions = kind(f"{LOOPBACK}:{proxy.port}", topic, lambda: None, **HASTY)
        assert fence(transactions.producer, 30, always)
        outcome = transactions.carry_out(Transaction([Made([only(topic, b"first")])]))
        assert proxy.held.is_set()
        transactions.begin()
        transactions.send(Transaction([Made([only(topic, b"second")])]))
        assert transactions.producer.flush(10) == 0
        proxy.release()
        transactions.abort()
        transactions.close()
    return outcome, [r.value for r in read_all(broker.bootstrap, topic, 0)]


def test_with_the_rule_the_late_end_finds_a_closed_door(broker):
    assert story(Transactions, broker, "torn-on") == (Outcome.UNKNOWN, [b"first"])


def test_without_the_rule_an_aborted_record_is_committed(broker):
    assert story(KeepProducer, broker, "torn-off") == (Outcome.UNKNOWN, [b"first", b"second"])
