"""A real Kafka and a real schema registry for tests: own ports, own data, gone afterwards.

In a ``conftest.py``::

    broker = pytest.fixture(scope="session")(running_broker)

A test that asks for ``broker`` gets the Settings under which clients reach the two.
"""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from headrace.local.answers import wait_for_kafka, wait_for_registry
from headrace.local.settings import LOOPBACK, Settings

PARTS = ("kafka", "registry")
PATIENCE = 60.0


def running_broker() -> Iterator[Settings]:
    """Start Kafka and the registry, yield the Settings that name them, stop both."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as home, ExitStack() as stack:
        kafka_port, registry_port = free_ports(2)
        settings = Settings(home=Path(home), kafka_port=kafka_port, registry_port=registry_port)
        for part in PARTS:
            stack.enter_context(_running(part, settings))
        wait_for_kafka(settings, PATIENCE)
        wait_for_registry(settings, PATIENCE)
        yield settings


def free_ports(count: int) -> list[int]:
    """Return ``count`` loopback ports that are free now, each with a free next one (Kafka's controller)."""
    ports: list[int] = []
    while len(ports) < count:
        with closing(socket.socket()) as first, closing(socket.socket()) as second:
            first.bind((LOOPBACK, 0))
            port = first.getsockname()[1]
            if second.connect_ex((LOOPBACK, port + 1)) and port not in ports:
                ports.append(port)
    return ports


@contextmanager
def _running(part: str, settings: Settings) -> Iterator[None]:
    command = [sys.executable, "-m", f"headrace.local.{part}"]
    with (settings.home / f"{part}.log").open("wb") as log:
        process = subprocess.Popen(command, env=settings.environment(), stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)
