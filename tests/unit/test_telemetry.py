"""What a service says about itself."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import CheckError, ConfigurationError, HeadraceError, UnreachableError
from headrace.telemetry.health import Health
from headrace.telemetry.logs import Logfmt, last_words


@pytest.fixture
def health() -> Iterator[Health]:
    served = Health("features")
    served.serve(0)
    yield served
    served.close()


def ask(health: Health, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{health.port}{path}")


def test_a_service_is_unavailable_until_it_is_ready(health: Health) -> None:
    assert ask(health, "/health").status_code == 503
    health.ready()
    assert ask(health, "/health").status_code == 200


def test_a_failed_service_says_why_and_stays_failed(health: Health) -> None:
    health.failed(ValueError("no such model"))
    health.ready()
    answer = ask(health, "/health")
    assert (answer.status_code, answer.json()["error"]) == (503, "no such model")


def test_health_names_the_open_tick_of_every_lane(health: Health) -> None:
    health.tick("flights", 1, 8)
    health.tick("flights", 0, 9)
    assert ask(health, "/health").json()["open_ticks"] == {"flights": {"0": 9, "1": 8}}


def test_metrics_tell_lag_in_ticks(health: Health) -> None:
    health.tick("flights", 0, 9, newest=10)
    line = 'headrace_lag_ticks{partition="0",pipeline="flights",service="features"} 2.0'
    assert line in ask(health, "/metrics").text


def test_a_lane_that_closed_the_newest_tick_does_not_lag(health: Health) -> None:
    health.tick("calm", 0, 11, newest=10)
    assert 'pipeline="calm",service="features"} 0.0' in ask(health, "/metrics").text


def test_other_paths_are_unknown(health: Health) -> None:
    assert ask(health, "/secrets").status_code == 404


def test_a_taken_port_is_named(health: Health) -> None:
    assert health.port is not None
    with pytest.raises(ConfigurationError, match=str(health.port)):
        Health("serving").serve(health.port)


@given(st.text())
def test_a_log_line_is_one_line_whatever_the_message(message: str) -> None:
    record = logging.LogRecord("headrace.bus", logging.INFO, __file__, 1, message, (), None)
    line = Logfmt("features").format(record)
    assert len(line.splitlines()) <= 1
    text = line.split(" msg=", 1)[1]
    assert (json.loads(text) if text.startswith('"') else text) == message


@pytest.mark.parametrize(
    ("kind", "code"), [(HeadraceError, 1), (ConfigurationError, 3), (UnreachableError, 4), (CheckError, 5)]
)
def test_last_words_are_one_line_and_the_exit_code(kind, code, caplog) -> None:
    with pytest.raises(SystemExit) as ended, last_words():
        raise kind("it broke", "for a reason", "headrace doctor")
    (record,) = caplog.records
    assert (ended.value.code, record.levelname) == (code, "CRITICAL")
    assert record.getMessage() == "it broke; for a reason; next: headrace doctor"
    assert bool(record.exc_info) == (code == 1)


def test_what_is_no_error_of_ours_keeps_its_traceback(caplog) -> None:
    with pytest.raises(ZeroDivisionError), last_words():
        raise ZeroDivisionError
    assert not caplog.records


def test_a_service_that_is_configured_wrongly_ends_with_one_line() -> None:
    wrong = {"HEADRACE_METRICS_PORT": "0", "PYTHONPATH": "libs:."}
    done = subprocess.run(
        [sys.executable, "-m", "services.clock"],
        env=os.environ | wrong, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    (line,) = done.stdout.splitlines()
    assert "setting HEADRACE_METRICS_PORT is wrong" in line


def test_telemetry_loads_no_heavy_library() -> None:
    code = "import sys, headrace.telemetry.health, headrace.telemetry.logs; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "libs"}
    )
    assert not {"numpy", "pyarrow", "fastapi", "confluent_kafka"} & set(loaded.stdout.split())
