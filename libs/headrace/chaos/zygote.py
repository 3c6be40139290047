"""A fork server: it has imported every service once, and each child becomes the real ``python -m services.NAME``.

Names joined by ``+`` are one process, a fused chain.

It reads a JSON line for each process to start (``id``, ``service``, ``env``, ``log``, ``mutant``, ``state``) and
writes one for each thing that happens to a child: started, stopped, exited.
"""

import importlib
import json
import os
import runpy
import select
import signal
import sys
from pathlib import Path
from typing import Any

PAUSE = 0.02
Spec = dict[str, Any]


def serve(services: list[str]) -> Spec:
    """Start a child for each line; return only in a child, with what it shall be. Leaves at the end of input."""
    importlib.import_module("headrace.bus.fused")
    for name in "+".join(services).split("+"):
        importlib.import_module(f"services.{name}.__main__")
    _say({"event": "ready"})
    children: dict[int, int] = {}
    unread = b""
    while True:
        if select.select([0], [], [], PAUSE)[0]:
            heard = os.read(0, 65_536)
            if not heard:
                sys.exit(0)
            *lines, unread = (unread + heard).split(b"\n")
            for line in lines:
                spec: Spec = json.loads(line)
                pid = os.fork()
                if not pid:
                    return spec
                children[pid] = spec["id"]
                _say({"event": "started", "id": spec["id"], "pid": pid})
        _watch(children)


def _watch(children: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        if not pid:
            return
        if os.WIFSTOPPED(status):
            _say({"event": "stopped", "id": children[pid]})
        else:
            code = os.waitstatus_to_exitcode(status)
            _say({"event": "exited", "id": children.pop(pid), "code": code})


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def become(spec: Spec) -> None:
    """Be a service: its own log, environment and signals; then the real entry module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(spec["env"])
    from headrace.chaos import state  # noqa: PLC0415 -- what the parent never needs

    noted = state.noted()
    if spec["mutant"]:
        from headrace.chaos import mutants  # noqa: PLC0415

        mutants.plug_in(spec["mutant"])
    members = spec["service"].split("+")
    fused = len(members) > 1
    sys.argv[1:] = members if fused else []
    module = "headrace.bus.fused" if fused else f"services.{members[0]}"
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    Path(spec["state"]).write_text(json.dumps({name: state.told(noted, name) for name in members}))


if __name__ == "__main__":
    become(serve(sys.argv[1:]))
