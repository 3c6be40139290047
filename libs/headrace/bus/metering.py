"""What the runners count for Prometheus; engines and lanes know nothing of it."""

import logging

from headrace.bus.engine import Engine
from headrace.bus.fusion import FusedEngine
from headrace.bus.transaction import Transaction
from headrace.contracts.topics import LEDGER, REJECTED
from headrace.telemetry import metrics
from headrace.telemetry.health import Health

LOG = logging.getLogger("headrace.bus")


def took(service: str, seconds: float) -> None:
    """Note how long a transaction took, from its first record to its end."""
    metrics.BATCH_SECONDS.labels(service).observe(seconds)


def committed(service: str, transaction: Transaction) -> None:
    """Count a transaction and what it took in and gave out, without ledger and state."""
    metrics.TRANSACTIONS.labels(service).inc()
    metrics.EVENTS_IN.labels(service).inc(transaction.rows)
    for block in transaction.produced:
        topic, count = block.topic, len(block)
        pipeline = topic.partition(".")[0]
        if topic == REJECTED.name(pipeline):
            metrics.REJECTED.labels(service, pipeline).inc(count)
        if topic != LEDGER.name(pipeline) and not topic.endswith("-changelog.v1"):
            metrics.EVENTS_OUT.labels(service, topic).inc(count)


def aborted(service: str) -> None:
    """Count a transaction that was undone and will be done again."""
    metrics.ABORTS.labels(service).inc()


def opened(health: Health, engine: Engine | FusedEngine) -> None:
    """Tell the open tick of every lane, and how many ticks of the clock it has not closed; forget lanes that went."""
    lanes = engine.lanes.values()
    health.keep({(lane.pipeline, lane.partition) for lane in lanes})
    for lane in lanes:
        newest = next(reversed(lane.books.ticks), 0)
        health.tick(lane.pipeline, lane.partition, lane.progress.tick, newest)


def stopped(health: Health, engine: Engine | FusedEngine) -> None:
    """Tell which lanes stand still because a handler of ours fails; the service is no longer healthy then."""
    if health.state == "failed" and not engine.stopped:
        health.recovered()
        for lane in engine.lanes.values():
            metrics.LANE_STOPPED.labels(engine.service.name, lane.pipeline, str(lane.partition)).set(0)
    for (pipeline, partition), error in engine.stopped.items():
        metrics.LANE_STOPPED.labels(engine.service.name, pipeline, str(partition)).set(1)
        if health.state != "failed":
            LOG.error("%s, partition %d stands still: %s", pipeline, partition, error, exc_info=error)
            health.failed(error)
