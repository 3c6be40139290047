"""The console's fold, API and page over what the real services say in memory."""

import shutil
import socket
import subprocess
import threading
from collections import Counter

import pytest
import uvicorn
from fastapi.testclient import TestClient
from shown import Held, played

from headrace.contracts.topics import LEDGER, OUTCOMES, PREDICTIONS
from headrace.errors import ConfigurationError
from headrace.local.settings import Settings
from headrace.testing.tampering import tampered
from services.console.__main__ import listen
from services.console.api import PAGE, console
from services.console.handler import FLOW, status
from services.console.service import neighbours
from services.console.settings import ConsoleSettings

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def loop():
    return played()


@pytest.fixture(scope="module")
def source(loop):
    return Held(loop)


@pytest.fixture(scope="module")
def client(source):
    return TestClient(console(source), base_url="http://127.0.0.1")


def test_counts_are_what_the_topics_hold(client, loop):
    (told,) = client.get("/api/pipelines").json()
    assert told["predictions"] == len(loop.records(PREDICTIONS))
    assert told["outcomes"] == len(loop.records(OUTCOMES))
    assert (told["champion"], told["decisions"]["Promoted"]) == ("coins v1", 2)
    steep = [p for _, p in loop.records(PREDICTIONS) if p["quarantined_by"] == "steep"]
    assert told["quarantined"] == len(steep) > 0


def test_services_come_in_the_order_of_flow_and_only_stages_have_an_open_tick(client):
    (told,) = client.get("/api/status").json()["pipelines"]
    assert [s["name"] for s in told["services"]] == list(FLOW)
    others = {s["name"] for s in told["services"] if not s["stage"]}
    assert others == {"clock", "rekey", "drift", "audit", "console"}  # this pipeline moves no records
    assert {s["open_tick"] for s in told["services"] if s["stage"]} == {told["tick"] + 1}
    assert [s["name"] for s in told["services"] if not s["healthy"]] == ["drift"]


def test_a_stage_that_stopped_is_behind_in_ticks_and_seconds(loop):
    ledger = LEDGER.name("coins")
    whole, entries = list(loop.log.partitions[ledger, 0]), loop.records(LEDGER)
    with tampered(loop.log, ledger) as held:
        held[:] = [
            r
            for r, (_, e) in zip(whole, entries, strict=True)
            if not (e["service"] == "serving" and e["tick"] > 20)
        ]
    (told,) = status(Held(loop).report(), {})["pipelines"]
    with tampered(loop.log, ledger) as held:
        held[:] = whole
    (serving,) = [s for s in told["services"] if s["name"] == "serving"]
    assert (serving["open_tick"], serving["ticks_behind"], serving["seconds_behind"]) == (21, 4, 0.3)
    assert serving["healthy"] is None


def test_a_service_that_the_drawing_does_not_know_comes_last():
    stage = {"name": "enrich", "lag": {"ticks": 0, "seconds": 0.0}}
    report = {"tick": 1, "services": [stage | dict.fromkeys(("records_in", "records_out", "rejected"), 0)]}
    (told,) = status([report], {"console": True})["pipelines"]
    assert [s["name"] for s in told["services"]] == ["console", "enrich"]


def test_decisions_come_newest_first_and_no_more_than_asked(client):
    told = client.get("/api/pipelines/coins/decisions?limit=3").json()
    assert [d["record"] for d in told] == ["RolledBack", "RollbackRequested", "Promoted"]
    assert client.get("/api/pipelines/coins/decisions?limit=0").status_code == 422


def test_events_are_the_last_of_each_kind_newest_first(client, loop):
    told = client.get("/api/pipelines/coins/events?limit=5").json()
    assert Counter(e["record"] for e in told) == {"Prediction": 5, "Outcome": 5, "Receipt": 5}
    predicted = [e["event_id"] for e in told if e["record"] == "Prediction"]
    assert predicted == [f["event_id"] for _, f in loop.records(PREDICTIONS)[:-6:-1]]


def test_what_is_not_there_is_said_to_be(client):
    assert client.get("/api/pipelines/dice/events").status_code == 404
    assert client.get("/api/nothing").status_code == 404


def test_a_page_from_elsewhere_cannot_read_the_console(client):
    assert client.get("/api/status", headers={"host": "evil.example"}).status_code == 400


def test_nothing_is_fetched_from_elsewhere(client):
    assert client.get("/").status_code == 200
    text = "".join(path.read_text() for path in PAGE.iterdir()).replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text
    assert client.get("/docs").status_code == 404
    assert "/api/status" in client.get("/openapi.json").json()["paths"]


def test_the_port_that_was_asked_for_is_taken_or_refused_and_the_usual_one_can_give_way():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(taken)):
            listen(ConsoleSettings(port=taken))
        with listen(ConsoleSettings.model_construct(_fields_set=set(), port=taken)) as listening:
            assert listening.getsockname()[0] == "127.0.0.1"
            assert listening.getsockname()[1] != taken


def test_the_health_of_the_others_is_asked_where_the_launcher_put_it():
    ports = neighbours(Settings(metrics_port=9103))
    assert ports["console"] == 9103
    assert (ports["audit"], ports["clock"]) == (9101, 9102)


@pytest.fixture
def address(source):
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(console(source), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_a_browser_draws_services_decisions_and_events(address, tmp_path):
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    more = f"--disable-component-update --disable-sync --user-data-dir={tmp_path} --virtual-time-budget=3000"
    command = [CHROMIUM, *flags.split(), *more.split(), "--dump-dom", address]
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert all(f'data-service="{name}"' in page for name in FLOW)
    assert "open tick 25" in page
    assert "<dt>quarantined</dt><dd>0</dd>" not in page
    assert "<dt>quarantined</dt>" in page
    assert "rolled back to version 1 by ada: &lt;b&gt;worse&lt;/b&gt; on Mondays" in page
    assert "coins v2 (ok)" in page
    assert 'role="status" class="">as of' in page
