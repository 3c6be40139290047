"""Events per second of each data-plane stage alone, in memory: what the code costs without broker and client.

    PYTHONPATH=libs:. python -m bench.stages [--events N] [--keys K] [--collect] [--profile STAGE]

``--collect`` leaves Python's garbage collector as it comes. The digests tell whether a change kept every bit.
"""

import argparse
import cProfile
import gc
import hashlib
import pstats
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.bus.observer import Said
from headrace.bus.records import Outgoing
from headrace.bus.run import COLLECT
from headrace.bus.schemas import codec, record_schema
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.frame import header
from headrace.contracts.topics import (
    EVENTS,
    FEATURES,
    LEDGER,
    PREDICTIONS,
    RECEIPTS,
    REJECTED,
    STEPS,
    VALIDATED,
)
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock
from services.features.service import SERVICE as FEATURE_SERVICE
from services.ingestion.service import SERVICE as INGESTION
from services.serving.service import SERVICE as SERVING
from tests.laws.shop import HOUR, SHOP

STAGES = (INGESTION, FEATURE_SERVICE, SERVING)
WRITTEN = (VALIDATED, REJECTED, RECEIPTS, FEATURES, PREDICTIONS, LEDGER)
HOURS = 10


def orders(events: int, keys: int) -> pa.RecordBatch:
    """Return orders of ``keys`` shops in the order of their times, one in a hundred of them refused."""
    chance = np.random.default_rng(1)
    schema = arrow_schema(record_schema(EVENTS, "Order", SHOP))
    columns = {
        "order_id": [f"o{n}" for n in range(events)],
        "shop": [f"k{n}" for n in chance.integers(0, keys, events)],
        "amount": chance.random(events) * 80 - 0.8,
        "at": pa.array(np.sort(chance.integers(0, HOURS * HOUR, events)), schema.field("at").type),
    }
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def published(loop: MemoryLoop, columns: pa.RecordBatch) -> None:
    """Append the orders hour by hour and ask for the tick of each."""
    schema = record_schema(EVENTS, "Order", SHOP)
    schema_id = loop.registry.register(EVENTS.name(SHOP.name), schema)
    values = codec(schema).encode(columns, header(schema_id))
    keys = [key.encode() for key in columns["shop"].to_pylist()]
    ends = np.searchsorted(columns["at"].cast(pa.int64()).to_numpy(), np.arange(HOURS + 1) * HOUR)
    for step, (begin, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        loop.log.append(Outgoing(EVENTS.name(SHOP.name), 0, keys[n], values[n]) for n in range(begin, end))
        asked = {
            "pipeline": SHOP.name,
            "step": step,
            "time": (step + 1) * HOUR,
            "raw": {"0": end},
            "final": False,
        }
        loop.say(Said(STEPS, "StepRequested", asked))
        loop.run_clock()


def timed(loop: MemoryLoop, profiled: str) -> Iterator[tuple[str, float]]:
    """Yield the seconds that each stage takes for all that lies before it."""
    for runner in loop.runners:
        profile = cProfile.Profile()
        name = runner.engine.service.name
        began = time.perf_counter()
        if name == profiled:
            profile.enable()
        while runner.pump():
            pass
        profile.disable()
        yield name, time.perf_counter() - began
        if name == profiled:
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def digest(loop: MemoryLoop, topic: Any) -> str:
    """Return a short hash of all that a topic holds."""
    found = hashlib.sha256()
    for r in loop.log.read(topic.name(SHOP.name)):
        found.update(repr((r.key, r.value, list(r.headers))).encode())
    return found.hexdigest()[:12]


def main() -> None:
    """Run the stages one after the other and print what each made of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--collect", action="store_true")
    parser.add_argument("--profile", default="")
    asked = parser.parse_args()
    if not asked.collect:
        gc.set_threshold(*COLLECT)
    loop = MemoryLoop(SHOP, STAGES, Clock(), max_batch=16_384)
    loop.run()
    published(loop, orders(asked.events, asked.keys))
    for name, seconds in timed(loop, asked.profile):
        print(f"{name:10} {asked.events / seconds:9,.0f} events/s")
    for topic in WRITTEN:
        print(f"{topic.stream:12} {len(loop.log.read(topic.name(SHOP.name))):7} {digest(loop, topic)}")


if __name__ == "__main__":
    main()
