"""Which services a home runs, and whether its data plane is one process: remembered from a start for later commands."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from headrace.errors import ConfigurationError

MEMBERS = ("ingestion", "features", "serving")
NAME = "fused"
FILE = "services.json"
Mode = Literal["apart", "fused", "lean"]


class Started(NamedTuple):
    """How a home was started."""

    mode: Mode
    services: list[str]


def module(mode: Mode) -> str:
    """Return what Python runs for the chain: a module and its arguments."""
    return " ".join(("headrace.bus.fused", *MEMBERS, *(["--lean"] if mode == "lean" else [])))


def check(mode: Mode, services: Collection[str], replicas: Mapping[str, int]) -> None:
    """Refuse a chain of services that are not there, or that share their work among several processes.

    Raises:
        ConfigurationError: naming them.
    """
    if mode == "apart":
        return
    if missing := [name for name in MEMBERS if name not in services]:
        raise ConfigurationError(f"there is no service {', '.join(missing)} to fuse", "", "headrace up")
    if shared := [name for name in MEMBERS if replicas.get(name, 1) > 1]:
        raise ConfigurationError(
            f"{', '.join(shared)} cannot be fused", "a fused chain is one process", "leave --replicas away"
        )


def remember(home: Path, started: Started) -> None:
    """Note how a home is being started."""
    home.mkdir(parents=True, exist_ok=True)
    (home / FILE).write_text(json.dumps(started._asdict()))


def remembered(home: Path) -> Started | None:
    """Return how a home was started; None when nothing is known."""
    path = home / FILE
    return Started(**json.loads(path.read_text())) if path.exists() else None


def forget(home: Path) -> None:
    """Forget how a home that was stopped had been started."""
    (home / FILE).unlink(missing_ok=True)
