"""Whether Kafka, the schema registry and the services answer."""

import http.client
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from headrace.errors import UnreachableError
from headrace.local.settings import LOOPBACK, Settings

PAUSE = 0.05
PATIENCE = 2.0


def kafka_answers(settings: Settings) -> bool:
    """Say whether a client gets the cluster's metadata with at least one broker in it."""
    from confluent_kafka import KafkaException  # noqa: PLC0415  (a tenth of a second only callers pay)
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=PATIENCE).brokers)
    except KafkaException:
        return False


def registry_answers(settings: Settings) -> bool:
    """Say whether the schema registry lists its subjects."""
    return get(settings.registry_url.rstrip("/") + "/subjects")[0] == http.HTTPStatus.OK


def service_answers(port: int) -> bool:
    """Say whether the service whose health is served on ``port`` calls itself healthy."""
    return get(f"http://{LOOPBACK}:{port}/health")[0] == http.HTTPStatus.OK


def get(url: str, patience: float = PATIENCE) -> tuple[int, bytes]:
    """Return status and body of a GET that goes through no proxy; (0, b"") when nobody answers."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=patience)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def wait_for_kafka(settings: Settings, seconds: float) -> None:
    """Return when Kafka answers; raise UnreachableError after ``seconds``."""
    if not within(seconds, lambda: kafka_answers(settings)):
        raise UnreachableError(f"Kafka at {settings.bootstrap} does not answer", f"waited {seconds:.0f} s")


def wait_for_registry(settings: Settings, seconds: float) -> None:
    """Return when the schema registry answers; raise UnreachableError after ``seconds``."""
    if not within(seconds, lambda: registry_answers(settings)):
        raise UnreachableError(
            f"the schema registry at {settings.registry_url} does not answer", f"waited {seconds:.0f} s"
        )


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Ask ``holds`` until it says yes or ``seconds`` are over."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE)
    return True
