"""The broker and the registry, as commands that read the log want them."""

from collections.abc import Iterator
from contextlib import contextmanager

from headrace.bus.reading import KafkaLog
from headrace.bus.registry import ConfluentRegistry
from headrace.local.settings import Settings


@contextmanager
def broker() -> Iterator[tuple[Settings, KafkaLog, ConfluentRegistry]]:
    """Yield the settings, the log and the registry; UnreachableError where the broker does not answer."""
    settings = Settings()
    with KafkaLog(settings.bootstrap) as log:
        log.topics()
        yield settings, log, ConfluentRegistry(settings.registry_url)
