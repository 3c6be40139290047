"""Partitions in which records trickle in take turns, a few to a transaction, and none is passed over."""

from typing import ClassVar

from conformance import orders
from rigs import FEATURE_SERVICE, INGESTION, MemoryRig, fresh_name

from headrace.bus.turns import FEW, LITTLE, REST
from headrace.contracts.topics import EVENTS

PARTITIONS = 5


class Wide(MemoryRig):
    changes: ClassVar = {"partitions": PARTITIONS}


def give(rig, partition, count=1):
    rig.append([r._replace(partition=partition) for r in rig.events(orders(0, count))])


def turn(runner):
    """Return the partitions of the next transaction."""
    runner._read()
    made = runner.engine.work()
    runner.log.commit(made)
    runner.engine.commit()
    return {partition for (_, topic, partition) in made.offsets if topic.endswith(EVENTS.name(""))}


def opened():
    rig = Wide(fresh_name())
    runner = rig.runner(INGESTION)
    rig.settle([runner])
    return rig, runner


def test_a_few_share_a_transaction_and_who_has_waited_longest_comes_first():
    rig, runner = opened()
    for partition in range(PARTITIONS):
        give(rig, partition)
    first = turn(runner)
    assert len(first) == FEW
    assert runner.engine.more
    for partition in first:
        give(rig, partition)  # they have more at once, and have to wait
    second = turn(runner)
    third = turn(runner)
    assert first | second | third == set(range(PARTITIONS))
    assert not first & second
    assert turn(runner) | third >= first
    assert runner._read() is False
    assert runner.engine.work() is None
    assert not runner.engine.more


def test_who_takes_what_trickles_in_lets_a_little_gather():
    rig, runner = opened()
    give(rig, 0)
    runner._read()
    little = runner.engine.work()
    assert runner.engine.rest(little, 0.02) == 0.02
    assert runner.engine.rest(little, 20.0) == REST
    runner.engine.rollback()
    give(rig, 1, LITTLE)
    runner._read()
    assert runner.engine.rest(runner.engine.work(), 0.02) == 0
    for other, service in ((Wide(fresh_name()), FEATURE_SERVICE), (MemoryRig(fresh_name()), INGESTION)):
        idle = other.runner(service)
        other.settle([idle])
        assert idle.engine.lanes
        assert idle.engine.rest(little, 0.02) == 0  # takes others' transactions, or has one partition


def test_where_there_is_much_all_share_one():
    rig, runner = opened()
    for partition in range(PARTITIONS):
        give(rig, partition, LITTLE)
    assert turn(runner) == set(range(PARTITIONS))
    assert not runner.engine.more
