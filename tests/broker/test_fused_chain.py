"""A fused chain on a broker whose later member fails: nothing of its partition is seen, all of the other one is."""

from contextlib import closing
from dataclasses import replace
from typing import ClassVar

import pytest
from conformance import orders
from rigs import FEATURE_SERVICE, INGESTION, SERVING, KafkaRig, fresh_name

from headrace.contracts.topics import PREDICTIONS, VALIDATED

pytestmark = pytest.mark.broker


class TwoPartitions(KafkaRig):
    changes: ClassVar = {"partitions": 2}


def fragile(batch, rows, view):
    """Handle as features does, and break on the amount 13."""
    if 13.0 in batch.of("Order").columns["data"].field("amount").to_pylist():
        raise ZeroDivisionError("13")
    return FEATURE_SERVICE.handle(batch, rows, view)


def test_a_member_that_fails_stops_its_partition_alone(broker):
    with closing(TwoPartitions(fresh_name(), broker)) as rig:
        runner = rig.fused([INGESTION, replace(FEATURE_SERVICE, handle=fragile), SERVING], max_batch=4)
        for first in (0, 20):
            rows = [(0, orders(first, 10)), (1, orders(first + 10, 10))]
            rig.append([r._replace(partition=p) for p, some in rows for r in rig.events(some)])
            rig.settle([runner])
        for topic in (VALIDATED, PREDICTIONS):
            name = topic.name(rig.definition.name)
            assert (len(rig.held(name, 0)), len(rig.held(name, 1))) == (20, 0)
