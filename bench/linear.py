"""How the cost of an event changes with the number of events and of keys: the fused lean row, per core of CPU.

    PYTHONPATH=libs:. python -m bench.linear [--most EVENTS] [--docs PAGE]

Events a second per core are the events of a run by the seconds of CPU that the row's process spent on them. Where ``--docs``
names a page, the table is written into it and the plot beside it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.harness import WARM, run_on
from bench.job import KEYS, events
from bench.results import Kept, into_page
from bench.rows import rows
from bench.stage import stage
from headrace.local.settings import Settings

ROW, MOST = "headrace fused lean", 3_000_000
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
KEY_COUNTS, KEYED_EVENTS = (100, 1_000, 10_000, 100_000, 1_000_000), 1_000_000
MARK, PLOT = "LINEAR", "linearity.svg"


@dataclass(frozen=True)
class Point:
    """What one run cost."""

    events: int
    keys: int
    events_per_second: int
    events_per_core: int


def point(count: int, keys: int) -> Point:
    """Run the row once; raise HeadraceError when its process ends or gives no answers."""
    (row,) = (row for row in rows(Path()) if row.name == ROW)
    made = events(count + WARM, keys)
    with stage() as ready:
        watched = run_on(ready, row, made, WARM)
    return Point(count, keys, round(count / watched.seconds), round(count / watched.cpu))


def table(points: Sequence[Point]) -> str:
    """Return the points as a table of Markdown."""
    head = ["| events | keys | events/s | events/s per core of CPU |", "|---|---|---|---|"]
    cells = (asdict(p).values() for p in points)
    return "\n".join([*head, *("| " + " | ".join(f"{cell:,}" for cell in row) + " |" for row in cells)])


def plot(by_events: Sequence[Point], by_keys: Sequence[Point], path: Path) -> None:
    """Draw both series; the same points give the same file."""
    mpl.rcParams["svg.hashsalt"] = "headrace"
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, points, what in zip(
        figure.subplots(1, 2), (by_events, by_keys), ("events", "keys"), strict=True
    ):
        axes.plot([getattr(p, what) for p in points], [p.events_per_core for p in points], marker="o")
        axes.set(xscale="log", xlabel=what, ylabel="events/s per core", ylim=(0, None))
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure every point, those of an interrupted run first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=MOST, help="of a run; up to 10,000,000")
    parser.add_argument("--docs", type=Path, metavar="PAGE")
    asked = parser.parse_args()
    settings = Settings()
    kept = Kept(settings.home / "bench" / "linear.json", settings.root)

    def measured(count: int, keys: int) -> Point:
        place = f"{count} events, {keys} keys"
        if kept.of(place) is None:
            kept.keep(place, asdict(point(count, keys)))
        found = Point(**kept.of(place))
        print(found, flush=True)
        return found

    by_events = [measured(count, KEYS) for count in SIZES if count <= asked.most]
    by_keys = [measured(min(KEYED_EVENTS, asked.most), keys) for keys in KEY_COUNTS]
    print(table([*by_events, *by_keys]))
    if asked.docs:
        plot(by_events, by_keys, asked.docs.with_name(PLOT))
        picture = f"![events/s per core over events and over keys]({PLOT})"
        into_page(
            asked.docs,
            f"{picture}\n\n{table([*by_events, *by_keys])}",
            f"python -m bench.linear --most {asked.most} --docs {asked.docs}",
            MARK,
        )


if __name__ == "__main__":
    main()
