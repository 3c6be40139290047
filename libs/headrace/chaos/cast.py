"""The services of a run: started from the fork server, hit by their faults, started again."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count as numbers
from pathlib import Path
from typing import Any

from headrace.chaos.schedule import EFFECT, Fault
from headrace.errors import HeadraceError
from headrace.local.replicas import names
from headrace.local.settings import Settings
from headrace.testing.broker import free_ports

OVERDUE = 30.0
"""Seconds after which a fault that found no hit is carried out from outside."""
RARE = 120.0
"""The same for effects, which come seldom."""
WOKEN = 8.0
"""Seconds a zombie gets, once it goes on, to find out that it is fenced."""
ROOM = 1.0
"""Seconds that a stopped process works on, once it goes on, before it is killed for the next fault."""
LAST = 5.0
"""Seconds that a service gets to find its state again before it leaves once more."""
_STARTUP = 300.0
_DOUBLED = 3
SHORT = 1_000
"""Rows of a fused chain's transactions, so that there is always one to work ahead on."""
_FENCED = ("_FENCED", "ReplacedError")
"""What the log of a process says that was told, or found out, that another one has taken its place."""


@dataclass
class Actor:
    """One process of a service and the fault it was started with."""

    service: str
    fault: Fault | None
    pid: int = 0
    since: float = field(default_factory=time.monotonic)
    stopped: bool = False
    zombie: bool = False
    hit: bool = False
    left: bool = False


