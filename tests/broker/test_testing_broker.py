"""The private broker of the tests comes up even when another process takes its port first."""

import socket
from contextlib import closing

import pytest

from headrace.local.answers import kafka_answers
from headrace.local.settings import LOOPBACK
from headrace.testing import broker

pytestmark = pytest.mark.broker


def test_a_port_taken_meanwhile_costs_an_attempt_and_not_the_broker(monkeypatch):
    with closing(socket.socket()) as intruder:
        intruder.bind((LOOPBACK, 0))
        intruder.listen()
        taken = intruder.getsockname()[1]
        offered = iter([[taken, taken], *(broker.free_ports(2) for _ in range(2))])
        monkeypatch.setattr(broker, "free_ports", lambda _: next(offered))
        running = broker.running_kafka()
        settings = next(running)
        assert settings.kafka_port != taken
        assert kafka_answers(settings)
        running.close()
