"""What a service says of its state is the same for the same state."""

from types import SimpleNamespace

import pyarrow as pa

from headrace.bus.rows import State
from headrace.bus.service import Table
from headrace.chaos.state import digests

TABLE = Table(
    "held", pa.schema([("scores", pa.map_(pa.string(), pa.float64())), ("many", pa.list_(pa.int64()))])
)


def told(row):
    state = State(TABLE)
    state.restore({"key": row})
    return digests([SimpleNamespace(lanes={("p", 0): SimpleNamespace(states={"held": state})})])


def test_the_pairs_of_a_map_count_in_any_order_and_those_of_a_list_in_theirs():
    one = told(([("yes", 0.25), ("no", 0.75)], [2, 1]))
    assert one == told(([("no", 0.75), ("yes", 0.25)], [2, 1]))
    assert one != told(([("no", 0.25), ("yes", 0.75)], [2, 1]))
    assert one != told(([("no", 0.75), ("yes", 0.25)], [1, 2]))
    assert told((None, [])) != told(([], []))
