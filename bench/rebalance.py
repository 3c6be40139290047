"""How long each partition stands still when a replica of features joins, leaves or is killed under load.

    PYTHONPATH=libs:. python -m bench.rebalance [--replicas N] [--rate EVENTS_PER_SECOND]

Validated events of the chaos pipeline, six partitions, come at a steady rate, one tick a second. A reader of committed
records notes when feature vectors come; a stall is the longest gap of a partition. At the end the vectors are those of
an undisturbed run, partition by partition.
"""

import argparse
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus.engine import Engine, decode_plain
from headrace.bus.kafka import consumer, producer, read_all, received, send
from headrace.bus.records import Incoming, Outgoing
from headrace.bus.run import COLLECT
from headrace.bus.schemas import Registry
from headrace.bus.sharing import SharingRunner
from headrace.chaos.shop import STEP, definition, events
from headrace.contracts.topics import CONTROL_TOPICS, FEATURES, LEDGER, PIPELINES, TICKS, VALIDATED, changelog
from headrace.errors import HeadraceError
from headrace.testing.broker import running_kafka
from headrace.testing.loop import MemoryArtifacts, MemoryLoop
from services.clock.handler import Clock
from services.features.service import SERVICE
from services.ingestion.service import SERVICE as INGESTION

PARTITIONS, TICKS_LONG, SLICES = 6, 140, 10
CALM, SOON, LATE, PATIENCE = 10.0, 10.0, 25.0, 300.0  # seconds: nothing, a leave or a join, a kill, a start
SHOP = definition(PARTITIONS)
FORK = multiprocessing.get_context("forkserver")
Told = Callable[[], None]


def undisturbed(rate: int) -> MemoryLoop:
    """Play ingestion and features in memory: what is published, and what has to come out."""
    loop = MemoryLoop(SHOP, (INGESTION, SERVICE), Clock(), max_batch=16_384)
    for step in range(TICKS_LONG):
        made = [(e.record, e.row) for e in events(1, step, rate) if e.row is not None]
        loop.publish((step + 1) * STEP, made)
    loop.publish((TICKS_LONG + 4) * STEP, [], final=True)
    return loop


def replica(bootstrap: str, number: int, registry: Registry, owned: Connection) -> None:
    """Be one replica until SIGTERM; tell which partitions are owned whenever that changes."""
    gc.freeze()
    gc.set_threshold(*COLLECT)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    engine = Engine(SERVICE, registry, MemoryArtifacts())
    runner = SharingRunner(bootstrap, engine, replica=number)
    runner.start(lambda: not stop.is_set(), PATIENCE)
    before: set[int] = set()
    while not stop.is_set():
        runner.pump()
        now = {partition for _, partition in engine.lanes}
        if now != before:
            owned.send(now)
            before = now
    runner.close()


class Replicas:
    """The processes, and which partitions each has."""

    def __init__(self, bootstrap: str, registry: Registry) -> None:
        self._told = (bootstrap, registry)
        self._running: dict[int, tuple[Any, Connection]] = {}
        self._owned: dict[int, set[int]] = {}

    def join(self, number: int) -> None:
        """Start a replica."""
        here, there = FORK.Pipe(duplex=False)
        bootstrap, registry = self._told
        process = FORK.Process(target=replica, args=(bootstrap, number, registry, there), daemon=True)
        process.start()
        there.close()
        self._running[number], self._owned[number] = (process, here), set()

    def end(self, number: int, how: int) -> None:
        """Send a replica a signal."""
        process, _ = self._running.pop(number)
        del self._owned[number]
        os.kill(process.pid, how)
        threading.Thread(target=process.join, daemon=True).start()

    def owned(self) -> dict[int, set[int]]:
        """Return the partitions that each replica says it has."""
        for number, (process, pipe) in self._running.items():
            if process.exitcode is not None:
                raise HeadraceError(f"replica {number} ended with {process.exitcode}")
            while pipe.poll():
                self._owned[number] = pipe.recv()
        return dict(self._owned)

    def spread(self) -> bool:
        """Tell whether every partition has one owner and every replica has some."""
        held = list(self.owned().values())
        return all(held) and sum(map(len, held)) == PARTITIONS

    def close(self) -> None:
        """End all."""
        for number in list(self._running):
            self.end(number, signal.SIGTERM)


class Watch:
    """Notes when committed feature vectors come, by partition."""

    def __init__(self, bootstrap: str) -> None:
        self.seen: dict[int, list[float]] = {p: [] for p in range(PARTITIONS)}
        self._client = consumer(bootstrap, "bench.watch", **{"fetch.wait.max.ms": 10})
        self._client.assign([TopicPartition(FEATURES.name(SHOP.name), p, 0) for p in self.seen])
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            first = self._client.poll(0.5)
            messages = [] if first is None else [first, *self._client.consume(5_000, 0)]
            now = time.monotonic()
            for p in {m.partition() for m in messages if received(m)}:
                self.seen[p].append(now)

    def flowing(self) -> bool:
        """Tell whether every partition moved within the last two seconds."""
        return all(times and time.monotonic() - times[-1] < 2 for times in self.seen.values())  # noqa: PLR2004

    def stalls(self, since: float) -> dict[int, float]:
        """Return the longest gap of each partition that ended after then, in seconds."""
        now = time.monotonic()
        return {
            p: max(b - a for a, b in pairwise([*times, now]) if b >= since) for p, times in self.seen.items()
        }


