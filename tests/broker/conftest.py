"""A real Kafka and schema registry, started once for all tests here."""

import pytest

from headrace.testing.broker import running_broker

broker = pytest.fixture(scope="session")(running_broker)
