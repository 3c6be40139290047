"""Runs of several ways in rounds: every way once, then every way again.

A machine whose speed changes changes it for all ways alike then, and their ratios stay what they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from bench.results import Kept
from headrace.errors import HeadraceError

OUT = Console(stderr=True)


@dataclass(frozen=True)
class Job:
    """What runs: a way on so many events."""

    name: str
    events: int
    once: Callable[[], Mapping[str, Any]]

    @property
    def place(self) -> str:
        """Return the name under which its runs are kept."""
        return f"{self.name}, {self.events} events"


@dataclass
class Found:
    """The runs of a way, and why there are no more."""

    runs: list[Any] = field(default_factory=list)
    missing: str | None = None


def rounds(jobs: Sequence[Job], times: int, kept: Kept) -> dict[str, Found]:
    """Run jobs until each has its runs, those before an interruption counted; return them by name.

    One that fails is not run again, and says why.
    """
    found = {job.name: Found(list(kept.of(job.place) or [])) for job in jobs}
    for turn in range(times):
        for job in jobs:
            own = found[job.name]
            if len(own.runs) == turn and own.missing is None:
                OUT.print(f"{job.name}: run {turn + 1} of {times}, {job.events:,} events")
                _run(job, own, kept)
    return found


def _run(job: Job, found: Found, kept: Kept) -> None:
    try:
        found.runs.append(dict(job.once()))
    except HeadraceError as error:
        OUT.print(f"failed: {error.what}", error.why)
        found.missing = f"failed: {error.what}"
        return
    kept.keep(job.place, found.runs)
    OUT.print(f"  {found.runs[-1]}")
