"""A service as a process: settings in, one loop until a signal, an exit code out."""

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from headrace.bus import failpoints, metering
from headrace.bus.allocation import keep_freed
from headrace.bus.effects import EffectsWorker, Work
from headrace.bus.engine import Engine
from headrace.bus.fusion import FusedEngine
from headrace.bus.kafka import Going
from headrace.bus.observer import KafkaObserver, Observer
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.runner import KafkaRunner
from headrace.bus.scribe import AT_ONCE, Scribe
from headrace.bus.service import Service
from headrace.bus.sharing import SharingRunner, only_one
from headrace.contracts.topics import Topic
from headrace.local.settings import Settings
from headrace.store.artifacts import open_store
from headrace.telemetry.health import Health
from headrace.telemetry.logs import configure, last_words

LOG = logging.getLogger("headrace.run")

# State is many small tuples without cycles. Python's default (700, 10, 10) spends half of ingestion's time on
# looking for some (bench/stages.py --collect).
COLLECT = (100_000, 50, 100)


class Stop:
    """Turns SIGTERM and SIGINT into the end of a loop, between two transactions."""

    def __init__(self) -> None:
        self._event = threading.Event()
        signal.signal(signal.SIGTERM, self._heard)
        signal.signal(signal.SIGINT, self._heard)

    def going(self) -> bool:
        """Tell whether nobody has asked to stop."""
        return not self._event.is_set()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._event.set()


@last_words()
def run(
    service: Service,
    effects: tuple[Topic, Topic, Mapping[str, Work]] | None = None,
    runner_class: type[KafkaRunner] = KafkaRunner,
) -> None:
    """Run a service until a signal; a HeadraceError ends the process as :func:`last_words` says."""
    settings, health, stop = _begin(service.name)
    engine = _engine(service, settings)
    failed = threading.Event()
    if settings.replicas > 1:
        runner_class = SharingRunner
    runner = runner_class(settings.bootstrap, engine, replica=settings.replica)
    runner.start(stop.going)
    if effects is not None:
        requests, results, carry_out = effects
        worker = EffectsWorker(
            requests,
            results,
            carry_out,
            settings=settings,
            registry=engine.registry,
            artifacts=open_store(settings.home),
        )
        _in_background(lambda: worker.run(stop.going), failed)
    _pump(runner, health, lambda: stop.going() and not failed.is_set())
    if failed.is_set():
        sys.exit(1)


@last_words()
def run_fused(services: Sequence[Service], *, lean: bool) -> None:
    """Run a chain of services as one until a signal; see :mod:`headrace.bus.fusion`."""
    settings, health, stop = _begin("+".join(s.name for s in services))
    scribe = Scribe(AT_ONCE)
    engine = FusedEngine([_engine(s, settings, scribe) for s in services], lean=lean)
    runner = KafkaRunner(settings.bootstrap, engine)
    runner.start(stop.going)
    _pump(runner, health, stop.going)


def _engine(service: Service, settings: Settings, scribe: Scribe | None = None) -> Engine:
    registry, artifacts = ConfluentRegistry(settings.registry_url), open_store(settings.home)
    return Engine(
        service,
        registry,
        artifacts,
        max_batch=settings.max_batch,
        max_transaction=settings.max_transaction,
        scribe=scribe,
    )


def _pump(runner: KafkaRunner, health: Health, going: Going) -> None:
    health.ready()
    while going():
        if runner.pump():
            metering.opened(health, runner.engine)
        metering.stopped(health, runner.engine)
    runner.close()


@last_words()
def run_observer(name: str, observer: Observer, *, wait: float) -> None:
    """Run an observer until a signal; a HeadraceError ends the process as :func:`last_words` says."""
    settings, health, stop = _begin(name)
    if settings.replicas > 1:
        raise only_one(name)
    watcher = KafkaObserver(name, observer, settings.bootstrap, ConfluentRegistry(settings.registry_url))
    watcher.start(stop.going)
    health.ready()
    while stop.going():
        watcher.pump(wait)
    watcher.close()


def _begin(name: str) -> tuple[Settings, Health, Stop]:
    configure(name)
    failpoints.arm(os.environ)
    settings = Settings()
    health = Health(name)
    health.serve(settings.metrics_port)
    LOG.info("starting %s, pid %d", name, os.getpid())
    gc.freeze()
    gc.set_threshold(*COLLECT)
    keep_freed()
    return settings, health, Stop()


def _in_background(work: Callable[[], None], failed: threading.Event) -> None:
    """Run a worker beside the loop; when it dies, the process does."""

    def guarded() -> None:
        try:
            with last_words():
                work()
        except BaseException:
            failed.set()
            raise

    threading.Thread(target=guarded, name="effects", daemon=True).start()