class Cast:
    """Every service of a run, kept running; ``faults`` are carried out one after the other for each."""

    def __init__(
        self,
        settings: Settings,
        services: Sequence[str],
        faults: Mapping[str, Sequence[Fault]],
        *,
        mutant: str | None = None,
        replicas: Mapping[str, int] | None = None,
    ) -> None:
        self._settings, self._services, self._mutant = settings, list(services), mutant
        self._replicas = replicas or {}
        self._roles = {name: (s, n) for name, s, n in names(services, self._replicas)}
        self._faults = {name: deque(faults.get(name, ())) for name in self._roles}
        self._actors: dict[int, Actor] = {}
        self._current: dict[str, int] = {}
        self._due: list[tuple[float, int, int]] = []
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._numbers = numbers(1)
        self._misses: Counter[str] = Counter()
        self._again: set[tuple[str, str]] = set()
        self.kills = self.zombies = self.fenced = self.restarts = 0
        self.log = settings.home / "log"
        self.log.mkdir(exist_ok=True)
        self._story = (self.log / "story").open("a", buffering=1)
        self._server = self._serve()

    # -- the fork server ----------------------------------------------------------------------------

    def _serve(self) -> "subprocess.Popen[str]":
        server = subprocess.Popen(
            [sys.executable, "-m", "headrace.chaos.zygote", *self._services],
            env={**self._settings.environment(), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        threading.Thread(target=self._listen, args=(server,), daemon=True).start()
        return server

    def _listen(self, server: "subprocess.Popen[str]") -> None:
        for line in server.stdout or ():
            self._heard.put(json.loads(line))

    def start(self) -> None:
        """Start every service."""
        if self._heard.get(timeout=_STARTUP)["event"] != "ready":
            raise HeadraceError("the fork server did not start", f"see {self.log}")
        for service in self._roles:
            self._start(service)

    def _start(self, service: str) -> None:
        """Start one more process of a replica, which bears the name of its service or one derived from it."""
        number = next(self._numbers)
        faults = self._faults[service]
        actor = Actor(service, faults.popleft() if faults else None)
        self._actors[number], self._current[service] = actor, number
        spec = {
            "id": number, "service": self._roles[service][0], "env": self._told(actor),
            "log": str(self._log(number, service)), "mutant": self._mutant, "state": str(self.state(service)),
        }  # fmt: skip
        assert self._server.stdin is not None  # noqa: S101 -- it was asked for
        self._server.stdin.write(json.dumps(spec) + "\n")
        self._server.stdin.flush()

    def _told(self, actor: Actor) -> dict[str, str]:
        """Return what an actor's environment holds beside the platform's settings."""
        told = {
            "HEADRACE_METRICS_PORT": str(free_ports(1)[0]),
            "HEADRACE_FAILPOINT_LOG": self._points(actor.service),
        }
        service, replica = self._roles[actor.service]
        if (count := self._replicas.get(service, 1)) > 1:
            told |= {"HEADRACE_REPLICA": str(replica), "HEADRACE_REPLICAS": str(count)}
        if "+" in service:
            told["HEADRACE_MAX_TRANSACTION"] = str(SHORT)
        if actor.fault:
            told["HEADRACE_FAILPOINT"] = f"{actor.fault.point}:{actor.fault.hit}:{actor.fault.signal}"
        return told

    def _log(self, number: int, service: str) -> Path:
        return self.log / f"{service}.{number}.log"

    def _points(self, service: str) -> str:
        return str(self.log / f"{service}.points")

    def state(self, service: str) -> Path:
        """Return where the last life of a service writes the digests of its state, if it leaves in peace."""
        return self.log / f"{service}.{self._current[service]}.state.json"

    # -- the run ------------------------------------------------------------------------------------

    def turn(self, wait: float = 0.05) -> None:
        """Take what happened and do what is due."""
        try:
            self._take(self._heard.get(timeout=wait))
            while not self._heard.empty():
                self._take(self._heard.get())
        except queue.Empty:
            pass
        now = time.monotonic()
        for item in [d for d in self._due if d[0] <= now]:
            self._due.remove(item)
            self._send(item[1], item[2])
        for number in list(self._current.values()):
            actor = self._actors.get(number)
            if actor and actor.fault and actor.pid and not actor.stopped and now > self._overdue(actor):
                place = (actor.service, actor.fault.point)
                if place not in self._again:  # once more only, so that a slow machine comes to an end
                    self._again.add(place)
                    self._faults[actor.service].append(replace(actor.fault, hit=1))
                actor.hit, actor.fault = True, None
                self._misses[actor.service] += 1
                self._send(number, signal.SIGKILL)

    def _overdue(self, actor: Actor) -> float:
        """Return when a fault comes from outside; after each that did, twice as late: the machine may be slow."""
        rare = actor.fault is not None and actor.fault.point == EFFECT
        return actor.since + (RARE if rare else OVERDUE) * (1 << min(self._misses[actor.service], _DOUBLED))

    def of(self, service: str) -> list[str]:
        """Return the names of a service's replicas."""
        return [name for name, (whose, _) in self._roles.items() if whose == service]

    @property
    def left(self) -> int:
        """Return how many faults are still to come."""
        armed = sum(a.fault is not None for a in self._actors.values())
        return armed + sum(map(len, self._faults.values()))

    @property
    def asleep(self) -> bool:
        """Tell whether a stopped process has still to go on."""
        return any(actor.stopped for actor in self._actors.copy().values())

    @property
    def haunted(self) -> bool:
        """Tell whether a process is there whose place another has taken."""
        return any(actor.zombie for actor in self._actors.copy().values())

    def points(self, service: str) -> dict[str, int]:
        """Return how often each failpoint of a service was hit by its fault."""
        path = Path(self._points(service))
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(sorted(Counter(line.split()[0] for line in lines).items()))

    def leave(self, patience: float = 120.0) -> None:
        """Ask every service to leave in peace; raise HeadraceError when one does not."""
        for faults in self._faults.values():
            faults.clear()
        self._due.clear()  # a kill that was due would take the last word from who is leaving
        for number in list(self._actors):
            actor = self._actors[number]
            self._send(number, signal.SIGKILL if actor.zombie else signal.SIGTERM)
            if actor.stopped and not actor.zombie:
                self._send(number, signal.SIGCONT)
        deadline = time.monotonic() + patience
        while self._actors and time.monotonic() < deadline:
            self.turn()
        if self._actors:
            names = sorted({a.service for a in self._actors.values()})
            raise HeadraceError(
                f"{', '.join(names)} did not leave", f"waited {patience:.0f} s", f"see {self.log}"
            )

    def close(self) -> None:
        """Kill what is left, and the fork server."""
        for number in list(self._actors):
            self._send(number, signal.SIGKILL)
        self._server.kill()
        self._server.wait()
        self._story.close()

    def _send(self, number: int, signum: int) -> None:
        actor = self._actors.get(number)
        if actor is not None:
            actor.left |= signum == signal.SIGTERM
        if actor is None or not actor.pid:
            return
        if signum == signal.SIGCONT:
            actor.stopped = False
            self.zombies += actor.zombie
            actor.since = time.monotonic()
        if signum != signal.SIGTERM:
            self._note(number, actor, signal.Signals(signum).name)
        with suppress(ProcessLookupError):  # it has just ended; the fork server is about to say so
            os.kill(actor.pid, signum)

    def _note(self, number: int, actor: Actor, what: str) -> None:
        """Write a line of what happened, as it happened."""
        role = "zombie" if actor.zombie else str(actor.fault or "no fault")
        self._story.write(f"{time.monotonic():.2f} {actor.service} {number} {what.strip()} ({role})\n")

    def _take(self, told: dict[str, Any]) -> None:
        actor = self._actors[told["id"]]
        self._note(told["id"], actor, f"{told['event']} {told.get('code', '')}")
        if told["event"] == "started":
            actor.pid = told["pid"]
            if actor.left:  # it was asked before it was there
                self._send(told["id"], signal.SIGTERM)
        elif told["event"] == "stopped":
            self._stopped(told["id"], actor)
        else:
            self._exited(told["id"], actor, told["code"])

    def _stopped(self, number: int, actor: Actor) -> None:
        fault, actor.stopped = actor.fault, True
        if fault is None:
            return
        if actor.left:  # its last fault strikes while it leaves; nobody takes its place any more
            actor.fault = None
            self._send(number, signal.SIGCONT)
            return
        wake = time.monotonic() + fault.pause
        self._due.append((wake, number, signal.SIGCONT))
        self._misses[actor.service] = 0
        actor.hit, actor.fault = True, None
        if fault.successor:
            actor.zombie = True
            self._due.append((wake + WOKEN, number, signal.SIGKILL))
            self._start(actor.service)
        elif self._faults[actor.service]:  # from now on it has no fault: it makes room for the next
            self._due.append((wake + ROOM, number, signal.SIGKILL))

    def _exited(self, number: int, actor: Actor, code: int) -> None:
        del self._actors[number]
        if actor.zombie:
            told = self._log(number, actor.service).read_text(errors="replace")
            self.fenced += any(word in told for word in _FENCED)
        if actor.zombie or (actor.left and not code):
            return
        if actor.left:  # struck while it left, or replaced by a zombie: its next life has the last word
            self.restarts += 1
            self._start(actor.service)
            self._due.append((time.monotonic() + LAST, self._current[actor.service], signal.SIGTERM))
            return
        if actor.hit or (actor.fault and code in (0, -getattr(signal, actor.fault.signal))):
            self.kills += 1
            self._misses[actor.service] *= actor.hit  # one from outside is no hit
        else:
            self.restarts += 1
            if actor.fault is not None:
                self._faults[actor.service].appendleft(actor.fault)
        self._start(actor.service)
