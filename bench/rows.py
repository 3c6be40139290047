"""The rows: what is run, what it promises, where its answers lie, and how many events it gets in one run."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.stage import PEERS, REFUSALS, SCORES, STAGES, service
from headrace.contracts.topics import PREDICTIONS, RECEIPTS

BASE = "hand-written batched"


@dataclass(frozen=True)
class Row:
    """One way to do the job."""

    name: str
    guarantee: str
    events: int
    commands: Sequence[Sequence[str]]
    answers: str
    refusals: str
    peer: bool = False


def rows(python: Path) -> list[Row]:
    """Return the rows in the order of the table; peers run on ``python``."""
    fused = [sys.executable, "-P", "-m", "headrace.bus.fused", *STAGES]
    peer = str(python)
    return [
        _ours("headrace fused lean", 1_200_000, [[*fused, "--lean"]]),
        _ours("headrace fused", 900_000, [fused]),
        three_services(),
        _peer(BASE, 150_000, [peer, str(PEERS / "handwritten.py")]),
        _peer("hand-written per event", 5_000, [peer, str(PEERS / "handwritten.py"), "1"]),
        _peer("quix", 150_000, [peer, str(PEERS / "quix_row.py")]),
        _peer("faust", 30_000, [peer, str(PEERS / "faust_row.py")]),
    ]


def three_services() -> Row:
    """Return the row whose members are processes of their own."""
    return _ours("headrace three services", 600_000, [service(s) for s in STAGES])


def _ours(name: str, events: int, commands: Sequence[Sequence[str]]) -> Row:
    return Row(name, "exactly once", events, commands, PREDICTIONS.name("bench"), RECEIPTS.name("bench"))


def _peer(name: str, events: int, command: Sequence[str]) -> Row:
    return Row(name, "at least once", events, [command], SCORES, REFUSALS, peer=True)
