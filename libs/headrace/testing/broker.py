"""A real Kafka and a real schema registry for tests: own ports, own data, gone afterwards.

In a ``conftest.py``::

    broker = pytest.fixture(scope="session")(running_broker)

A test that asks for ``broker`` gets the Settings under which clients reach the two.
"""

import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from headrace.errors import UnreachableError
from headrace.local.answers import kafka_answers, registry_answers, within
from headrace.local.settings import LOOPBACK, Settings

PARTS = ("kafka", "registry")
PATIENCE = 300.0
ATTEMPTS = 3
FIRST_PORT = 12_000
EPHEMERAL = 32_768  # Linux gives ports from here on to outgoing connections (ip_local_port_range)
LOG_END = 2_000


def running_broker(**more: Any) -> Iterator[Settings]:
    """Start Kafka and the registry, yield the Settings that name them (and say ``more``), stop both.

    Raises UnreachableError, with the end of the log, when one of them does not come up.
    """
    with ExitStack() as stack:
        yield _started(stack, PARTS, more)


def running_kafka() -> Iterator[Settings]:
    """Start Kafka alone, for what needs no registry.

    Raises UnreachableError, with the end of the log, when it does not come up.
    """
    with ExitStack() as stack:
        yield _started(stack, PARTS[:1], {})


def _started(stack: ExitStack, parts: tuple[str, ...], more: Mapping[str, Any]) -> Settings:
    """Start the parts under ``stack``, on other ports when another process was quicker to take one."""
    for _ in range(ATTEMPTS - 1):
        with ExitStack() as attempt, suppress(UnreachableError):
            settings = _attempt(attempt, parts, more)
            stack.push(attempt.pop_all())
            return settings
    return _attempt(stack, parts, more)


def _attempt(stack: ExitStack, parts: tuple[str, ...], more: Mapping[str, Any]) -> Settings:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-")))
    kafka_port, registry_port = free_ports(2)
    settings = Settings(home=home, kafka_port=kafka_port, registry_port=registry_port, **more)
    processes = {part: stack.enter_context(_running(part, settings)) for part in parts}
    for part, process in processes.items():
        await_part(part, process, settings)
    return settings


_ANSWERS = {"kafka": kafka_answers, "registry": registry_answers}


def start_part(part: str, settings: Settings) -> subprocess.Popen[bytes]:
    """Start ``part`` ("kafka" or "registry") as a process whose log grows in its home, and return at once."""
    command = [sys.executable, "-m", f"headrace.local.{part}"]
    with (settings.home / f"{part}.log").open("ab") as log:
        return subprocess.Popen(command, env=settings.environment(), stdout=log, stderr=subprocess.STDOUT)


def await_part(part: str, process: subprocess.Popen[bytes], settings: Settings) -> None:
    """Return when ``part`` ("kafka" or "registry") answers.

    Raises UnreachableError, with the end of the log, when its process ended or is silent for ``PATIENCE`` seconds.
    """
    answers = _ANSWERS[part]
    within(PATIENCE, lambda: process.poll() is not None or answers(settings))
    if process.poll() is not None or not answers(settings):
        log = (settings.home / f"{part}.log").read_text(errors="replace")
        raise UnreachableError(f"the {part} in {settings.home} does not answer", log[-LOG_END:])


def free_ports(count: int) -> list[int]:
    """Return ``count`` loopback ports that are free now, each with a free next one (Kafka's controller).

    They lie below the range that systems give to outgoing connections, so that no client takes one
    between this answer and its use.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = FIRST_PORT + 2 * secrets.randbelow((EPHEMERAL - FIRST_PORT) // 2)
        if port not in ports and _is_free(port) and _is_free(port + 1):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as trial:
        try:
            trial.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


@contextmanager
def _running(part: str, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    process = start_part(part, settings)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)
