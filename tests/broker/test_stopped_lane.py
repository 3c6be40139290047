"""A record that breaks a handler of ours stops its own partition, and no other."""

from dataclasses import replace
from typing import ClassVar

import pytest
from conformance import orders
from rigs import INGESTION, MemoryRig, fresh_name

from headrace.bus.errors import HandlerError
from headrace.contracts.topics import EVENTS, VALIDATED


class TwoPartitions(MemoryRig):
    changes: ClassVar = {"partitions": 2}


def fragile(batch, rows, view):
    """Handle as ingestion does, and break on the amount 13."""
    if "Order" in batch.records and 13.0 in batch.records["Order"].columns["amount"].to_pylist():
        raise ZeroDivisionError("13")
    return INGESTION.handle(batch, rows, view)


def spread(rig, rows, partition):
    return [r._replace(partition=partition) for r in rig.events(rows)]


def test_the_other_partition_goes_on_and_the_offset_does_not_move():
    rig = TwoPartitions(fresh_name())
    runner = rig.runner(replace(INGESTION, handle=fragile), max_batch=4)
    rig.append(spread(rig, orders(0, 10), 0) + spread(rig, orders(10, 10), 1))
    rig.settle([runner])
    rig.append(spread(rig, orders(20, 10), 0) + spread(rig, orders(30, 10), 1))
    rig.settle([runner])
    topic = VALIDATED.name(rig.definition.name)
    assert (len(rig.held(topic, 0)), len(rig.held(topic, 1))) == (20, 0)
    assert rig.log.committed.get(("ingestion", EVENTS.name(rig.definition.name), 1), 0) == 0
    ((place, error),) = runner.engine.stopped.items()
    assert place == (rig.definition.name, 1)
    assert f"{EVENTS.name(rig.definition.name)}/1@3" in str(error)


def test_a_fixed_handler_takes_up_where_the_lane_stood():
    rig = TwoPartitions(fresh_name())
    rig.append(spread(rig, orders(0, 10), 0) + spread(rig, orders(10, 10), 1))
    rig.settle([rig.runner(replace(INGESTION, handle=fragile), max_batch=4)])
    rig.settle([rig.runner(INGESTION)])
    topic = VALIDATED.name(rig.definition.name)
    assert [len(rig.held(topic, p)) for p in (0, 1)] == [10, 10]


def test_where_no_other_lane_is_left_the_process_ends():
    rig = MemoryRig(fresh_name())
    rig.append(rig.events(orders(10, 10)))
    with pytest.raises(HandlerError):
        rig.settle([rig.runner(replace(INGESTION, handle=fragile))])
