"""A private broker and registry whose broker can be killed, stopped and started again."""

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from headrace.bus.provision import announce, create_topics, register_schemas
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import record_schema, subject
from headrace.bus.service import Service
from headrace.contracts.topics import EVENTS
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition
from headrace.testing.broker import PARTS, await_part, free_ports, start_part


class Ground:
    """Kafka and the registry in a home of their own, with one pipeline on them."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        kafka, registry = free_ports(2)
        self.settings = Settings(home=home, kafka_port=kafka, registry_port=registry)
        self._parts: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, definition: Definition, services: Sequence[Service]) -> None:
        """Start both and register the pipeline with these services as its stages."""
        self._parts = {part: start_part(part, self.settings) for part in PARTS}
        for part, process in self._parts.items():
            await_part(part, process, self.settings)
        registry = ConfluentRegistry(self.settings.registry_url)
        for record in definition.records:  # in order, so that raw bytes bear the same schema ids in every run
            schema = record_schema(EVENTS, record, definition)
            registry.register(subject(EVENTS.name(definition.name), schema), schema)
        create_topics(self.settings, [definition], services)
        register_schemas(registry, [definition])
        announce(self.settings, registry, {definition.name: definition}, services)

    def kill_broker(self) -> None:
        """Kill -9 the broker and start it again."""
        broker = self._parts["kafka"]
        broker.kill()
        broker.wait()
        self._parts["kafka"] = start_part("kafka", self.settings)

    def stop_broker(self, seconds: float) -> None:
        """Stop the broker for a while, as a machine that hangs."""
        broker = self._parts["kafka"]
        broker.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        broker.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop both."""
        for part in self._parts.values():
            part.kill()
            part.wait()
