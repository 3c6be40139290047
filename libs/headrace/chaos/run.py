"""A chaos run: the same events in trouble and, beside it, in peace; and what the oracle says of both."""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace.bus.provision import stages
from headrace.bus.service import Service
from headrace.chaos import late_end
from headrace.chaos.cast import Cast
from headrace.chaos.feeder import Feeder
from headrace.chaos.ground import Ground
from headrace.chaos.late_end import LateEnd
from headrace.chaos.operator import Operator
from headrace.chaos.proxy import proxied
from headrace.chaos.schedule import (
    ALONE,
    SHARED,
    TRANSACTION_TIMEOUT,
    BrokerFault,
    Schedule,
    aimed,
    dealt,
    points,
    schedule,
)
from headrace.chaos.shop import definition
from headrace.errors import HeadraceError, UnreachableError
from headrace.local.answers import within

SERVICES = ("ingestion", "features", "serving")
STAGES = (*SERVICES, "monitoring", "training", "registry", "deployment")
"""Services on the engine: each tells its state when it leaves."""
FUSED = "+".join(SERVICES)
"""The three as one process."""
CLOCK = "clock"
EVERYBODY = (*STAGES, "drift", "audit", CLOCK)
"""All that write; the console only reads."""
DATA_PLANE, ALL = "data-plane", "all"
_SMALLEST_STEP, _FEWEST_STEPS, _KILLS_PER_STEP = 200, 12, 4
PATIENCE, MUTANT_PATIENCE = 600.0, 20.0
"""Seconds in which a step that is not at rest has to come nearer to it."""
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
    services: str = DATA_PLANE
    replicas: int = 1
    fused: bool = False

    @property
    def cast(self) -> tuple[str, ...]:
        """Return who is killed."""
        if self.fused:
            return (FUSED,)
        return SERVICES if self.services == DATA_PLANE else EVERYBODY

    @property
    def shared(self) -> dict[str, int]:
        """Return how many replicas each service has that has several; those of the control plane cannot."""
        return dict.fromkeys(SERVICES, self.replicas) if self.replicas > 1 else {}

    @property
    def steps(self) -> int:
        """Return in how many steps the events are published: enough for every kill to find work."""
        wanted = max(_FEWEST_STEPS, self.kills // _KILLS_PER_STEP)
        return max(1, min(wanted, self.events // _SMALLEST_STEP))

    def schedule(self) -> Schedule:
        """Return the trouble of the run."""
        if self.mutant:
            return late_end.schedule(self.cast[0]) if self.mutant in late_end.MUTANTS else aimed(self.cast)
        longest = SHARED if self.shared else ALONE
        where = points(self.cast, tuple(self.shared))
        trouble = schedule(self.seed, where, self.kills, self.broker_kills, self.steps, longest)
        return dealt(trouble, self.shared)


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

    ``stuck`` says of a run that never came to rest what it waited for: of such a run the oracle judges what was
    committed. ``kept`` names the folder of a run that went wrong; a mutant's is not kept, for it has to go wrong.

    Raises:
        HeadraceError: when the broker or a service cannot be started or does not leave.
    """
    over = threading.Event()
    with _folder() as folder, ThreadPoolExecutor(1) as beside, ExitStack() as ends:
        ends.callback(over.set)

        def calm() -> Calm:
            return None if order.mutant else beside.submit(_undisturbed, order, folder / "calm", over)

        report = _Scene(order, folder / "trouble", order.schedule(), tell).play(calm)
        report["kept"] = (
            str(folder) if (report["objections"] or report["stuck"]) and not order.mutant else None
        )
        if report["kept"] is None:
            shutil.rmtree(folder)
        return report


@contextmanager
def _folder() -> Iterator[Path]:
    """Lend a new folder; who gets it removes it, and an error names it."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    try:
        yield folder
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    except BaseException as error:
        error.add_note(f"what the run left is in {folder}")
        raise


def _undisturbed(order: Order, home: Path, over: threading.Event) -> dict[str, str]:
    """Run the events in peace, each service a process of its own; return the digests of what came of them."""
    report = _Scene(replace(order, fused=False), home, None, lambda _: None, over).play(lambda: None)
    if wrong := [*report["objections"], *report["stuck"]]:
        raise HeadraceError("the undisturbed run is not right", wrong[0])
    digests: dict[str, str] = report["digests"]
    return digests


class _Scene:
    """One run of the events through the services."""

    def __init__(
        self,
        order: Order,
        home: Path,
        trouble: Schedule | None,
        tell: Tell,
        over: threading.Event | None = None,
    ) -> None:
        self._order, self._trouble, self._tell = order, trouble, tell
        self._over = over or threading.Event()
        self._definition = definition(order.partitions, learns=order.services == ALL)
        self._names = tuple(dict.fromkeys((*order.cast, CLOCK)))
        self._members = [member for name in self._names for member in name.split("+")]
        self._ground = Ground(home)
        self._operator = Operator(self._ground.settings)
        self._step = 0
        self._stuck: list[str] = []
        self._fed = False
        self._broken = list(trouble.broker) if trouble else []
        self._broker_kills = 0

    def play(self, beside: Callable[[], Calm]) -> Report:
        """Carry the run out; ``beside`` is called once everything is up, since brokers start slowly side by side."""
        found = {s.name: s for s in stages(self._ground.settings.root / "services")}
        services: list[Service] = [found[name] for name in self._members if name in found]
        with ExitStack() as stack:
            stack.callback(self._ground.stop)
            self._ground.start(self._definition, services)
            oracle = self._oracle()
            stack.callback(oracle.wait)
            stack.callback(oracle.kill)
            cast = self._cast(stack)
            stack.callback(cast.close)
            stack.callback(self._operator.close)
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
            "torn": self._operator.finished,
            "refused": self._operator.refused,
            "failpoints": {service: self._points(cast, service) for service in self._order.cast},
            **report,
            "stuck": self._stuck,
        }

    def _cast(self, stack: ExitStack) -> Cast:
        settings, services, mutant = self._ground.settings, self._names, self._order.mutant
        if mutant in late_end.MUTANTS:
            return LateEnd(settings, services, mutant, stack.enter_context(proxied(settings.kafka_port)))
        if self._trouble is None:
            return Cast(settings, services, {})
        return Cast(settings, services, self._trouble.faults, mutant=mutant, replicas=self._order.shared)

    def _points(self, cast: Cast, service: str) -> dict[str, int]:
        """Return how often each failpoint was hit, in all replicas of a service together."""
        hits: Counter[str] = Counter()
        for name in cast.of(service):
            hits.update(cast.points(name))
        return dict(sorted(hits.items()))

    def _states(self, cast: Cast, service: str) -> dict[str, str] | None:
        """Return the digests that the processes of a service told when they left, or None without any."""
        (program,) = (name for name in self._names if service in name.split("+"))
        paths = [path for name in cast.of(program) if (path := cast.state(name)).exists()]
        told: dict[str, str] = {}
        for path in paths:
            told |= json.loads(path.read_text())[service]
        return told if paths else None

    def _feed(self, cast: Cast) -> None:
        feeding = threading.Thread(target=self._publish, args=(cast,), daemon=True)
        feeding.start()
        last = (-1, -1)
        while feeding.is_alive():
            if self._over.is_set():
                raise HeadraceError("the undisturbed run was broken off", "the other one is over")
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
                    _wait_while(lambda: cast.asleep)  # so that zombies find work to be fenced from
                self._step = step
                feeder.step(step, size + (step < more))
            _wait_while(
                lambda: cast.haunted
            )  # so that whoever a zombie has fenced finds out before it leaves
            feeder.end(self._order.steps)
        except UnreachableError as error:  # what is lost upstream keeps those downstream waiting for ever
            self._stuck.append(str(error))
        finally:
            feeder.close()
        self._fed = True

    def _break(self, fault: BrokerFault) -> None:
        self._broker_kills += 1
        if fault.pause:
            threading.Thread(target=self._ground.stop_broker, args=(fault.pause,), daemon=True).start()
        else:
            self._ground.kill_broker()
            self._operator.call()

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
        asked = {  # with the grace after which nothing that a killed replica began is open
            "acked": str(self._ground.settings.home / "acked"),
            "states": {name: self._states(cast, name) for name in self._members if name in STAGES},
            "stuck": bool(self._stuck),
            "grace": TRANSACTION_TIMEOUT if self._stuck else 1.0,
            "calm": calm.result() if calm and not self._stuck else None,
        }
        answer, _ = oracle.communicate(json.dumps(asked) + "\n", timeout=_JUDGING)
        if oracle.returncode:
            raise HeadraceError("the oracle could not judge", f"it ended with {oracle.returncode}")
        report: Report = json.loads(answer)
        return report


def _wait_while(holds: Callable[[], bool]) -> None:
    """Wait while something holds that passes when a process stopped for a transaction's timeout goes on."""
    within(2 * TRANSACTION_TIMEOUT, lambda: not holds())
