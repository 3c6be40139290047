"""Rows written to a changelog come back as they were, in one piece or in parts."""

from array import array
from itertools import chain

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.arrivals import arrivals
from headrace.bus.books import Books
from headrace.bus.changelog import FEW, PROGRESS, Progress, entries, read
from headrace.bus.encode import Encoder
from headrace.bus.engine import Engine
from headrace.bus.errors import BrokenRecordError
from headrace.bus.lane import Lane
from headrace.bus.records import Incoming
from headrace.bus.schemas import MemoryRegistry
from headrace.bus.scribe import Made
from headrace.bus.service import Table
from headrace.testing.loop import MemoryArtifacts
from services.features.service import SERVICE
from tests.laws.shop import SHOP

GROUPS = SERVICE.tables[0]
MIXED = Table(
    "mixed",
    pa.schema(
        [("n", pa.int64()), ("many", pa.list_(pa.int64())), ("text", pa.string()), ("raw", pa.binary())]
    ),
)
MAPS = Table(
    "maps",
    pa.schema(
        [
            ("counts", pa.map_(pa.string(), pa.int64())),
            ("share", pa.float64()),
            ("said", pa.list_(pa.string())),
            ("small", pa.int32()),
            ("true", pa.bool_()),
        ]
    ),
)
CELLS = st.tuples(
    st.none() | st.dictionaries(st.text(max_size=3), st.integers(-(2**63), 2**63 - 1), max_size=3).map(
        lambda told: sorted(told.items())
    ),
    st.none() | st.floats(),
    st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.booleans(),
)  # fmt: skip
ROWS = {
    "a": (1, [1, 2], "x", b"\0"),
    "b/c": (-(2**63), [], "", b""),
    "d": (None, None, None, None),
    "e": (2**63 - 1, [None, 3], "é", b"\xff"),
}
PLAIN = {"f": (1, [1], "x", b""), "g": (2, [2, 3], "y", b"z")}


def written(registry, table, rows):
    blocks = entries(Encoder(registry), "log", 0, table, rows)
    return [Incoming("log", 0, n, r.key, r.value) for n, r in enumerate(chain(*blocks))]


@given(st.lists(CELLS, min_size=1, max_size=4))
def test_the_bytes_of_a_row_do_not_depend_on_how_many_rows_go_with_it(few):
    registry = MemoryRegistry()
    rows = {f"k{n}": row for n, row in enumerate(few)}
    filler = {f"z{n}": few[0] for n in range(FEW)}
    alone, among = (written(registry, MAPS, wanted) for wanted in (rows, rows | filler))
    assert [m.value for m in alone] == [m.value for m in among[: len(alone)]]


@pytest.mark.parametrize("rows", [ROWS, PLAIN, ROWS | PLAIN])
def test_rows_come_back_with_their_nulls(rows):
    registry = MemoryRegistry()
    assert unpacked(read(arrivals(written(registry, MIXED, rows)), [MIXED], registry)) == {"mixed": rows}


def unpacked(found):
    return {
        table: {
            key: row and tuple(list(cell) if isinstance(cell, array) else cell for cell in row)
            for key, row in rows.items()
        }
        for table, rows in found.items()
    }


def test_whole_numbers_in_lists_come_back_packed():
    registry = MemoryRegistry()
    found = read(arrivals(written(registry, MIXED, PLAIN)), [MIXED], registry)
    assert found["mixed"]["g"] == (2, array("q", [2, 3]), "y", b"z")


def test_the_last_record_of_a_key_stands_and_may_be_a_tombstone():
    registry = MemoryRegistry()
    log = written(registry, MIXED, PLAIN)
    log += written(registry, MIXED, {"f": None, "g": PLAIN["f"]})
    assert unpacked(read(arrivals(log), [MIXED], registry)) == {"mixed": {"f": None, "g": PLAIN["f"]}}


def test_a_table_that_the_service_no_longer_has_is_left_out():
    registry = MemoryRegistry()
    assert read(arrivals(written(registry, MIXED, PLAIN)), [], registry) == {}


@pytest.mark.parametrize(
    "value", [b"", b"rotten", b"\0\0\0\x23\x29\x02"], ids=["empty", "unframed", "unknown"]
)
def test_a_row_that_nobody_can_decode_is_named(value):
    registry = MemoryRegistry()
    log = written(registry, MIXED, PLAIN)
    log.append(Incoming("log", 0, 7, b"mixed/f", value))
    with pytest.raises(BrokenRecordError, match="log/0@7"):
        read(arrivals(log), [MIXED], registry)


def test_a_row_that_is_cut_short_is_named():
    registry = MemoryRegistry()
    log = written(registry, MIXED, PLAIN)
    log.append(log[1]._replace(offset=7, value=log[1].value[:-1]))
    with pytest.raises(BrokenRecordError, match="log/0@7"):
        read(arrivals(log), [MIXED], registry)


def test_a_lane_is_the_same_whether_its_changelog_comes_whole_or_in_parts():
    registry = MemoryRegistry()
    rows = {f"k{n}": ([1, 1, n, n, 1], 100 - n) for n in range(20)}
    log = written(registry, GROUPS, rows)
    log += written(registry, GROUPS, dict.fromkeys(["k3", "k4"]) | {"k5": ([1, 1, 9, 9, 9], 1)})
    log += written(registry, PROGRESS, {"open": Progress(tick=7, trees={"t": Made(b"x")}).row()})
    whole, parts = restored(registry, [log]), restored(registry, [log[:5], log[5:22], log[22:]])
    assert whole.progress == parts.progress == Progress(tick=7, trees={"t": Made(b"x")})
    held = whole.states["groups"].all()
    assert held == parts.states["groups"].all()
    assert [key for key, _ in held] == sorted(rows.keys() - {"k3", "k4"})
    assert whole.states["groups"].due(90) == parts.states["groups"].due(90)


def restored(registry, parts):
    engine = Engine(SERVICE, registry, MemoryArtifacts())
    lane = Lane(SERVICE, Books("p"), 0, SHOP, Encoder(registry), MemoryArtifacts())
    for part in parts:
        engine.restore(lane, arrivals(part))
    return lane
