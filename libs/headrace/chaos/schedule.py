"""One seed is the whole schedule: which service gets which signal at which failpoint, and when the broker falls."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from headrace.local.replicas import names

POINTS = (
    "after-consume", "after-begin", "mid-produce", "before-offsets", "after-offsets", "during-commit",
    "after-commit", "during-restore",
)  # fmt: skip
"""Where a service that runs on the engine may be hit."""
EFFECT, REBALANCE = "between-database-and-publish", "during-rebalance"
"""Where only those come by that have effects, and only those that share their work with others."""
WATCHING = ("after-consume", "after-begin", "mid-produce", "during-commit", "after-commit")
POINTS_OF = {
    "training": (*POINTS, EFFECT),
    "registry": (*POINTS, EFFECT),
    "clock": WATCHING,
    "audit": WATCHING,
    "drift": ("after-consume", "mid-produce", "after-commit"),
}
"""Where the others may be: those with effects, those that watch the whole log, and the one on Faust."""
_UNFENCED = ("drift",)
"""Has no transactions that a successor could end, so a process of it that is taken for dead must be dead."""
TRANSACTION_TIMEOUT = 10.0
ALONE, SHARED = 5.0, 9.0
"""The longest pause in seconds. A group waits 6 s for a replica, the broker 10 s for the end of a transaction."""
_ZOMBIES, _PAUSES, _SOFT = 0.1, 0.05, 0.2
_HITS = (1, 1, 1, 2, 2, 3)
Points = Mapping[str, Sequence[str]]
"""Where each service may be hit."""


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
    """All the trouble of one run; the faults by the name of the replica that has them."""

    faults: dict[str, list[Fault]]
    broker: list[BrokerFault]

    def told(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def points(services: Sequence[str], shared: Sequence[str] = ()) -> Points:
    """Return where each service may be hit; ``shared`` are those of several replicas."""
    known = {service: POINTS_OF.get(service, POINTS) for service in services}
    return {s: (*found, REBALANCE) if s in shared else found for s, found in known.items()}


def schedule(
    seed: int, where: Points, kills: int, broker_kills: int, steps: int, longest: float = ALONE
) -> Schedule:
    """Return the trouble of a run: each service sees every failpoint first, then whatever chance says.

    ``longest``: seconds that a stopped process without a successor may stand still.
    """
    chance = random.Random(seed)  # noqa: S311 -- a schedule, not a secret
    faults: dict[str, list[Fault]] = {}
    for n, (service, known) in enumerate(where.items()):
        own = kills // len(where) + (n < kills % len(where))
        drawn = chance.sample(known, len(known))
        drawn += [chance.choice(known) for _ in range(own - len(drawn))]
        found = [_kill(chance, service, point) for point in drawn[:own]]
        found[: len(known)] = [replace(fault, hit=1) for fault in found[: len(known)]]
        zombies = 0 if service in _UNFENCED else int(-(-own * _ZOMBIES // 1))
        found += [_zombie(chance, service, chance.choice(known)) for _ in range(zombies)]
        found += [_pause(chance, service, chance.choice(known), longest) for _ in range(int(own * _PAUSES))]
        faults[service] = chance.sample(found, len(found))
    places = [(i + 1) * steps // (broker_kills + 1) for i in range(broker_kills)]
    return Schedule(faults, [BrokerFault(step, 20.0 if i % 2 else 0.0) for i, step in enumerate(places)])


def dealt(trouble: Schedule, replicas: Mapping[str, int]) -> Schedule:
    """Return the trouble with each service's faults dealt out to its replicas in turn, by their names."""
    turns = {
        name: trouble.faults[service][replica :: replicas.get(service, 1)]
        for name, service, replica in names(list(trouble.faults), replicas)
    }
    return Schedule(turns, trouble.broker)


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


def _zombie(chance: random.Random, service: str, point: str) -> Fault:
    pause = TRANSACTION_TIMEOUT + chance.uniform(1, 4)
    return Fault(service, point, _hit(chance, point), "SIGSTOP", pause, successor=True)


def _pause(chance: random.Random, service: str, point: str, longest: float) -> Fault:
    return Fault(service, point, _hit(chance, point), "SIGSTOP", chance.uniform(1, longest))


def _hit(chance: random.Random, point: str) -> int:
    return 1 if point in ("during-restore", REBALANCE, EFFECT) else chance.choice(_HITS)
