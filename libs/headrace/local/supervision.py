"""supervisord in the background: its configuration as text, and the way to talk to it.

The configuration holds no path of the machine: supervisord runs in the home and gets the rest as variables,
because its file format has no quoting that holds for every path.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

from headrace.errors import HeadraceError

LONGEST_SOCKET_PATH = 90  # the kernel allows 107 bytes, and supervisord appends its pid while it binds
MARK = "HEADRACE_SUPERVISED"
PATIENCE = 40.0


@dataclass(frozen=True, slots=True)
class Program:
    """A Python module to keep running; groups stop in reverse order, the members of one group at once.

    ``replica`` is which of how many processes of its service it is.
    """

    name: str
    module: str
    group: str
    order: int
    metrics_port: int = 0
    stop_seconds: int = 10
    replica: tuple[int, int] = (0, 1)


@dataclass(frozen=True, slots=True)
class State:
    """What supervisord says about one program; ``pid`` is 0 while it does not run."""

    name: str
    state: str
    pid: int
    seconds: int


class Supervisor:
    """supervisord for one home: start it, ask it, stop it, from any process."""

    def __init__(self, home: Path) -> None:
        """Work on the supervisord of ``home``."""
        self.home = home
        self.socket = socket_path(home)

    def start(self, programs: Sequence[Program], environment: Mapping[str, str]) -> None:
        """Start supervisord with ``programs``; return when it answers. Raises HeadraceError when it does not."""
        (self.home / "log").mkdir(parents=True, exist_ok=True)
        self._write(programs)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"]
        own = {**environment, MARK: str(self.home), "HEADRACE_INTERPRETER": shlex.quote(sys.executable)}
        out = self.home / "log" / "supervisord.out"
        with out.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.home, env=own, stdout=file, stderr=file, start_new_session=True
            )
        end = time.monotonic() + PATIENCE
        while not self.running():
            if process.poll() is not None or time.monotonic() > end:
                raise HeadraceError("the supervisor did not start", out.read_text())
            time.sleep(0.02)

    def replace(self, group: str, programs: Sequence[Program]) -> None:
        """Stop the programs of a group and start those that it has among ``programs``; other groups go on."""
        self._write(programs)
        supervisor = self._rpc().supervisor
        supervisor.reloadConfig()
        supervisor.stopProcessGroup(group)
        supervisor.removeProcessGroup(group)
        supervisor.addProcessGroup(group)

    def _write(self, programs: Sequence[Program]) -> None:
        socket = self.socket.name if self.socket.parent == self.home else str(self.socket)
        (self.home / "supervisord.conf").write_text(configuration(programs, socket))

    def running(self) -> bool:
        """Say whether supervisord answers."""
        try:
            return bool(self._rpc().supervisor.getState()["statename"] == "RUNNING")
        except (OSError, HTTPException):
            return False

    def states(self) -> list[State]:
        """Return what every program does, by name; [] when supervisord does not run."""
        if not self.running():
            return []
        told = self._rpc().supervisor.getAllProcessInfo()
        found = [
            State(info["name"], info["statename"].lower(), info["pid"], max(0, info["now"] - info["start"]))
            for info in told
        ]
        return sorted(found, key=lambda state: state.name)

    def stop(self) -> None:
        """Stop all programs in order, then supervisord, then what a killed supervisord left behind."""
        if self.running():
            pid = self._rpc().supervisor.getPID()
            self._rpc().supervisor.shutdown()
            _await_end(pid)
        _end_orphans(self.home)

    def _rpc(self) -> Any:
        from supervisor.xmlrpc import SupervisorTransport  # noqa: PLC0415  (slow, and --help does without)

        return ServerProxy(
            "http://localhost", transport=SupervisorTransport(None, None, f"unix://{self.socket}")
        )


def socket_path(home: Path) -> Path:
    """Return where the supervisor's socket lies: in the home, unless that path is too long for a socket."""
    near = home / "supervisor.sock"
    if len(os.fsencode(near)) <= LONGEST_SOCKET_PATH:
        return near
    folder = Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}.sock"


def configuration(programs: Sequence[Program], socket: str) -> str:
    """Return supervisord's configuration file, to be read in the home."""
    head: dict[str, dict[str, object]] = {
        "supervisord": {
            "nodaemon": "true",
            "silent": "true",
            "pidfile": "supervisord.pid",
            "logfile": "log/supervisord.log",
            "logfile_maxbytes": "1MB",
            "logfile_backups": 1,
            **({"user": "root"} if os.getuid() == 0 else {}),
        },
        "unix_http_server": {"file": socket, "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    body = {f"program:{program.name}": _program(program) for program in programs}
    return "\n".join(_section(name, values) for name, values in {**head, **_groups(programs), **body}.items())


def _program(program: Program) -> dict[str, object]:
    return {
        "command": f"%(ENV_HEADRACE_INTERPRETER)s -m {program.module}",
        "directory": "%(ENV_HEADRACE_ROOT)s",
        "environment": _environment(program),
        "autorestart": "true",
        "startsecs": 1,
        "startretries": 3,
        "stopwaitsecs": program.stop_seconds,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"log/{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
    }


def _environment(program: Program) -> str:
    told = {"HEADRACE_METRICS_PORT": program.metrics_port} if program.metrics_port else {}
    if program.replica[1] > 1:
        told |= {"HEADRACE_REPLICA": program.replica[0], "HEADRACE_REPLICAS": program.replica[1]}
    return ",".join(f'{name}="{value}"' for name, value in told.items())


def _groups(programs: Sequence[Program]) -> dict[str, dict[str, object]]:
    groups: dict[str, dict[str, object]] = {}
    for program in programs:
        members = [other.name for other in programs if other.group == program.group]
        groups[f"group:{program.group}"] = {"programs": ",".join(members), "priority": program.order}
    return groups


def _section(name: str, values: Mapping[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in values.items()), ""])


def _await_end(pid: int) -> None:
    import psutil  # noqa: PLC0415  (only a stop needs it)

    if psutil.pid_exists(pid):
        psutil.wait_procs([psutil.Process(pid)], timeout=PATIENCE)


def _end_orphans(home: Path) -> None:
    """Stop every process that a supervisord of ``home`` started: they carry its mark in their environment."""
    import psutil  # noqa: PLC0415  (only a stop needs it)

    marked = [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(MARK) == str(home) and process.pid != os.getpid()
    ]
    for process in marked:
        process.terminate()
    _, stubborn = psutil.wait_procs(marked, timeout=PATIENCE)
    for process in stubborn:
        process.kill()
