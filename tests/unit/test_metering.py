"""What a runner counts for Prometheus."""

import pyarrow as pa
from prometheus_client import REGISTRY

from headrace.bus import metering
from headrace.bus.blocks import Block
from headrace.bus.scribe import Made
from headrace.bus.transaction import Transaction


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_committed_transaction_counts_what_others_can_read() -> None:
    topics = ["p.validated.v1"] * 3 + ["p.rejected.v1", "p.ledger.v1", "p.metered-changelog.v1"]
    produced = [Block(topic, 0, pa.array([b""]), pa.array([b""])) for topic in topics]
    metering.committed("metered", Transaction([Made(produced)], rows=4))
    assert value("headrace_events_in_total", service="metered") == 4
    assert value("headrace_events_out_total", service="metered", topic="p.validated.v1") == 3
    assert value("headrace_rejected_total", service="metered", pipeline="p") == 1
    assert value("headrace_events_out_total", service="metered", topic="p.ledger.v1") == 0
    assert value("headrace_events_out_total", service="metered", topic="p.metered-changelog.v1") == 0
    assert value("headrace_transactions_total", service="metered") == 1


def test_aborts_and_seconds_are_counted_apart() -> None:
    metering.aborted("undone")
    metering.took("undone", 0.003)
    assert value("headrace_aborts_total", service="undone") == 1
    assert value("headrace_transactions_total", service="undone") == 0
    assert value("headrace_batch_seconds_count", service="undone") == 1
