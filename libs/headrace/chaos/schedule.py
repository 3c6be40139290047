"""One seed is the whole schedule: which service gets which signal at which failpoint, and when the broker falls."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

POINTS = (
    "after-consume", "after-begin", "mid-produce", "before-offsets", "after-offsets", "during-commit",
    "after-commit", "during-restore",
)  # fmt: skip
"""Where a service of the data plane may be hit."""
TRANSACTION_TIMEOUT = 10.0
_ZOMBIES, _PAUSES, _SOFT = 0.1, 0.05, 0.2
_HITS = (1, 1, 1, 2, 2, 3)


@dataclass(frozen=True, slots=True)
class Fault:
    """A signal at the n-th hit of a failpoint; a stopped process goes on after ``pause`` seconds.

    ``successor``: another replica starts meanwhile, and who goes on is a zombie.
    """

    service: str
    point: str
    hit: int
    signal: str
    pause: float = 0.0
    successor: bool = False

    @property
    def kills(self) -> bool:
        """Tell whether the process ends by it."""
        return self.signal != "SIGSTOP"

    def __str__(self) -> str:
        after = f" for {self.pause:.1f} s" if self.pause else ""
        return f"{self.service} {self.point}:{self.hit} {self.signal}{after}{' as a zombie' if self.successor else ''}"


@dataclass(frozen=True, slots=True)
class BrokerFault:
    """The broker is killed, or stopped for ``pause`` seconds, while a step is under way."""

    step: int
    pause: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """All the trouble of one run."""

    faults: dict[str, list[Fault]]
    broker: list[BrokerFault]

    def told(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def schedule(seed: int, services: Sequence[str], kills: int, broker_kills: int, steps: int) -> Schedule:
    """Return the trouble of a run: each service sees every failpoint first, then whatever chance says."""
    chance = random.Random(seed)  # noqa: S311 -- a schedule, not a secret
    faults: dict[str, list[Fault]] = {}
    for n, service in enumerate(services):
        own = kills // len(services) + (n < kills % len(services))
        points = [*chance.sample(POINTS, len(POINTS))]
        points += [chance.choice(POINTS) for _ in range(own - len(points))]
        found = [_kill(chance, service, point) for point in points[:own]]
        found[: len(POINTS)] = [replace(fault, hit=1) for fault in found[: len(POINTS)]]
        zombies = -(-own * _ZOMBIES // 1)
        found += [_zombie(chance, service) for _ in range(int(zombies))]
        found += [_pause(chance, service) for _ in range(int(own * _PAUSES))]
        faults[service] = chance.sample(found, len(found))
    places = [(i + 1) * steps // (broker_kills + 1) for i in range(broker_kills)]
    return Schedule(faults, [BrokerFault(step, 20.0 if i % 2 else 0.0) for i, step in enumerate(places)])


MUTANTS = ("at-least-once", "commit-first", "no-seek", "offset-zero", "keep-producer")
"""What ``headrace.chaos.mutants`` has; named here so that naming them costs no import."""
CONTROL = "late-end"
"""The trouble of ``keep-producer`` for services that do right: the oracle must have nothing to say."""
_AIMED = ("before-offsets", "mid-produce", "after-commit")


def aimed(services: Sequence[str]) -> Schedule:
    """Return kills before, within and after commits, early enough that every mutant shows."""
    hits = [(point, hit) for hit in (1, 2) for point in _AIMED]
    return Schedule({s: [Fault(s, point, hit, "SIGKILL") for point, hit in hits] for s in services}, [])


def _kill(chance: random.Random, service: str, point: str) -> Fault:
    signal = "SIGTERM" if chance.random() < _SOFT else "SIGKILL"
    return Fault(service, point, _hit(chance, point), signal)


def _zombie(chance: random.Random, service: str) -> Fault:
    point = chance.choice(POINTS)
    pause = TRANSACTION_TIMEOUT + chance.uniform(1, 4)
    return Fault(service, point, _hit(chance, point), "SIGSTOP", pause, successor=True)


def _pause(chance: random.Random, service: str) -> Fault:
    point = chance.choice(POINTS)
    return Fault(service, point, _hit(chance, point), "SIGSTOP", chance.uniform(1, 5))


def _hit(chance: random.Random, point: str) -> int:
    return 1 if point == "during-restore" else chance.choice(_HITS)
