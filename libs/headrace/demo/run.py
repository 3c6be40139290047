"""The demo from beginning to end: platform, a year of flights, and the proof of what was made of it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from headrace.bus.registry import ConfluentRegistry
from headrace.demo.home import fresh
from headrace.demo.report import Counts, Incident, Integrity, Month, Replay, Report, Seconds
from headrace.demo.view import View, closing
from headrace.demo.watch import Watch
from headrace.errors import CheckError, HeadraceError
from headrace.local.bringup import bring_up
from headrace.local.platform import Platform
from headrace.local.settings import Settings
from headrace.sources import flights, incidents
from headrace.sources.pipelines import find
from headrace.sources.publisher import Progress, publish
from headrace.sources.sender import Target

PIPELINE = "flights"
ONE_FEATURE = "dep_delay"
YEAR = 365
REPLAYED_TICKS = 30


@dataclass(frozen=True)
class Options:
    """What a demo was asked for; ``until`` in microseconds of event time."""

    until: int | None
    keep: bool
    incident: incidents.Name | None = None


def run(settings: Settings, options: Options, console: Console) -> Report:
    """Run the demo and return its report; the platform is stopped unless it is to be kept.

    Raises:
        HeadraceError: when a part does not start or a check says no.
    """
    began = time.monotonic()
    fresh(settings)
    platform = Platform(settings)
    tables = _Loaded()
    try:
        with View(console, YEAR) as view:
            bring_up(platform, 120.0, view.phase)
            started = time.monotonic() - began
            watch = Watch(settings, PIPELINE)
            watch.start()
            view.follow(watch.story)
            events, seconds = _publish(settings, options, _planted(tables.get(), options), view)
            view.phase("counting, comparing and replaying")
            watch.finish()
            checks = _checks(settings, options)
        first = (watch.story.first_prediction or time.monotonic()) - began
        report = Report(
            counts=Counts(**checks["witness"]["counts"]),
            integrity=Integrity(
                lost=checks["witness"]["lost"],
                duplicated=checks["witness"]["duplicated"],
                reordered=checks["witness"]["reordered"],
                replay=Replay(**checks["replay"]),
            ),
            loop=watch.story.loop(),
            months=[Month(**month) for month in checks["months"]],
            seconds=Seconds(
                platform_start=round(started, 1), first_prediction=round(first, 1),
                total=round(time.monotonic() - began, 1),
            ),
            events_per_second=round(events / seconds, 1),
            incident=Incident(**checks["incident"]) if options.incident else None,
        )  # fmt: skip
        console.print(closing(report))
        return report
    finally:
        if not options.keep:
            platform.stop()


class _Loaded:
    """The flights, read by a thread while the platform starts."""

    def __init__(self) -> None:
        self._tables: dict[str, pa.Table] = {}
        self._thread = threading.Thread(target=lambda: self._tables.update(flights.tables()), daemon=True)
        self._thread.start()

    def get(self) -> dict[str, pa.Table]:
        """Return the tables when they are there."""
        self._thread.join()
        return self._tables


def _planted(tables: dict[str, pa.Table], options: Options) -> dict[str, pa.Table]:
    if options.incident is None:
        return tables
    return {**tables, "Arrival": incidents.plant(options.incident, tables["Arrival"])}


def _publish(
    settings: Settings, options: Options, tables: dict[str, pa.Table], view: View
) -> tuple[int, float]:
    """Publish the year and return how many events that were and the seconds it took."""
    began = time.monotonic()
    last: list[Progress] = []

    def tell(progress: Progress) -> None:
        last[:] = [progress]
        view.step(progress.step, progress.time, progress.events, progress.events / (time.monotonic() - began))

    target = Target(settings.bootstrap, ConfluentRegistry(settings.registry_url))
    definition = find(PIPELINE, settings.pipelines)
    publish(definition, tables, target, source="headrace/demo", until=options.until, tell=tell)
    return last[0].events if last else 0, time.monotonic() - began


def _checks(settings: Settings, options: Options) -> dict[str, Any]:
    """Run the witness, the replay and the comparison in processes of their own; return what each printed."""
    definition = find(PIPELINE, settings.pipelines)
    label = definition.records[definition.label.record]
    witness = [
        settings.bootstrap,
        settings.registry_url,
        PIPELINE,
        definition.event,
        definition.label.record,
        label.id,
    ]
    months = _start("months", "headrace.demo.months", [PIPELINE, ONE_FEATURE], settings)
    counted = _start("witness", "headrace.audit.witness", witness, settings)
    found = {"witness": _result("witness", counted)}
    replay = ["replay", PIPELINE, "--last", str(REPLAYED_TICKS), "--json"]
    verdicts = _result(
        "replay", _start("replay", "headrace.cli", replay, settings), sound=(0, CheckError.exit_code)
    )
    found["replay"] = {name: verdicts[name] for name in Replay.model_fields}
    found["months"] = _result("months", months)
    if options.incident:
        words = [options.incident, PIPELINE, ONE_FEATURE]
        found["incident"] = _result("incident", _start("incident", "headrace.demo.incident", words, settings))
    return found


def _start(name: str, module: str, words: list[str], settings: Settings) -> subprocess.Popen[bytes]:
    log = (settings.log_folder / f"{name}.log").open("wb")
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(command, env=settings.environment(), stdout=subprocess.PIPE, stderr=log)


def _result(name: str, process: subprocess.Popen[bytes], sound: Collection[int] = (0,)) -> Any:
    out, _ = process.communicate()
    if process.returncode not in sound:
        raise HeadraceError(
            f"the demo's {name} failed", f"exit code {process.returncode}", f"./headrace logs {name}"
        )
    return json.loads(out)


def write(report: Report, path: Path) -> None:
    """Write a report as JSON."""
    path.write_text(report.model_dump_json(indent=2) + "\n")


def require_sound(report: Report) -> None:
    """Raise :class:`CheckError` when a report has faults."""
    if faults := report.faults():
        raise CheckError("the demo's checks say no", "; ".join(faults), "./headrace logs")
