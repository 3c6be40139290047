"""What the Kafka client says, and what is made of it."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.bus.kafka import answered


def _failing(*codes):
    told = iter(codes)

    def ask():
        if (code := next(told, None)) is not None:
            raise KafkaException(KafkaError(code))
        return "an answer"

    return ask


@pytest.mark.parametrize(
    "code", [KafkaError.NOT_COORDINATOR, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._TRANSPORT]
)
def test_a_broker_that_moves_things_is_asked_again(code):
    assert answered(_failing(code, code), patience=30) == "an answer"


def test_an_error_that_stays_is_raised_at_once():
    with pytest.raises(KafkaException, match=r"authorized|AUTHORIZATION"):
        answered(_failing(KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED), 30)


def test_patience_has_an_end():
    with pytest.raises(KafkaException, match=r"coordinator|COORDINATOR"):
        answered(_failing(*[KafkaError.NOT_COORDINATOR] * 50), patience=0.3)
