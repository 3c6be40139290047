"""Drift as a Faust process on a real broker: it answers every tick, once, whatever kills it."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import producer, read_all, send
from headrace.bus.registry import ConfluentRegistry
from headrace.contracts.topics import (
    CONTROL_TOPICS,
    DRIFT,
    LEDGER,
    PIPELINE_TOPICS,
    PIPELINES,
    PROFILES,
    RETRAIN,
)
from headrace.pipeline.definition import Definition
from headrace.stats import profiles
from headrace.testing.broker import free_ports, running_broker
from headrace.testing.upstream import Counted, Upstream

pytestmark = pytest.mark.broker
HOUR = 3_600_000_000
TICKS = 40
PARCEL = {
    "type": "record",
    "name": "Parcel",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "size", "type": "double"},
    ],
}


def definition(name):
    return Definition.model_validate(
        {
            "name": name,
            "task": "regression",
            "records": {
                "Parcel": {"contract": PARCEL, "role": "event", "id": "id", "key": ["id"], "time": "at"},
                "Scan": {"contract": PARCEL, "role": "label", "id": "id", "key": ["id"], "time": "at", "joins": "id"},
            },
            "label": {"record": "Scan", "sql": "size"},
            "features": {"rows": [{"name": "size", "sql": "size"}]},
            "estimator": {"path": "sklearn.linear_model:Ridge"},
            "prior": {"value": 0.0},
            "drift": {"block": "1h", "reference_blocks": 12, "false_alarm_blocks": 12},
        }
    )  # fmt: skip


def hour(number):
    """Count one hour of parcels, which are larger from hour 21 on."""
    chance = np.random.default_rng(number)
    sizes = chance.normal(10 if number <= 20 else 15, 2, 80)
    inputs = profiles.profile(
        [profiles.feature("size", "number", sizes)], profiles.scores(sizes, probability=False)
    )
    losses = profiles.quality(chance.normal(1, 0.1, 80))
    return [Counted("serving", "m1", inputs), Counted("monitoring", "m1", profiles.profile([], {}, losses))]


class Stage:
    """Plays everybody upstream of drift on a broker."""

    def __init__(self, settings):
        self.settings, self.registry = settings, ConfluentRegistry(settings.registry_url)
        self.admin = AdminClient({"bootstrap.servers": settings.bootstrap})
        self.out = producer(settings.bootstrap, "test-upstream")
        self.out.init_transactions(120)
        self.upstreams = {}

    def create(self, names):
        missing = set(names) - set(self.admin.list_topics(timeout=10).topics)
        for done in self.admin.create_topics([NewTopic(name, 1, 1) for name in missing]).values():
            done.result(120)

    def register(self, name):
        self.create(t.name(name) for t in PIPELINE_TOPICS)
        upstream = self.upstreams[name] = Upstream(definition(name), self.registry)
        self.transact(upstream.registered())
        upstream.cut = read_all(self.settings.bootstrap, PIPELINES.name(), 0)[-1].offset + 1

    def transact(self, records):
        self.out.begin_transaction()
        send(self.out, records)
        self.out.commit_transaction(15)

    def tick(self, name, n):
        """Issue a tick and close it, serving and monitoring in a transaction each, an aborted one between them."""
        upstream, counted = self.upstreams[name], hour(n)
        self.transact(upstream.tick(n, n * HOUR))
        entries = upstream.entries(n, n * HOUR, counted)
        for said, entry in zip(counted, entries, strict=True):
            self.transact([*upstream.profiles(n, n * HOUR, [said]), entry])
            self.out.begin_transaction()
            send(self.out, upstream.profiles(n, n * HOUR, [said]))
            self.out.flush(10)  # an abort with sends in flight is fatal
            self.out.abort_transaction(15)

    def said(self, topic, pipeline):
        records = read_all(self.settings.bootstrap, topic.name(pipeline), 0)
        found = [fields for _, _, fields in decode_plain(records, self.registry)]
        return [f for f in found if f["pipeline"] == pipeline and f.get("service", "drift") == "drift"]

    def wait(self, name, tick, seconds=60):
        deadline = time.monotonic() + seconds
        while not any(entry["tick"] >= tick for entry in self.said(LEDGER, name)):
            assert time.monotonic() < deadline, f"tick {tick} of {name} is not closed"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def stage():
    """Yield a stage on a broker of its own: drift follows every pipeline there is, and one of them is broken."""
    with contextmanager(running_broker)() as settings:
        stage = Stage(settings)
        stage.create(t.name() for t in CONTROL_TOPICS)
        yield stage


@contextmanager
def drift(settings, **extra):
    (port,) = free_ports(1)
    environment = {**settings.environment(), "HEADRACE_METRICS_PORT": str(port), **extra}
    with (settings.home / "drift.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.drift"], env=environment, stdout=log, stderr=log
        )
    process.health = f"http://127.0.0.1:{port}/health"
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def once(records):
    """Return records without those that are the same to the last field as one before them."""
    return list({repr(sorted(r.items())): r for r in records}.values())


def test_every_tick_is_answered_once_through_kills_and_a_signal_ends_it_well(stage):
    """A death between a tick's records and its ledger entry gives the same records again, under the same ids."""
    stage.register("killed")
    for first, last, waits in ((1, 15, 15), (16, 30, 25), (31, TICKS, TICKS)):
        with drift(stage.settings) as process:
            for n in range(first, last + 1):
                stage.tick("killed", n)
            stage.wait("killed", waits)  # and then killed with -9, somewhere in its work
            if last == TICKS:
                process.send_signal(signal.SIGTERM)
                assert process.wait(240) == 0
    assert [e["tick"] for e in stage.said(LEDGER, "killed")] == list(range(1, TICKS + 1))
    signals, requests = once(stage.said(DRIFT, "killed")), once(stage.said(RETRAIN, "killed"))
    assert len({s["signal_id"] for s in signals}) == len(signals) > 0
    assert [r["cause_id"] for r in requests] == [s["signal_id"] for s in signals if s["level"] == "alarm"]
    for entry in stage.said(LEDGER, "killed"):
        assert entry["records_in"] == 2
        emitted = sum(s["tick"] == entry["tick"] for s in signals)
        assert entry["records_out"].get(DRIFT.name("killed"), 0) == emitted


def test_a_new_pipeline_ends_the_process_well(stage):
    stage.register("early")
    with drift(stage.settings) as process:
        deadline = time.monotonic() + 240
        while not healthy(process) and time.monotonic() < deadline:
            time.sleep(0.2)
        stage.register("later")
        assert process.wait(240) == 0


def test_a_tick_that_stands_open_ends_the_process_badly(stage):
    """The application cannot close a tick whose counted profiles never come: the watch ends it."""
    stage.register("stuck")
    upstream = stage.upstreams["stuck"]
    with drift(stage.settings, HEADRACE_DRIFT_PATIENCE="2") as process:
        stage.transact([*upstream.tick(1, HOUR), *upstream.entries(1, HOUR, hour(1))])
        assert process.wait(240) == 1


def test_a_broken_record_ends_the_process_badly(stage):
    """The last one: no drift process can pass the record after it."""
    stage.register("broken")
    out = producer(stage.settings.bootstrap)
    with drift(stage.settings) as process:
        out.produce(PROFILES.name("broken"), b"no Avro")
        out.flush(10)
        assert process.wait(240) == 1


def healthy(process):
    try:
        return httpx.get(process.health).status_code == 200
    except httpx.ConnectError:
        return False
