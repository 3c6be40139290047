"""Keys per second that a lane takes back from its changelog on a real broker, when a replica takes it over.

    PYTHONPATH=libs:. python -m bench.restore [--keys N ...] [--times M]

The changelog holds window state of the bench's pipeline, each key ``--times`` times, as compaction leaves it or before.
"""

import argparse
import gc
import time
from array import array
from collections.abc import Iterator

from confluent_kafka.admin import AdminClient, NewTopic

from bench.job import BEGIN, PIPELINE
from headrace.bus.blocks import Block
from headrace.bus.books import Books
from headrace.bus.changelog import PROGRESS, Progress, entries
from headrace.bus.encode import Encoder
from headrace.bus.engine import Engine
from headrace.bus.inbox import read_columns
from headrace.bus.kafka import producer, send_block
from headrace.bus.lane import Lane
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.run import COLLECT
from headrace.bus.service import Row
from headrace.local.settings import Settings
from headrace.sources.pipelines import find
from headrace.testing.broker import running_broker
from headrace.testing.loop import MemoryArtifacts
from services.features.service import SERVICE

SIZES = (10_000, 100_000, 1_000_000)
TILE, TILES, BLOCK, WARM = 300_000_000, 3, 16_384, 1_000
WINDOW = 1 << 47  # as large as the number of a window may be


def rows(keys: int) -> Iterator[tuple[str, Row]]:
    """Yield the window state of keys: one window with three tiles each, as an hour of readings leaves it."""
    for n in range(keys):
        tiles = [BEGIN // TILE + n % 7 + i for i in range(TILES)]
        cells = [WINDOW, TILES, *tiles, *(100 * n + i for i in range(TILES)), *range(1, 1 + TILES)]
        yield f"Reading.device.device|device-{n:06d}", (array("q", cells), TILE * (tiles[-1] + 24))


def changelog(encoder: Encoder, topic: str, keys: int, times: int) -> Iterator[list[Block]]:
    """Yield the blocks of a changelog, a transaction at a time."""
    table, held = SERVICE.tables[0], list(rows(keys))
    for n in range(times):
        for start in range(0, keys, BLOCK):
            done = Progress(tick=1 + n, records_in=start)
            yield entries(encoder, topic, 0, table, dict(held[start : start + BLOCK])) + entries(
                encoder, topic, 0, PROGRESS, {"open": done.row()}
            )


def measured(settings: Settings, keys: int, times: int) -> tuple[float, float]:
    """Return how many keys a lane takes back in a second, and in a second of this process's own work."""
    registry, definition = ConfluentRegistry(settings.registry_url), find("bench", PIPELINE)
    encoder = Encoder(registry)
    engine = Engine(SERVICE, registry, MemoryArtifacts())
    lane = Lane(SERVICE, Books(f"k{keys}"), 0, definition, encoder, MemoryArtifacts())
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.create_topics([NewTopic(lane.changelog, 1, 1)])[lane.changelog].result(30)
    writer = producer(settings.bootstrap, lane.changelog)
    writer.init_transactions(30)
    for blocks in changelog(encoder, lane.changelog, keys, times):
        writer.begin_transaction()
        for block in blocks:
            send_block(writer, block)
        writer.commit_transaction(30)
    began, worked = time.perf_counter(), time.process_time()
    for found in read_columns(settings.bootstrap, lane.changelog, 0):
        engine.restore(lane, found)
    took, worked = time.perf_counter() - began, time.process_time() - worked
    held = lane.states[SERVICE.tables[0].name].all()
    assert held == sorted(rows(keys)), "the state is not what was written"  # noqa: S101 -- a bench checks its output
    return keys / took, keys / worked


def main() -> None:
    """Measure each size and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, nargs="+", default=SIZES)
    parser.add_argument("--times", type=int, default=1)
    asked = parser.parse_args()
    gc.freeze()
    gc.set_threshold(*COLLECT)  # as a service has it
    for settings in running_broker():
        measured(settings, WARM, 1)
        for keys in asked.keys:
            wall, own = measured(settings, keys, asked.times)
            print(f"{keys:9,} keys  {wall:9,.0f} keys/s  {own:9,.0f} keys/s of own work", flush=True)


if __name__ == "__main__":
    main()
