"""A record that breaks a handler of ours stops its own partition, and no other."""

from dataclasses import replace
from typing import ClassVar

import pytest
from conformance import answers, orders
from rigs import FEATURE_SERVICE, INGESTION, SERVING, MemoryRig, fresh_name

from headrace.audit.replay import Recording, replay
from headrace.bus import commanding
from headrace.bus.engine import decode_plain
from headrace.bus.errors import HandlerError
from headrace.contracts.topics import EVENTS, LEDGER, PREDICTIONS, REJECTED, VALIDATED

SCORING = (INGESTION, FEATURE_SERVICE, SERVING)


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


def skip(rig, offset, service="ingestion", partition=0):
    place = (EVENTS.name(rig.definition.name), partition, offset)
    rig.say(commanding.skip(rig.definition.name, service, place, "the handler divides by 13", by="ada"))


def test_an_operator_lets_the_lane_step_over_the_record():
    rig = TwoPartitions(fresh_name())
    runner = rig.runner(replace(INGESTION, handle=fragile), max_batch=4)
    rig.append(spread(rig, orders(0, 10), 0) + spread(rig, orders(10, 10), 1))
    rig.settle([runner])
    skip(rig, 3, partition=1)
    rig.settle([runner])
    topic = VALIDATED.name(rig.definition.name)
    assert [len(rig.held(topic, p)) for p in (0, 1)] == [10, 9]
    assert not runner.engine.stopped
    ((_, _, letter),) = decode_plain(rig.held(REJECTED.name(rig.definition.name), 1), rig.registry)
    assert (letter["rule"], letter["event_id"], letter["origin"]["offset"]) == ("skipped", "o13", 3)
    assert letter["actual"] == "skipped by ada: the handler divides by 13"


@pytest.mark.parametrize(("offset", "service"), [(2, "ingestion"), (3, "features")])
def test_an_order_for_another_record_or_service_moves_nothing(offset, service):
    rig = MemoryRig(fresh_name())
    rig.append(rig.events(orders(10, 10)))
    skip(rig, offset, service)
    with pytest.raises(HandlerError):
        rig.settle([rig.runner(replace(INGESTION, handle=fragile))])
    assert "o13" not in [r["event_id"] for r in rig.rows(VALIDATED)]


@pytest.mark.parametrize("cut", [1, 3, 1_000])
@pytest.mark.parametrize("service", [INGESTION, FEATURE_SERVICE, SERVING])
def test_a_replay_skips_what_was_skipped_and_nothing_else(service, cut):
    """The replay runs the mended handlers: it obeys the order that has its rejection, and not the one without."""
    rig = MemoryRig(fresh_name())
    broken = [replace(s, handle=breaking_on(s.handle, "o3")) if s is service else s for s in SCORING]
    rig.append(rig.events([*orders(0, 6), *answers(0, 6)]))
    rig.tick(1, rig.end(EVENTS))
    skip(rig, 3, service.name)
    rig.settle([rig.runner(s, max_batch=cut) for s in broken])
    skip(rig, 4, service.name)
    predicted = [r["event_id"] for r in rig.rows(PREDICTIONS)]
    assert predicted == ["o0", "o1", "o2", "o4", "o5"]
    assert [r["event_id"] for r in rig.rows(REJECTED)] == ["o3"]
    assert sum(r["rejected"] for r in rig.rows(LEDGER) if r["service"] == service.name) == 1
    recording = Recording(rig.definition.name, dict(rig.log.partitions))
    found = replay(recording, SCORING, rig.registry, rig.artifacts, from_tick=1, to_tick=1)
    assert (found.checked, found.match, found.missing) == (5, 5, 0)


def breaking_on(handle, event_id):
    def broken(batch, rows, view):
        if event_id in batch.lineage["event_id"].to_pylist():
            raise ZeroDivisionError(event_id)
        return handle(batch, rows, view)

    return broken


def test_where_no_other_lane_is_left_the_process_ends():
    rig = MemoryRig(fresh_name())
    rig.append(rig.events(orders(10, 10)))
    with pytest.raises(HandlerError):
        rig.settle([rig.runner(replace(INGESTION, handle=fragile))])
