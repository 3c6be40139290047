"""A real Kafka and schema registry, started once for all tests here.

Control topics are shared too. A rig deletes and makes them when it starts, so that its engines find no other pipeline;
who needs more than that has a broker of its own.
"""

import pytest

from headrace.testing.broker import running_broker

broker = pytest.fixture(scope="session")(running_broker)
