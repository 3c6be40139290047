"""Each service is killed with -9 in the middle of the demo; the supervisor restarts it and nothing of it shows."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headrace.local.platform import Platform, needed_services
from headrace.local.settings import Settings
from headrace.testing.broker import free_ports

UNTIL = os.environ.get("HEADRACE_KILLS_UNTIL", "2013-02-20")
FIRST_KILL = 12.0  # seconds after the first events, so that every service is at work
BETWEEN = 3.0


def settings_in(home: Path) -> Settings:
    kafka, registry, metrics = free_ports(3)
    return Settings(home=home, kafka_port=kafka, registry_port=registry, metrics_port=min(metrics, 65_000))


def demo(settings: Settings, report: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "headrace.cli", "demo", "--until", UNTIL, "--json", str(report)]
    return subprocess.Popen(command, env=settings.environment(), stdout=subprocess.DEVNULL)


def kill_each(settings: Settings, killed: list[str]) -> None:
    platform = Platform(settings)
    while platform.unhealthy():
        time.sleep(0.5)
    time.sleep(FIRST_KILL)
    for name in platform.services:
        platform.kill(name)
        killed.append(name)
        time.sleep(BETWEEN)


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(3_600)
def test_killed_services_leave_no_trace_in_the_demo(tmp_path):
    calm = settings_in(tmp_path / "calm")
    assert demo(calm, tmp_path / "calm.json").wait() == 0
    troubled, killed = settings_in(tmp_path / "troubled"), []
    running = demo(troubled, tmp_path / "troubled.json")
    threading.Thread(target=kill_each, args=(troubled, killed), daemon=True).start()
    assert running.wait() == 0
    assert killed == needed_services(troubled)
    calm_report, troubled_report = (
        json.loads((tmp_path / f"{n}.json").read_text()) for n in ("calm", "troubled")
    )
    assert troubled_report["counts"] == calm_report["counts"]
    assert troubled_report["digest"] == calm_report["digest"]
