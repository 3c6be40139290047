"""A thousand dead letters on a real broker: repaired twice by the command, each submitted again once."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from headrace.bus.commanding import say
from headrace.bus.encode import Encoder
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import producer, read_from, send
from headrace.bus.observer import Said
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.service import Emit
from headrace.cli.dlq import app
from headrace.contracts import catalogue
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.topics import COMMANDS, EVENTS, PIPELINES, REJECTED
from headrace.sources import pipelines
from headrace.sources.source import Step
from headrace.sources.validation import typed
from headrace.sources.wire import Wire

pytestmark = pytest.mark.broker
LETTERS = 1_000
FLIGHTS = pipelines.find("flights", Path("pipelines")).model_copy(update={"name": "letters"})
ROW = {
    "year": 2013, "month": 1, "day": 1, "departed_at": "2013-01-01T10:00:00Z", "dep_delay": 9_000,
    "pushed_back_at": "2013-01-01T10:00:00Z", "carrier": "UA", "flight": 1, "tailnum": "N1", "origin": "EWR",
    "dest": "IAH", "distance": 1_400, "hour": 5, "minute": 0, "weekday": 2, "scheduled_at": "2013-01-01T10:00:00Z",
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(broker):
    """Registered pipeline, with its dead letters; nothing else runs."""
    registry = ConfluentRegistry(broker.registry_url)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topics = {t.name("letters") for t in (EVENTS, REJECTED, COMMANDS, PIPELINES)}
    missing = topics - set(admin.list_topics(timeout=10).topics)
    for done in admin.create_topics([NewTopic(t, 1, 1) for t in missing]).values():
        done.result(120)
    told = {
        "pipeline": "letters", "tick": -1, "digest": FLIGHTS.digest, "definition": FLIGHTS.canonical(), "stages": [],
    }  # fmt: skip
    say(broker.bootstrap, registry, Said(PIPELINES, "PipelineRegistered", told), FLIGHTS)
    out = producer(broker.bootstrap)
    send(out, Encoder(registry).encode(REJECTED, [refused(registry)], None, 0, 1, FLIGHTS))
    assert out.flush(120) == 0
    return broker, registry


def refused(registry):
    names = arrow_schema(FLIGHTS.records["Departure"].contract).names
    rows = [{n: ROW.get(n) for n in names} | {"event_id": f"e{n}"} for n in range(LETTERS)]
    columns = typed(FLIGHTS, "Departure", rows)
    index = np.arange(LETTERS, dtype=np.int32)
    step = Step(0, 0, {"Departure": columns}, np.zeros_like(index), index)
    example = catalogue.example("Rejection")
    letters = [
        example
        | {
            "rejection_id": f"r{n}", "event_id": f"e{n}", "entity_key": "UA:1", "record": "Departure", "raw": r.value,
            "headers": [], "event_time": None, "rule": "delay-possible",
            "origin": {"topic": EVENTS.name("letters"), "partition": 0, "offset": 10_000 + n, "ordinal": 0},
        }
        for n, r in enumerate(Wire(FLIGHTS, registry, "test").records(step))
    ]  # fmt: skip
    return Emit("Rejection", pa.RecordBatch.from_pylist(letters, arrow_schema(catalogue.schema("Rejection"))))


def run(broker, monkeypatch, *arguments):
    monkeypatch.setenv("HEADRACE_KAFKA_PORT", str(broker.kafka_port))
    monkeypatch.setenv("HEADRACE_REGISTRY_PORT", str(broker.registry_port))
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def raw(broker, registry):
    records, _ = read_from(broker.bootstrap, EVENTS.name("letters"), 0, 0)
    return decode_plain(records, registry), records


def test_letters_are_repaired_once_and_discarded_by_an_event(stage, monkeypatch):
    broker, registry = stage
    assert len(run(broker, monkeypatch, "list", "letters")) == LETTERS
    put_away = ("discard", "letters", "--id", "r0", "--why", "a test", "--yes")
    assert run(broker, monkeypatch, *put_away) == [{"letters": 1, "refused": 0, "done": True}]

    dry = ("repair", "letters", "--set", "dep_delay=9")
    assert run(broker, monkeypatch, *dry) == [{"letters": LETTERS - 1, "refused": 0, "done": False}]
    assert raw(broker, registry)[1] == []
    assert run(broker, monkeypatch, *dry, "--yes") == [{"letters": LETTERS - 1, "refused": 0, "done": True}]
    assert run(broker, monkeypatch, *dry, "--yes") == [{"letters": 0, "refused": 0, "done": True}]

    told, records = raw(broker, registry)
    assert sorted(f["event_id"] for _, _, f in told) == sorted(f"e{n}" for n in range(1, LETTERS))
    assert {f["dep_delay"] for _, _, f in told} == {9}
    assert all(dict(r.headers)["repaired_from"].startswith(b"letters.events.v1/0@1") for r in records)
    assert run(broker, monkeypatch, "list", "letters") == []
