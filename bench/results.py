"""What the runs showed: kept on disk run by run, so that an interrupted bench goes on; told as JSON and as a table."""

import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.broker import NAME as BROKER
from bench.broker import Flow
from bench.harness import Run
from bench.rows import BASE, Row

PARTS = ("memory", "idle", "replay")
BENCH = "BENCH"


class Kept:
    """What was measured, in a file, by name; figures of another commit are forgotten."""

    def __init__(self, path: Path, root: Path, *, fresh: bool = False) -> None:
        self._path, self._commit = path, _commit(root)
        held = json.loads(path.read_text()) if path.exists() and not fresh else {}
        self._held: dict[str, Any] = held["held"] if held.get("commit") == self._commit else {}

    def of(self, name: str) -> Any:
        """Return what is kept under a name, or None."""
        return self._held.get(name)

    def keep(self, name: str, found: Any) -> None:
        """Keep JSON under a name."""
        self._held[name] = found
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"commit": self._commit, "held": self._held}))


def told(row: Row, runs: Sequence[Run], missing: str | None) -> dict[str, Any]:
    """Return a row of the report: the median rate, and the worst that any run did."""
    if not runs:
        return {
            "name": row.name, "guarantee": row.guarantee, "events_per_second": None,
            "ratio_to_hand_written": None, "lost": None, "duplicated": None, "wrong": None,
            "note": missing,
        }  # fmt: skip
    rates = [r.events_per_second for r in runs]
    return {
        "name": row.name,
        "guarantee": row.guarantee,
        "events_per_second": round(statistics.median(rates)),
        "ratio_to_hand_written": None,
        "lost": max(r.lost for r in runs),
        "duplicated": max(r.duplicated for r in runs),
        "wrong": max(r.wrong for r in runs),
        "events": runs[0].events,
        "runs": len(runs),
        "least": round(min(rates)),
        "most": round(max(rates)),
    }


def of_broker(flows: Sequence[Flow], missing: str | None) -> dict[str, Any]:
    """Return the broker's row: its rate is what it takes in, the bound of everybody who writes."""
    row: dict[str, Any] = {
        "name": BROKER, "guarantee": "-", "events_per_second": None, "ratio_to_hand_written": None,
        "lost": None, "duplicated": None, "wrong": None, "note": missing,
    }  # fmt: skip
    if not flows:
        return row
    taken, given = [f.in_per_second for f in flows], [f.out_per_second for f in flows]
    return row | {
        "events_per_second": round(statistics.median(taken)),
        "in_per_second": round(statistics.median(taken)),
        "out_per_second": round(statistics.median(given)),
        "lost": max(f.lost for f in flows),
        "events": flows[0].events,
        "runs": len(flows),
        "least": round(min(taken)),
        "most": round(max(taken)),
        "note": f"in; out {round(statistics.median(given)):,}",
    }


def with_ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their ratio to the hand-written batched loop, where both were measured."""
    base = next((r["events_per_second"] for r in rows if r["name"] == BASE), None)
    return [
        r | {"ratio_to_hand_written": round(r["events_per_second"] / base, 2)}
        if base and r["events_per_second"]
        else r
        for r in rows
    ]


def faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the rows whose outputs were not the oracle's."""
    return [r["name"] for r in rows if any(r[k] for k in ("lost", "duplicated", "wrong"))]


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as the table of the docs."""
    lines = [
        "| way | guarantee | events/s (least to most) | times hand-written | lost | duplicated | wrong | events a run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in report["rows"]:
        if r["events_per_second"] is None:
            lines.append(f"| {r['name']} | {r['guarantee']} | {r['note']} | | | | | |")
            continue
        cells = [r["name"], r["guarantee"], f"{_rate(r)} ({r['least']:,} to {r['most']:,})"]
        cells += [shown(r[k]) for k in ("ratio_to_hand_written", "lost", "duplicated", "wrong")]
        lines.append("| " + " | ".join([*cells, f"{r['events']:,}"]) + " |")
    if report["latency"]:
        lines += ["", "| append to append | events/s | p50 ms | p99 ms |", "|---|---|---|---|"]
        lines += [
            f"| {m['name']} | {m['rate']:,} | {m.get('note') or shown(m['p50_ms'])} | {shown(m['p99_ms'])} |"
            for m in report["latency"]
        ]
    for name in PARTS:
        if report.get(name):
            lines += ["", f"| {name} | |", "|---|---|"]
            lines += [
                f"| {what.replace('_', ' ')} | {shown(figure)} |" for what, figure in report[name].items()
            ]
    return "\n".join(lines)


def _rate(row: Mapping[str, Any]) -> str:
    out = row.get("out_per_second")
    return f"in {row['events_per_second']:,}, out {out:,}" if out else f"{row['events_per_second']:,}"


def shown(figure: float | str | None) -> str:
    """Return a figure as it is read: with commas; nothing for None."""
    if isinstance(figure, str):
        return figure
    return "" if figure is None else f"{figure:,}"


def into_page(page: Path, table: str, command: str, mark: str = BENCH) -> None:
    """Write the table between the marks of a page, with the command that printed it."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n`{command}` printed this.\n\n{table}\n{end}{after}")


def _commit(root: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"
