"""A chaos run: the same events in trouble and, beside it, in peace; and what the oracle says of both."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.bus.provision import stages
from headrace.bus.service import Service
from headrace.chaos import late_end
from headrace.chaos.cast import Cast
from headrace.chaos.feeder import Feeder
from headrace.chaos.ground import Ground
from headrace.chaos.late_end import LateEnd
from headrace.chaos.proxy import proxied
from headrace.chaos.schedule import TRANSACTION_TIMEOUT, BrokerFault, Schedule, aimed, schedule
from headrace.chaos.shop import definition
from headrace.errors import HeadraceError, UnreachableError

SERVICES = ("ingestion", "features", "serving")
CLOCK = "clock"
_SMALLEST_STEP, _FEWEST_STEPS, _KILLS_PER_STEP = 200, 12, 4
PATIENCE, MUTANT_PATIENCE = 600.0, 20.0
"""Seconds a step may take to come to rest."""
_JUDGING = 1_800.0
Report = dict[str, Any]
Calm = Future[dict[str, str]] | None


@dataclass(frozen=True, slots=True)
class Order:
    """What a run shall be."""

    events: int = 20_000
    kills: int = 30
    broker_kills: int = 0
    seed: int = 1
    mutant: str | None = None
    partitions: int = 1

    @property
    def steps(self) -> int:
        """Return in how many steps the events are published: enough for every kill to find work."""
        wanted = max(_FEWEST_STEPS, self.kills // _KILLS_PER_STEP)
        return max(1, min(wanted, self.events // _SMALLEST_STEP))

    def schedule(self) -> Schedule:
        """Return the trouble of the run."""
        if self.mutant:
            return late_end.schedule() if self.mutant in late_end.MUTANTS else aimed(SERVICES)
        return schedule(self.seed, SERVICES, self.kills, self.broker_kills, self.steps)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    phase: str
    step: int
    steps: int
    kills: int = 0
    zombies: int = 0


Tell = Callable[[Progress], None]


def run(order: Order, tell: Tell) -> Report:
    """Carry out a run and return its report; ``objections`` is empty when the oracle is content.

    Raises:
        HeadraceError: when the broker or a service cannot be started or never comes to rest.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as name, ThreadPoolExecutor(1) as beside:
        folder = Path(name)

        def calm() -> Calm:
            return None if order.mutant else beside.submit(_undisturbed, order, folder / "calm")

        return _Scene(order, folder / "trouble", order.schedule(), tell).play(calm)


def _undisturbed(order: Order, home: Path) -> dict[str, str]:
    report = _Scene(order, home, None, lambda _: None).play(lambda: None)
    if report["objections"]:
        raise HeadraceError("the undisturbed run is not right", report["objections"][0])
    digests: dict[str, str] = report["digests"]
    return digests


class _Scene:
    """One run of the events through the services."""

    def __init__(self, order: Order, home: Path, trouble: Schedule | None, tell: Tell) -> None:
        self._order, self._trouble, self._tell = order, trouble, tell
        self._definition = definition(order.partitions)
        self._ground = Ground(home)
        self._step = 0
        self._stuck: list[str] = []
        self._fed = False
        self._broken = list(trouble.broker) if trouble else []
        self._broker_kills = 0

    def play(self, beside: Callable[[], Calm]) -> Report:
        """Carry the run out; ``beside`` is called once everything is up, since brokers start slowly side by side."""
        found = {s.name: s for s in stages(self._ground.settings.root / "services")}
        services: list[Service] = [found[name] for name in SERVICES]
        with ExitStack() as stack:
            stack.callback(self._ground.stop)
            self._ground.start(self._definition, services)
            oracle = self._oracle()
            stack.callback(oracle.wait)
            stack.callback(oracle.kill)
            cast = self._cast(stack)
            stack.callback(cast.close)
            cast.start()
            calm = beside()
            self._feed(cast)
            cast.leave()
            report = self._judged(oracle, cast, calm)
        return {
            "events": report.pop("events"),
            "kills": cast.kills,
            "zombies": cast.zombies,
            "fenced": cast.fenced,
            "broker_kills": self._broker_kills,
            "restarts": cast.restarts,
            "failpoints": {service: cast.points(service) for service in SERVICES},
            **report,
        }

    def _cast(self, stack: ExitStack) -> Cast:
        settings, services, mutant = self._ground.settings, (*SERVICES, CLOCK), self._order.mutant
        if mutant in late_end.MUTANTS:
            return LateEnd(settings, services, mutant, stack.enter_context(proxied(settings.kafka_port)))
        return Cast(settings, services, self._trouble.faults if self._trouble else {}, mutant=mutant)

    def _feed(self, cast: Cast) -> None:
        feeding = threading.Thread(target=self._publish, args=(cast,), daemon=True)
        feeding.start()
        last = (-1, -1)
        while feeding.is_alive():
            cast.turn()
            if self._broken and self._step >= self._broken[0].step:
                self._break(self._broken.pop(0))
            if (self._step, cast.kills) != last:
                last = (self._step, cast.kills)
                self._tell(Progress("in trouble", self._step, self._order.steps, cast.kills, cast.zombies))
        if not self._fed:
            raise HeadraceError("the events could not be published", "see the traceback above")

    def _publish(self, cast: Cast) -> None:
        acked = self._ground.settings.home / "acked"
        patience = MUTANT_PATIENCE if self._order.mutant else PATIENCE
        feeder = Feeder(self._ground.settings, self._definition, self._order.seed, acked, patience)
        try:
            size, more = divmod(self._order.events, self._order.steps)
            for step in range(self._order.steps):
                if step == self._order.steps - 1:
                    self._wait_for_zombies(cast)
                self._step = step
                feeder.step(step, size + (step < more))
            feeder.end(self._order.steps)
        except UnreachableError as error:  # what is lost upstream keeps those downstream waiting for ever
            self._stuck.append(str(error))
        finally:
            self._fed = True
            feeder.close()

    def _wait_for_zombies(self, cast: Cast) -> None:
        """Keep the last step until whoever was stopped goes on, so that zombies find work to be fenced from."""
        deadline = time.monotonic() + 2 * TRANSACTION_TIMEOUT
        while cast.asleep and time.monotonic() < deadline:
            time.sleep(0.1)

    def _break(self, fault: BrokerFault) -> None:
        self._broker_kills += 1
        if fault.pause:
            threading.Thread(target=self._ground.stop_broker, args=(fault.pause,), daemon=True).start()
        else:
            self._ground.kill_broker()

    def _oracle(self) -> "subprocess.Popen[str]":
        settings = self._ground.settings
        told = (settings.bootstrap, settings.registry_url, self._definition.name)
        return subprocess.Popen(
            [sys.executable, "-m", "headrace.chaos.oracle", *told],
            env=settings.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _judged(self, oracle: "subprocess.Popen[str]", cast: Cast, calm: Calm) -> Report:
        self._tell(
            Progress("the oracle reads", self._order.steps, self._order.steps, cast.kills, cast.zombies)
        )
        states = {}
        for service in SERVICES:
            path = cast.state(service)
            states[service] = json.loads(path.read_text()) if path.exists() else None
        asked = {
            "acked": str(self._ground.settings.home / "acked"),
            "states": states,
            "calm": calm.result() if calm else None,
        }
        answer, _ = oracle.communicate(json.dumps(asked) + "\n", timeout=_JUDGING)
        if oracle.returncode:
            raise HeadraceError("the oracle could not judge", f"it ended with {oracle.returncode}")
        report: Report = json.loads(answer)
        report["objections"] = self._stuck + report["objections"]
        return report
