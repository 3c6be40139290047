"""Which topic and which of its records `headrace topic tail` means; how records look."""

import json

import pyarrow as pa
import pytest

from headrace.bus.memory import MemoryLog
from headrace.bus.reading import Stamped
from headrace.bus.records import Incoming, Outgoing
from headrace.bus.schemas import MemoryRegistry, codec
from headrace.bus.shown import as_json, shown
from headrace.cli.topic import chosen, full_name, newest
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.catalogue import example, schema
from headrace.contracts.frame import frame
from headrace.errors import UsageError
from headrace.testing.reading import HeldLog

TOPICS = ["flights.ticks.v1", "bikes.ticks.v1", "control.models.v1", "training.effects.v1"]


@pytest.mark.parametrize(
    ("asked", "pipeline", "found"),
    [
        ("flights.ticks.v1", None, "flights.ticks.v1"),
        ("ticks", "bikes", "bikes.ticks.v1"),
        ("models", None, "control.models.v1"),
        ("control.models", "flights", "control.models.v1"),
        ("training.effects", None, "training.effects.v1"),
    ],
)
def test_a_topic_may_be_named_by_its_stream(asked, pipeline, found):
    assert full_name(TOPICS, asked, pipeline) == found


def test_an_unknown_topic_is_said_with_those_like_it():
    with pytest.raises(UsageError, match=r"bikes\.ticks\.v1, flights\.ticks\.v1"):
        full_name(TOPICS, "ticks", None)


def held(count, partitions=2):
    log = MemoryLog()
    log.append(Outgoing("t", n % partitions, str(n % 3).encode(), str(n).encode()) for n in range(count))
    return HeldLog(log)


def values(found):
    return [int(s.record.value) for s in found]


def test_the_newest_records_come_from_every_partition_in_their_order():
    assert len(values(newest(held(100), "t", 10))) == 10
    assert values(newest(held(100, partitions=1), "t", 3)) == [97, 98, 99]
    assert values(newest(held(4), "t", 10)) == [0, 2, 1, 3]
    assert values(newest(held(1000, partitions=1), "t", 2, key="0")) == [996, 999]


@pytest.mark.parametrize(
    ("start", "count", "key", "found"),
    [
        ("beginning", 2, None, [0, 1]),
        ("7", None, None, [7, 8, 9]),
        ("7", None, "2", [8]),
        ("99", None, None, []),
        ("end", None, None, []),
        (None, 1, None, [9]),
    ],
)
def test_a_stretch_is_named_by_where_it_begins_and_how_many_it_holds(start, count, key, found):
    assert values(chosen(held(10, partitions=1), "t", start, count, key, follow=False)) == found


def test_a_place_that_is_none_is_refused():
    with pytest.raises(UsageError, match="yesterday"):
        list(chosen(held(1), "t", "yesterday", None, None, follow=False))


def told(value):
    return shown(Stamped(Incoming("t", 0, 3, b"k", value, [("h", b"\xff")]), 1_500), REGISTRY)


REGISTRY = MemoryRegistry()
TICK = schema("Tick")
TICK_ID = REGISTRY.register("", TICK)


def framed(fields):
    row = {n: list(v.items()) if isinstance(v, dict) else v for n, v in fields.items()}
    columns = pa.RecordBatch.from_pylist([row], schema=arrow_schema(TICK))
    return frame(TICK_ID, codec(TICK).encode(columns))[0]


def test_a_record_is_shown_with_coordinates_headers_and_readable_times():
    seen = json.loads(as_json(told(framed(example("Tick") | {"time": 0}))))
    assert (seen["offset"], seen["key"], seen["headers"]) == (3, "k", {"h": "ff"})
    assert (seen["record"], seen["value"]["time"]) == ("Tick", "1970-01-01T00:00:00Z")
    assert seen["appended"] == "1970-01-01T00:00:01.500000Z"


@pytest.mark.parametrize(
    ("value", "error"),
    [(b"hello world", "wire format"), (b"\0\0\0\0\x63abc", "unknown"), (framed(example("Tick"))[:-2], "")],
)
def test_bytes_that_are_no_record_are_shown_with_the_reason(value, error):
    seen = told(value)
    assert seen["value"] is None
    assert error in seen["error"]
    assert seen["bytes"] == value.hex()


def test_a_tombstone_is_no_error():
    assert "error" not in told(None)
