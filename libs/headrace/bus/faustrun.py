"""A service as a Faust process: settings in, an application until a signal, an exit code out."""

import logging
import os
import time

from headrace.bus import failpoints
from headrace.bus.engine import Engine, decode_plain
from headrace.bus.faust import FaustRunner, execute
from headrace.bus.kafka import consumer, read_all, wait_for_topics
from headrace.bus.ledgerwatch import LedgerWatch
from headrace.bus.records import Incoming
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.service import Service
from headrace.bus.sharing import only_one
from headrace.contracts.topics import PIPELINES
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition
from headrace.store.artifacts import open_store
from headrace.telemetry.health import Health
from headrace.telemetry.logs import configure, last_words

LOG = logging.getLogger("headrace.run")


@last_words()
def run_faust(service: Service, *, patience: float) -> None:
    """Run a service until a signal or a new pipeline (both exit code 0); a supervisor starts it again.

    ``patience`` is how many seconds a tick may stand open that everybody upstream has closed.
    """
    configure(service.name)
    failpoints.arm(os.environ)
    settings, health = Settings(), Health(service.name)
    if settings.replicas > 1:
        raise only_one(service.name)
    health.serve(settings.metrics_port)
    LOG.info("starting %s, pid %d", service.name, os.getpid())
    registry = ConfluentRegistry(settings.registry_url)
    registered = _registered(service, settings, health)
    definitions = _definitions(registered, registry)
    watch = LedgerWatch(service, definitions, settings.bootstrap, registry)
    engine = Engine(service, registry, open_store(settings.home), max_batch=settings.max_batch)
    runner = FaustRunner(engine, settings, registered, watch.history(), health)
    watch.guard(patience, health.failed)
    execute(runner)


def _registered(service: Service, settings: Settings, health: Health) -> list[Incoming]:
    """Return the registrations so far; wait, in good health, until there is one."""
    client = consumer(settings.bootstrap, f"headrace.{service.name}.start")
    wait_for_topics(client, [PIPELINES.name()], 60)
    client.close()
    while not (records := read_all(settings.bootstrap, PIPELINES.name(), 0)):
        health.ready()
        time.sleep(0.2)
    return records


def _definitions(registered: list[Incoming], registry: ConfluentRegistry) -> list[Definition]:
    """Return the last definition of each pipeline."""
    found = {fields["pipeline"]: fields["definition"] for _, _, fields in decode_plain(registered, registry)}
    return [Definition.model_validate_json(text) for text in found.values()]
