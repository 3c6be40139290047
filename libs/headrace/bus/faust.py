"""The Faust adapter: one engine run as a Faust application. The one module here that imports Faust.

Faust gives a record at least once, so exactness comes from the log itself. Nothing is committed and no table is kept:
at its start the application folds every record again, and what its own ledger entries say was closed before is not
sent twice. Ids derive from their causes, so a death between a signal and its ledger entry gives the same ids again.

Measured on 0.15.3: ``exactly_once`` gives duplicates; a failed agent leaves the application up and doing nothing, hence
the crashing supervisor and the watch; a killed worker's partitions stand still until its session ends, hence the static
membership.
"""

import hashlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.worker import Worker
from mode.supervisors import CrashingSupervisor
from yarl import URL

from headrace.bus import metering
from headrace.bus.engine import Engine
from headrace.bus.failpoints import reach
from headrace.bus.records import Incoming, Outgoing
from headrace.bus.transaction import Transaction
from headrace.contracts.topics import LEDGER
from headrace.local.settings import Settings
from headrace.telemetry.health import Health

LOG = logging.getLogger("headrace.bus")


class FaustRunner:
    """Runs one engine on the pipelines registered so far, as a Faust application of one worker.

    ``closed`` says how many ticks of each pipeline the service closed in earlier lives.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        registered: Sequence[Incoming],
        closed: Mapping[str, int],
        health: Health,
    ) -> None:
        self._engine, self._closed, self._health = engine, dict(closed), health
        self._read = {(r.topic, r.partition): r.offset + 1 for r in registered}
        for pipeline in engine.receive(registered):
            engine.open_pipeline(pipeline)
        topics = sorted([*engine.control_topics, *(t for p in closed for t in self._topics(p))])
        name = group_of(engine.service.name, topics)
        self.app = application(name, settings.bootstrap, settings.home / "faust")
        source = self.app.topic(
            *topics,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,
        )
        self.app.agent(source, supervisor_strategy=CrashingSupervisor)(self._follow)
        self.app.on_partitions_assigned.connect(self._ready)

    def _topics(self, pipeline: str) -> list[str]:
        inputs = [
            i.topic.name(pipeline) for i in self._engine.service.consumes if i.topic.scope == "pipeline"
        ]
        return [*self._engine.book_topics(pipeline), *inputs]

    async def _follow(self, stream: Any) -> None:
        """Take one record after another; a record seen before (after a rebalance) is passed over."""
        async for event in stream.events():
            message = event.message
            place = (message.topic, message.partition)
            if message.offset < self._read.get(place, 0):
                continue
            self._read[place] = message.offset + 1
            await self._take(Incoming(*place, message.offset, message.key, message.value))

    async def _take(self, message: Incoming) -> None:
        if new := self._engine.receive([message]):
            LOG.info("%s is new: starting again to read its topics", new[0])
            os.kill(os.getpid(), signal.SIGTERM)  # the worker's own way to stop
        reach("after-consume")
        began = time.perf_counter()
        while (transaction := self._engine.work()) is not None:
            await self._carry_out(transaction)
            self._engine.commit()
            metering.committed(self._engine.service.name, transaction)
            metering.took(self._engine.service.name, time.perf_counter() - began)
            metering.opened(self._health, self._engine)
            began = time.perf_counter()

    async def _carry_out(self, transaction: Transaction) -> None:
        """Send what was not sent in an earlier life: a tick's records, and when they are acked its ledger entry."""
        for pipeline, records, entry in by_tick(transaction.records()):
            if self._closed[pipeline]:
                self._closed[pipeline] -= 1
                continue
            for acked in [await self._send(record) for record in records]:
                await acked
            reach("mid-produce")
            await (await self._send(entry))
            reach("after-commit")

    async def _send(self, record: Outgoing) -> Awaitable[Any]:
        sent: Awaitable[Any] = await self.app.producer.send(
            record.topic, record.key, record.value, record.partition, None, list(record.headers)
        )
        return sent

    async def _ready(self, *_: Any, **__: Any) -> None:
        self._health.ready()


def by_tick(produced: Iterable[Outgoing]) -> Iterator[tuple[str, list[Outgoing], Outgoing]]:
    """Yield pipeline, records and ledger entry of each tick a transaction closes; state on changelogs falls away."""
    records: list[Outgoing] = []
    for record in produced:
        pipeline, _, stream = record.topic.partition(".")
        if record.topic == LEDGER.name(pipeline):
            yield pipeline, records, record
            records = []
        elif not stream.endswith("-changelog.v1"):
            records.append(record)
    if records:
        raise ValueError(f"a record on {records[0].topic} belongs to no closed tick")


def group_of(service: str, topics: Sequence[str]) -> str:
    """Return a group of its own for a set of topics.

    A static member that comes back in time gets the partitions it had, whatever it asks for now (KIP-345), so a group
    must not outlive its topics. Nothing is lost with it: it holds no offsets.
    """
    return f"headrace.{service}.{hashlib.sha256(' '.join(topics).encode()).hexdigest()[:8]}"


def application(name: str, bootstrap: str, folder: Path) -> faust.App:
    """Return a Faust application without web server, leader topic and tables that reads committed records only.

    Faust makes its data folder even so: ``folder``.
    """
    app = faust.App(
        name,
        broker=[URL(f"kafka://{server}") for server in bootstrap.split(",")],
        store="memory://",
        datadir=folder,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=name,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        broker_commit_interval=0.1,
    )
    app.transport = _Transport(app.conf.broker, app, loop=app.loop)
    return app


class _CommittedOnly(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust gives no types
    """Faust ties read_committed to its own exactly_once; our producers' transactions need it alone."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 -- read when the consumer starts
        return consumer


class _Consumer(driver.Consumer):  # type: ignore[misc]  # Faust gives no types
    def _new_consumer_thread(self) -> _CommittedOnly:
        return _CommittedOnly(self, loop=self.loop, beacon=self.beacon)


class _Producer(driver.Producer):  # type: ignore[misc]  # Faust gives no types
    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class _Transport(driver.Transport):  # type: ignore[misc]  # Faust gives no types
    Consumer = _Consumer
    Producer = _Producer


def execute(runner: FaustRunner) -> None:
    """Run the application until a signal or a new pipeline; it exits with code 0 then, with 1 when it crashed."""
    worker = Worker(runner.app, override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()
