"""supervisord in the background: its configuration as text, and the way to talk to it."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """A program to keep running; groups stop in reverse order, the members of one group at once."""

    name: str
    command: Sequence[str]
    group: str
    order: int
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 10


@dataclass(frozen=True, slots=True)
class State:
    """What supervisord says about one program; ``pid`` is 0 while it does not run."""

    name: str
    state: str
    pid: int
    seconds: int


class Supervisor:
    """supervisord for one home: start it, ask it, stop it, from any process."""

    def __init__(self, home: Path, folder: Path) -> None:
        """Work on the supervisord of ``home``, whose programs run in ``folder``."""
        self.home = home
        self.folder = folder
        self.socket = socket_path(home)

    def start(self, programs: Sequence[Program], environment: Mapping[str, str]) -> None:
        """Start supervisord with ``programs``; return when it answers. Raises HeadraceError when it does not."""
        (self.home / "log").mkdir(parents=True, exist_ok=True)
        file = self.home / "supervisord.conf"
        file.write_text(configuration(programs, self))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)]
        marked = {**environment, MARK: str(self.home)}
        with (self.home / "log" / "supervisord.out").open("wb") as out:
            process = subprocess.Popen(command, env=marked, stdout=out, stderr=out, start_new_session=True)
        end = time.monotonic() + PATIENCE
        while not self.running():
            if process.poll() is not None or time.monotonic() > end:
                raise HeadraceError(
                    "the supervisor did not start", (self.home / "log/supervisord.out").read_text()
                )
            time.sleep(0.02)

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


def configuration(programs: Sequence[Program], supervisor: Supervisor) -> str:
    """Return supervisord's configuration file."""
    home, log = supervisor.home, supervisor.home / "log"
    head: dict[str, dict[str, object]] = {
        "supervisord": {
            "nodaemon": "true",
            "silent": "true",
            "directory": supervisor.folder,
            "pidfile": home / "supervisord.pid",
            "logfile": log / "supervisord.log",
            "logfile_maxbytes": "1MB",
            "logfile_backups": 1,
            **({"user": "root"} if os.getuid() == 0 else {}),
        },
        "unix_http_server": {"file": supervisor.socket, "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    body = {f"program:{program.name}": _program(program, log) for program in programs}
    return "\n".join(_section(name, values) for name, values in {**head, **_groups(programs), **body}.items())


def _program(program: Program, log: Path) -> dict[str, object]:
    return {
        "command": " ".join(_quoted(word) for word in program.command),
        "environment": ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items()),
        "autorestart": "true",
        "startsecs": 1,
        "startretries": 5,
        "stopwaitsecs": program.stop_seconds,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": log / f"{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
    }


def _groups(programs: Sequence[Program]) -> dict[str, dict[str, object]]:
    groups: dict[str, dict[str, object]] = {}
    for program in programs:
        members = [other.name for other in programs if other.group == program.group]
        groups[f"group:{program.group}"] = {"programs": ",".join(members), "priority": program.order}
    return groups


def _section(name: str, values: Mapping[str, object]) -> str:
    lines = [f"{key}={str(value).replace('%', '%%')}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


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
