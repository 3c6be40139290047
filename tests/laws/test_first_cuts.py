"""What a replica that begins finds on the log: raw records lie in the ticks that are there, however they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.topics import LEDGER, TICKS
from headrace.testing.loop import MemoryLoop, Mischief
from services.clock.handler import Clock
from services.features.service import SERVICE as FEATURES
from services.ingestion.service import SERVICE as INGESTION
from tests.laws.shop import HOUR, SHOP


def orders(step, count):
    rows = [
        {"order_id": f"{step}-{n}", "shop": "a", "amount": 1.0, "at": step * HOUR + n} for n in range(count)
    ]
    return [("Order", row) for row in rows]


@pytest.mark.parametrize("fused", [False, True])
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 3))
def test_a_tick_that_was_there_cuts_where_it_says(fused, counts, reads):
    loop = MemoryLoop(SHOP, [], Clock(), mischief=Mischief(0, reads=reads))
    for step, count in enumerate(counts):
        loop.publish((step + 1) * HOUR, orders(step, count))
    ticks = [fields["raw"]["0"] for _, fields in loop.records(TICKS)]
    assert len(ticks) == len(counts)
    loop.switch([INGESTION, FEATURES], [INGESTION, FEATURES] if fused else [])
    loop.run()
    entries = [e for _, e in loop.records(LEDGER) if e["service"] == "ingestion"]
    assert [entry["raw_to"] for entry in entries] == ticks
    assert [entry["records_in"] for entry in entries] == counts
