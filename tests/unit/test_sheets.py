"""Records that stand on one sheet are what they would be alone."""

from weakref import ref

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.changelog import Progress
from headrace.bus.encode import SHEET, Encoder, block, values
from headrace.bus.ledger import ledger_entry
from headrace.bus.schemas import MemoryRegistry
from headrace.bus.service import Emit, Tick
from headrace.contracts.topics import LEDGER, RECEIPTS, VALIDATED
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock
from services.ingestion.service import SERVICE
from tests.laws.shop import HOUR, SHOP

ORIGIN = {"topic": "t", "partition": 0, "offset": 0, "ordinal": 0}
RECEIPT = {
    "event_id": None, "entity_key": "k", "event_time": None, "tick": 1, "record": "Order", "rule": "r",
    "severity": "reject", "path": "p", "expected": "x", "actual": "y", "hint": "h", "origin": ORIGIN,
}  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=6)


def receipts(count, number):
    rows = [RECEIPT | {"receipt_id": f"{number}-{n}", "event_id": f"e{n}"} for n in range(count)]
    return RECEIPTS, Emit("Receipt", pa.RecordBatch.from_pylist(rows))


def entries(_, number):
    tick = Tick("shop", number, 0)
    return LEDGER, Emit("LedgerEntry", ledger_entry("ingestion", 0, tick, Progress(), number))


def written(steps, made, encoder_of):
    """Return blocks and values of steps that are all typed before the first is asked for."""
    typed = []
    for number, (count, partition, tick) in enumerate(steps):
        topic, emit = made(count, number)
        typed.append((encoder_of().typed(topic, [emit], None, SHOP), partition, tick))
    blocks = [list(block(parts, partition, tick)) for parts, partition, tick in typed]
    return blocks, [values(parts).to_pylist() for parts, _, _ in typed]


@given(STEPS)
def test_what_is_encoded_together_is_what_it_is_alone(steps):
    registry = MemoryRegistry()
    for made in (receipts, entries):  # with an id of their own, and without: those are numbered
        shared = Encoder(registry)
        together = written(steps, made, lambda shared=shared: shared)
        alone = written(steps, made, lambda: Encoder(registry))
        assert together == alone


def test_a_sheet_is_shared_until_somebody_asks_or_it_is_full():
    encoder = Encoder(MemoryRegistry())

    def sheet(count):
        topic, emit = receipts(count, 0)
        (one,) = encoder.typed(topic, [emit], None, SHOP)
        return one.sheet

    first = sheet(SHEET - 1)
    assert sheet(1) is first
    second = sheet(1)
    assert second is not first
    assert len(second.values) == 1
    assert sheet(1) is not second
    full = ref(sheet(SHEET))
    assert full() is None, "it is held by nobody but those whose records stand on it"


def test_a_transaction_of_very_many_small_pieces_is_written():
    """Each digest asks the one before it; a thousand such questions are more than Python nests."""
    loop = MemoryLoop(SHOP, [SERVICE], Clock(), max_batch=1)
    events = [("Order", {"order_id": f"o{n}", "shop": "a", "amount": 1.0, "at": n}) for n in range(600)]
    loop.publish(HOUR, events)
    assert len(loop.records(VALIDATED)) == len(events)