class Load:
    """Publishes what ingestion and the clock said, tick by tick, one a second."""

    def __init__(self, bootstrap: str, loop: MemoryLoop) -> None:
        self._writer = producer(bootstrap, None, **{"linger.ms": 0})
        log, registry = loop.log, loop.registry
        validated, ledger, ticks = (log.read(t.name(SHOP.name)) for t in (VALIDATED, LEDGER, TICKS))
        self._events, self._marks = by_tick(validated, registry), by_tick(ledger, registry, "ingestion")
        for record, (_, _, fields) in zip(ticks, decode_plain(ticks, registry), strict=True):
            self._marks.setdefault(fields["n"], []).append(record)
        self._send(log.read(PIPELINES.name()))
        self.done = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._flow, daemon=True).start()

    def _flow(self) -> None:
        began = time.monotonic()
        for place, tick in enumerate(sorted(self._marks)):
            found = self._events.get(tick, [])
            size = -(-len(found) // SLICES) or 1
            for n in range(0, len(found), size):
                time.sleep(max(0.0, began + place + n / len(found) - time.monotonic()))
                self._send(found[n : n + size])
            self._send(self._marks[tick])
        self.done.set()

    def _send(self, records: Sequence[Incoming]) -> None:
        send(self._writer, [Outgoing(r.topic, r.partition, r.key, r.value, r.headers) for r in records])
        self._writer.flush(PATIENCE)


def by_tick(
    records: Sequence[Incoming], registry: Registry, service: str | None = None
) -> dict[int, list[Incoming]]:
    """Return records by their tick, of one service where the ledger is asked; mixed as they would come."""
    found: dict[int, list[Incoming]] = {}
    told = zip(records, decode_plain(records, registry), strict=True)
    for record, (_, _, fields) in sorted(told, key=lambda item: item[0].offset):
        if service in (None, fields.get("service")):
            found.setdefault(fields["tick"], []).append(record)
    return found


def within(what: str, done: Callable[[], bool]) -> None:
    """Return when ``done`` says so; raise HeadraceError with ``what`` when it takes too long."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise HeadraceError(what, f"waited {PATIENCE:g} s")
        time.sleep(0.05)


def watched(replicas: Replicas, watch: Watch, what: str, seconds: float, act: Told) -> None:
    """Do something and print how long the partitions that it moved, and the others, stood still."""
    before, since = replicas.owned(), time.monotonic()
    act()
    time.sleep(seconds)
    within(f"{what}: not every partition came back", lambda: replicas.spread() and watch.flowing())
    stalls, after = watch.stalls(since), replicas.owned()
    moved = {p for p in stalls if owner(before, p) != owner(after, p)}
    told = [f"{what:24}"]
    for name, group in (("moved", moved), ("stayed", stalls.keys() - moved)):
        told.append(f"{len(group)} {name}: {max((stalls[p] for p in group), default=0.0):6.2f} s")
    print("   ".join(told), flush=True)


def owner(held: dict[int, set[int]], partition: int) -> int | None:
    """Return the replica that has a partition."""
    return next((number for number, owned in held.items() if partition in owned), None)


def play(bootstrap: str, loop: MemoryLoop, count: int) -> None:
    """Start the replicas, then let one leave, join and be killed."""
    create(bootstrap)
    replicas, watch, last = Replicas(bootstrap, loop.registry), Watch(bootstrap), count - 1
    load = Load(bootstrap, loop)
    for number in range(count):
        replicas.join(number)
    within("the replicas do not share the partitions", replicas.spread)
    load.start()
    within("nothing comes out", watch.flowing)
    watched(replicas, watch, "nothing happens", CALM, lambda: None)
    watched(replicas, watch, "one leaves (SIGTERM)", SOON, lambda: replicas.end(last, signal.SIGTERM))
    watched(replicas, watch, "one joins", SOON, lambda: replicas.join(last))
    watched(replicas, watch, "one is killed (SIGKILL)", LATE, lambda: replicas.end(last, signal.SIGKILL))
    watched(replicas, watch, "one joins", SOON, lambda: replicas.join(last))
    if load.done.is_set():
        print("the events came to an end before the replicas did: the stalls are not to be trusted")
    name = FEATURES.name(SHOP.name)
    wanted = bodies(loop.log.read(name))
    load.done.wait(PATIENCE)
    within(
        "the vectors are not those of an undisturbed run", lambda: bodies(found(bootstrap, name)) == wanted
    )
    replicas.close()
    print(f"{sum(map(len, wanted.values())):,} vectors, those of an undisturbed run, each once and in order")


def found(bootstrap: str, topic: str) -> list[Incoming]:
    """Return all committed records of a topic."""
    time.sleep(1)
    return [r for p in range(PARTITIONS) for r in read_all(bootstrap, topic, p)]


def bodies(records: Sequence[Incoming]) -> dict[int, list[bytes]]:
    """Return the bodies of each partition, in order."""
    return {p: [(r.value or b"")[5:] for r in records if r.partition == p] for p in range(PARTITIONS)}


def create(bootstrap: str) -> None:
    """Create the topics."""
    single = [*(t.name() for t in CONTROL_TOPICS), TICKS.name(SHOP.name), LEDGER.name(SHOP.name)]
    wide = [VALIDATED.name(SHOP.name), FEATURES.name(SHOP.name), changelog("features", SHOP.name)]
    made = [NewTopic(n, 1, 1) for n in single] + [NewTopic(n, PARTITIONS, 1) for n in wide]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(made).values():
        future.result(PATIENCE)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--rate", type=int, default=120)
    asked = parser.parse_args()
    loop = undisturbed(asked.rate)
    try:
        for settings in running_kafka():
            play(settings.bootstrap, loop, asked.replicas)
    except HeadraceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
