"""``python -m bench``: what ``headrace bench`` runs."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import broker, environment, results
from bench.harness import Run, run
from bench.idle import idle
from bench.job import PARTITIONS
from bench.latency import ASKED, RATE, latency, named
from bench.memory import memory
from bench.replay import rates
from bench.rounds import OUT, Job, rounds
from bench.rows import Row, rows
from headrace.errors import CheckError, HeadraceError, UsageError
from headrace.local.settings import Settings

RUNS = 5
QUICK_EVENTS, QUICK_ROWS = 2_000, ("headrace three services",)
PARTS: dict[str, Callable[[], dict[str, Any]]] = {"memory": memory, "idle": idle, "replay": rates}
LATENCY = "latency"


def main() -> None:
    """Measure, tell, and exit 5 when a row's outputs were not the oracle's."""
    try:
        _main(_arguments())
    except HeadraceError as error:
        for label, text in (("failed", error.what), ("why", error.why), ("next", error.next_command)):
            if text:
                print(f"{label + ':':8}{text}", file=sys.stderr)
        sys.exit(error.exit_code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="headrace bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--events", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--docs", type=Path, metavar="PAGE")
    return parser.parse_args()


def _main(asked: argparse.Namespace) -> None:
    settings = Settings()
    known = rows(settings.home / "bench" / "peers" / "bin" / "python")
    names = _chosen(asked, [*(row.name for row in known), broker.NAME, LATENCY, *PARTS])
    chosen = [row for row in known if row.name in names]
    count = QUICK_EVENTS if asked.quick else asked.events
    kept = results.Kept(
        settings.home / "bench" / "runs.json", settings.root, fresh=asked.fresh or asked.quick
    )
    if any(row.peer for row in (known if LATENCY in names else chosen)):
        OUT.print("making the peers' environment, where it is missing")
        environment.python(settings.home)
    times = 1 if asked.quick else asked.runs
    measured = _measured(chosen, count, times, kept, flow=broker.NAME in names)
    report: dict[str, Any] = {
        "rows": results.with_ratios(measured),
        "latency": _latency({row.name: row for row in known}, kept) if LATENCY in names else [],
        **{name: _part(name, kept) if name in names else {} for name in PARTS},
        "peers": environment.versions(),
    }
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")
    if asked.docs:
        flags = "".join(f'--only "{name}" ' for name in asked.only)
        command = f"./headrace bench {flags}--docs {asked.docs}"
        results.into_page(asked.docs, results.markdown(report), command)
    _print(report)
    if bad := results.faults(report["rows"]):
        raise CheckError(f"outputs are not the oracle's: {', '.join(bad)}", "see lost, duplicated, wrong")


def _chosen(asked: argparse.Namespace, known: list[str]) -> list[str]:
    names = asked.only or (QUICK_ROWS if asked.quick else known)
    if strange := sorted(set(names) - set(known)):
        raise UsageError(f"nothing is named {strange[0]}", f"there are {', '.join(known)}")
    return list(names)


def _measured(
    chosen: Sequence[Row], count: int | None, times: int, kept: results.Kept, *, flow: bool
) -> list[dict[str, Any]]:
    """Run rows, and the broker's where its ``flow`` is asked for, until they have their runs."""
    jobs = [_job(row, count or row.events) for row in chosen]
    if flow:
        events = count or broker.EVENTS
        jobs.append(Job(broker.NAME, events, lambda: asdict(broker.flow(events))))
    found = rounds(jobs, times, kept)
    told = [
        results.told(row, [Run(**r) for r in found[row.name].runs], found[row.name].missing) for row in chosen
    ]
    if flow:
        own = found[broker.NAME]
        told.append(results.of_broker([broker.Flow(**r) for r in own.runs], own.missing))
    return told


def _job(row: Row, events: int) -> Job:
    return Job(row.name, events, lambda: asdict(run(row, events)))


def _latency(known: Mapping[str, Row], kept: results.Kept) -> list[dict[str, Any]]:
    """Measure the rows that promise an answer soon; what fails is told, without figures."""
    told: list[dict[str, Any]] = []
    for name, partitions, fully in ASKED:
        row = known[name]
        told += _at_rate(row, partitions, RATE, kept)
        if fully and (peak := _peak(row, partitions, kept)):
            told += _at_rate(row, partitions, 100 * round(peak / 200), kept)
    return told


def _at_rate(row: Row, partitions: int, rate: int, kept: results.Kept) -> list[dict[str, Any]]:
    name = named(row, partitions)
    place = f"{name}, {rate} events/s"
    if held := kept.of(place):
        return list(held)
    OUT.print(f"{name}: latency at {rate:,} events/s")
    try:
        found = latency(row, rate, partitions)
    except HeadraceError as error:
        OUT.print(f"failed: {error.what}", error.why)
        return [{"name": name, "rate": rate, "p50_ms": None, "p99_ms": None, "note": error.what}]
    kept.keep(place, found)
    return found


def _peak(row: Row, partitions: int, kept: results.Kept) -> int | None:
    """Return how many events a second a row can do with so many partitions, or None where that fails."""
    job = _job(row, row.events)
    if partitions != PARTITIONS:
        job = Job(named(row, partitions), row.events, lambda: asdict(run(row, row.events, partitions)))
    found = rounds([job], 1, kept)[job.name].runs
    return round(statistics.median(r["events_per_second"] for r in found)) if found else None


def _part(name: str, kept: results.Kept) -> dict[str, Any]:
    """Measure one of the other parts; one that fails says why."""
    if held := kept.of(name):
        return dict(held)
    OUT.print(f"{name}: measuring")
    try:
        found = PARTS[name]()
    except HeadraceError as error:
        OUT.print(f"failed: {error.what}", error.why)
        return {"note": f"failed: {error.what}"}
    kept.keep(name, found)
    return found


def _print(report: dict[str, Any]) -> None:
    table = Table("way", "guarantee", "events/s", "ratio", "lost", "duplicated", "wrong", "note", box=None)
    for row in report["rows"]:
        keys = ("name", "guarantee", "events_per_second", "ratio_to_hand_written")
        checked = ("lost", "duplicated", "wrong", "note")
        table.add_row(*("" if row.get(k) is None else str(row[k]) for k in (*keys, *checked)))
    Console(width=140).print(table)
    for way in report["latency"]:
        print(f"{way['name']}, {way['rate']:,} events/s: p50 {way['p50_ms']} ms, p99 {way['p99_ms']} ms")
    for name in PARTS:
        for what, figure in report[name].items():
            print(f"{name} {what}: {results.shown(figure)}")


if __name__ == "__main__":
    main()
