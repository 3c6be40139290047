"""What a person sees of a running demo: a live panel on a terminal, a line a month elsewhere."""

from datetime import UTC, datetime
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from headrace.demo.report import Incident, Month, Report
from headrace.demo.watch import Story

_RECENT = 12
POLICIES = ("one_feature", "static", "always_retrain", "cron_all", "headrace")


class View:
    """Shows how far a demo is; use as a context."""

    def __init__(self, console: Console, days: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn(),
            console=console,
        )  # fmt: skip
        self._task = self._progress.add_task("starting", total=days, told="")
        self._story: Story | None = None
        self._live = (
            Live(get_renderable=self._drawn, console=console, refresh_per_second=4)
            if console.is_terminal
            else None
        )
        self._phase = self._month = ""

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def phase(self, text: str) -> None:
        """Say what is being done now."""
        self._progress.update(self._task, description=text)
        if not self._live and text != self._phase:
            self._phase = text
            self._console.print(text, highlight=False)

    def follow(self, story: Story) -> None:
        """Show the decisions of a story as they come."""
        self._story = story

    def step(self, number: int, time: int, events: int, rate: float) -> None:
        """Say that a simulated step rests."""
        day = datetime.fromtimestamp(time / 1e6 - 86_400, UTC)
        self._progress.update(
            self._task,
            completed=number + 1,
            description=f"{day:%Y-%m-%d}",
            told=f"{events:,} events, {rate:,.0f}/s",
        )
        if not self._live and f"{day:%Y-%m}" != self._month:
            self._month = f"{day:%Y-%m}"
            champion = self._story.champion if self._story else "prior"
            decisions = len(self._story.lines) if self._story else 0
            told = f"{self._month}: {events:,} events so far, {rate:,.0f}/s, champion {champion}, {decisions} decisions"
            self._console.print(told, highlight=False)

    def _drawn(self) -> RenderableType:
        if self._story is None:
            return self._progress
        recent = self._story.lines[-_RECENT:]
        lines = Text("\n".join(f"tick {tick:>4}  {text}" for tick, text in recent) or "no decisions yet")
        return Group(
            self._progress, Panel(lines, title=f"champion: {self._story.champion}", title_align="left")
        )


def closing(report: Report) -> RenderableType:
    """Return the tables a demo ends with."""
    told = [_incident(report.incident)] if report.incident else []
    return Group(_months(report.months), *told, _figures(report))


def _months(months: list[Month]) -> Table:
    table = Table(
        title="Log loss by month (lower is better)", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for name in ("month", "predictions", "late", "champion"):
        table.add_column(name, justify="left" if name in ("month", "champion") else "right", no_wrap=True)
    for name in POLICIES:
        table.add_column(name, justify="right", no_wrap=True)
    for month in months:
        losses = [getattr(month.log_loss, name) for name in POLICIES]
        best = min((loss for loss in losses if loss is not None), default=None)
        cells = [_cell(loss, best) for loss in losses]
        table.add_row(
            month.month, f"{month.predictions:,}", f"{month.label_rate:.3f}", month.champion, *cells
        )
    return table


def _incident(incident: Incident) -> RenderableType:
    table = Table(
        title=f"Incident {incident.name}: log loss on true labels", title_justify="left", box=SIMPLE_HEAD,
        pad_edge=False,
    )  # fmt: skip
    table.add_column("stretch", no_wrap=True)
    for name in POLICIES:
        table.add_column(name, justify="right", no_wrap=True)
    for stretch, told in incident.log_loss.items():
        losses = [getattr(told, name) for name in POLICIES]
        best = min((loss for loss in losses if loss is not None), default=None)
        table.add_row(stretch, *[_cell(loss, best) for loss in losses])
    lines = [f"tick {q.tick}: {q.event} {q.slice} {q.rule or ''}".rstrip() for q in incident.quarantine]
    lines += [
        f"promoted {p.version}: {p.loss:.4f} over the month after it, {p.replaced_loss:.4f} of the champion before"
        + (" (harmful)" if p.harmful else "")
        for p in incident.promotions
    ]
    lines.append(
        f"harmful promotions: {incident.harmful}; predictions with status fallback: {incident.fallback:,}"
    )
    return Group(table, Text("\n".join(lines)))


def _cell(loss: float | None, best: float | None) -> str:
    if loss is None:
        return "-"
    return f"[bold green]{loss:.4f}[/]" if loss == best else f"{loss:.4f}"


def _figures(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    for name in ("counts", "integrity", "loop", "seconds"):
        told = getattr(report, name).model_dump()
        replay = told.pop("replay", None)
        cells = [f"{key} {value:,}" for key, value in told.items()]
        if replay:
            cells.append("replay " + ", ".join(f"{key} {value:,}" for key, value in replay.items()))
        table.add_row(f"[bold]{name}[/]", ", ".join(cells))
    table.add_row("[bold]speed[/]", f"{report.events_per_second:,.0f} events/s")
    table.add_row("[bold]digest[/]", report.digest)
    return table
