"""Named points at which a process can be made to signal itself; without a plan a point costs one comparison.

``HEADRACE_FAILPOINT="<point>:<hit>:<signal>"`` says where, at which hit of the point, and how: the signal is SIGKILL,
SIGTERM or SIGSTOP. When ``HEADRACE_FAILPOINT_LOG`` names a file, ``point hit`` is appended to it first.
"""

import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import ConfigurationError

POINTS: Final = (
    "after-consume",
    "after-begin",
    "mid-produce",
    "before-offsets",
    "after-offsets",
    "during-commit",
    "after-commit",
    "during-rebalance",
    "during-restore",
    "between-database-and-publish",
)
SIGNALS: Final = ("SIGKILL", "SIGTERM", "SIGSTOP")
_INSIDE = 0.002  # seconds from the call of a commit to the signal that has to fall into it


@dataclass
class Plan:
    """One point, and the hit of it that fires."""

    point: str
    hit: int
    signal: signal.Signals
    log: str | None = None
    hits: int = 0

    def reach(self) -> None:
        """Count a hit; the chosen one signals this process."""
        self.hits += 1
        if self.hits != self.hit:
            return
        if self.log:
            _note(self.log, f"{self.point} {self.hit}\n")
        if self.point == "during-commit":
            threading.Thread(target=self._later, daemon=True).start()
        else:
            os.kill(os.getpid(), self.signal)

    def _later(self) -> None:
        time.sleep(_INSIDE)
        os.kill(os.getpid(), self.signal)


def parse(text: str, log: str | None = None) -> Plan:
    """Return the plan that a text like ``after-begin:3:SIGKILL`` stands for.

    Raises:
        ConfigurationError: when it names no point, no positive number or no signal of ours.
    """
    point, _, rest = text.partition(":")
    hit, _, name = rest.partition(":")
    if point not in POINTS or not hit.isdecimal() or int(hit) < 1 or name not in SIGNALS:
        raise ConfigurationError(
            "setting HEADRACE_FAILPOINT is wrong",
            f"it is {text!r}; it must be <point>:<hit>:<signal> with a point of {', '.join(POINTS)}",
            "unset HEADRACE_FAILPOINT",
        )
    return Plan(point, int(hit), signal.Signals[name], log)


def arm(environment: Mapping[str, str]) -> None:
    """Take the plan of an environment, or none.

    Raises:
        ConfigurationError: when the plan is no plan.
    """
    global _plan  # noqa: PLW0603 -- one process, one plan
    text = environment.get("HEADRACE_FAILPOINT")
    _plan = parse(text, environment.get("HEADRACE_FAILPOINT_LOG")) if text else None


def reach(point: str) -> None:
    """Say that the process is at a point."""
    if _plan is not None and _plan.point == point:
        _plan.reach()


def planned(point: str) -> bool:
    """Tell whether a point may fire in this process."""
    return _plan is not None and _plan.point == point


def _note(path: str, line: str) -> None:
    with Path(path).open("a", encoding="utf-8") as log:
        log.write(line)
        log.flush()
        os.fsync(log.fileno())


_plan: Plan | None = None
