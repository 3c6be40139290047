"""Everything Headrace runs on one machine: Kafka, the schema registry and all services, as one thing to start and stop."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from itertools import chain

from headrace.errors import ConfigurationError, HeadraceError
from headrace.local import answers, jars, registry
from headrace.local import chain as chains
from headrace.local.replicas import forget, names, remember, remembered
from headrace.local.settings import LOOPBACK, Settings
from headrace.local.supervision import Program, State, Supervisor

PAUSE = 0.1
LOWEST_PORT, HIGHEST_PORT, BLOCK = 1024, 65_000, 20
GIVEN_UP = ("fatal", "unknown")
"""What supervisord says of a program that it starts no more: one that has "exited" is started again at once."""


class Platform:
    """The platform of one home; what runs is found again by any later process with the same settings."""

    def __init__(
        self,
        settings: Settings,
        services: Collection[str] | None = None,
        replicas: Mapping[str, int] | None = None,
        mode: chains.Mode | None = None,
    ) -> None:
        """Take the services that the pipelines need or those named, and as many of each as given or as were started.

        ``mode`` says whether the data plane is one process; without it, it and the services are what the home was
        started with.
        """
        self.settings = settings
        known = chains.remembered(settings.home) if mode is None else None
        if services is None:
            services = known.services if known else needed_services(settings)
        self.services = sorted(services)
        self.replicas = dict(remembered(settings.home) if replicas is None else replicas)
        self.mode: chains.Mode = mode or (known.mode if known else "apart")
        self.supervisor = Supervisor(settings.home)

    @property
    def fused(self) -> list[str]:
        """The services that run as one process, by name; [] when each has its own."""
        return [] if self.mode == "apart" else sorted(chains.MEMBERS)

    @property
    def ports(self) -> dict[str, int]:
        """The port of every program's health and metrics: counted up from ``metrics_port`` by name, replicas last.

        A fused chain has the port of its first member, and the others' stay free.
        """
        found = self._numbered()
        if self.fused:
            found = {**found, chains.NAME: found[self.fused[0]]}
        return {name: port for name, port in found.items() if name not in self.fused}

    @property
    def asked(self) -> dict[str, int]:
        """The port at which each service, or replica of one, tells its health: for fused ones that of the chain."""
        found = self._numbered()
        return found | dict.fromkeys(self.fused, found[self.fused[0]]) if self.fused else found

    def _numbered(self) -> dict[str, int]:
        programs = names(self.services, self.replicas)
        return {name: self.settings.metrics_port + place for place, (name, _, _) in enumerate(programs)}

    @property
    def programs(self) -> list[Program]:
        """What the supervisor runs; services stop first, then the registry, then Kafka."""
        embedded = []
        if self.settings.embeds_kafka:
            embedded.append(Program("kafka", "headrace.local.kafka", "kafka", 10, stop_seconds=30))
        if self.settings.embeds_registry:
            embedded.append(Program("schema-registry", "headrace.local.registry", "schema-registry", 20))
        return (
            embedded
            + [
                Program(
                    name,
                    f"services.{service}",
                    "services",
                    30,
                    self.ports[name],
                    replica=(replica, self.replicas.get(service, 1)),
                )
                for name, service, replica in names(self.services, self.replicas)
                if service not in self.fused
            ]
            + [
                Program(name, chains.module(self.mode), "services", 30, self.ports[name])
                for name in (chains.NAME,)
                if self.fused
            ]
        )

    def start(self) -> None:
        """Start everything that is not running yet; return at once, before it is healthy.

        Where it runs with other services, or the data plane is to be one process or not to be one any more, the services
        start anew and Kafka stays. Raises ConfigurationError when a port is taken, when it runs with other numbers of replicas, or for
        a chain that cannot be.
        """
        chains.check(self.mode, self.services, self.replicas)
        if self.supervisor.running():
            if self.replicas != remembered(self.settings.home):
                raise ConfigurationError(
                    "the platform runs with other numbers of replicas",
                    f"they are {remembered(self.settings.home) or 'one of each'}",
                    "./headrace down",
                )
            if self._started != chains.remembered(self.settings.home):
                chains.remember(self.settings.home, self._started)
                self.supervisor.replace("services", self.programs)
            return
        self.supervisor.stop()  # what a killed supervisor left
        self._check_ports()
        fetch(self.settings)
        remember(self.settings.home, self.replicas)
        chains.remember(self.settings.home, self._started)
        self.supervisor.start(self.programs, self.settings.environment())

    @property
    def _started(self) -> chains.Started:
        return chains.Started(self.mode, self.services)

    def stop(self) -> None:
        """Stop everything and return when it is gone."""
        self.supervisor.stop()
        forget(self.settings.home)
        chains.forget(self.settings.home)

    def wait_broker(self, seconds: float = 180.0) -> None:
        """Return when Kafka and the registry answer; raise UnreachableError after ``seconds``."""
        answers.wait_for_kafka(self.settings, seconds)
        answers.wait_for_registry(self.settings, seconds)

    def wait_healthy(
        self, seconds: float = 180.0, tell: Callable[[set[str]], None] = lambda _missing: None
    ) -> None:
        """Return when every service calls itself healthy.

        ``tell`` hears after each round who is missing. Raises HeadraceError naming one that is missing
        after ``seconds``, or that the supervisor has given up on.
        """
        end = time.monotonic() + seconds
        while missing := self.unhealthy():
            tell(missing)
            given_up = {state.name for state in self.states() if state.state in GIVEN_UP} & missing
            if given_up or time.monotonic() > end:
                raise _not_healthy(sorted(given_up or missing))
            time.sleep(PAUSE)
        tell(set())

    def unhealthy(self) -> set[str]:
        """Return the services that do not say they are healthy."""
        return {name for name, port in self.ports.items() if not answers.service_answers(port)}

    def states(self) -> list[State]:
        """Return what the supervisor says about each program; [] when it does not run."""
        return self.supervisor.states()

    def pids(self) -> dict[str, int]:
        """Return the process ids of the running programs, by name."""
        return {state.name: state.pid for state in self.states() if state.pid}

    def kill(self, name: str) -> None:
        """Kill a program with -9, as a crash would; the supervisor starts it again."""
        os.kill(self.pids()[name], signal.SIGKILL)

    def _check_ports(self) -> None:
        for port, who, variable in self.wanted_ports():
            if not port_is_free(port):
                raise ConfigurationError(
                    f"port {port} is taken",
                    f"{who} needs it ({variable})",
                    f"{variable}={_free_port_near(port)} ./headrace up",
                )

    def wanted_ports(self) -> Iterator[tuple[int, str, str]]:
        """Yield each port that starting would take, who takes it and the variable that moves it."""
        if self.settings.embeds_kafka:
            yield self.settings.kafka_port, "Kafka", "HEADRACE_KAFKA_PORT"
            yield self.settings.kafka_port + 1, "Kafka's controller", "HEADRACE_KAFKA_PORT"
        if self.settings.embeds_registry:
            yield self.settings.registry_port, "the schema registry", "HEADRACE_REGISTRY_PORT"
        for name, port in self.ports.items():
            yield port, f"the service {name}", "HEADRACE_METRICS_PORT"


def found_services(settings: Settings) -> list[str]:
    """Return the names of the folders of ``services/`` that can be run."""
    return sorted(path.parent.name for path in settings.root.glob("services/*/__main__.py"))


def needed_services(settings: Settings) -> list[str]:
    """Return the names of the services that the pipelines need: one that moves records, where a file declares that."""
    texts = (path.read_text(encoding="utf-8") for path in settings.pipelines.glob("*.yaml"))
    moved = any(re.search(r"^rekey:", text, re.MULTILINE) for text in texts)
    return [name for name in found_services(settings) if moved or name != "rekey"]


def fetch(settings: Settings) -> None:
    """Fetch what the embedded programs run, where it is not in the cache."""
    if settings.embeds_kafka:
        jars.fetched("kafka", settings.cache)
    if settings.embeds_registry:
        registry.installed(settings.cache)


def port_is_free(port: int) -> bool:
    """Say whether a server could listen on the loopback's ``port``."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_port_near(port: int) -> int:
    """Return a free port, with free ones after it for who takes several."""
    near = chain(range(port + 100, HIGHEST_PORT, 100), range(port - 100, LOWEST_PORT, -100))
    return next(start for start in near if all(port_is_free(start + place) for place in range(BLOCK)))


def _not_healthy(names: list[str]) -> HeadraceError:
    return HeadraceError(
        f"not healthy: {', '.join(names)}", "no answer on /health", f"./headrace logs {names[0]}"
    )
