"""Whether a broker's compilers have come to rest: on a small machine they take a minute of what is measured."""

import time
from pathlib import Path

import psutil

COMPILERS = ("C1 Compiler", "C2 Compiler")
BROKER = "kafka.Kafka"
BUSY = 0.1  # of a core
WATCHED = 5.0  # seconds


class Compilers:
    """The compiler threads of the brokers that this process has started; where there is no ``/proc``, none is seen."""

    def __init__(self) -> None:
        self._since, self._used = time.monotonic(), _used()

    def rest(self) -> bool:
        """Tell whether they used little of a core since this was last told; too soon after that, they did not."""
        passed = time.monotonic() - self._since
        if passed < WATCHED:
            return False
        before, self._used, self._since = self._used, _used(), time.monotonic()
        return self._used - before < BUSY * passed


def _used() -> float:
    """Return the CPU seconds that the threads have used."""
    brokers = [p for p in psutil.Process().children(recursive=True) if BROKER in p.cmdline()]
    used: float = sum(
        thread.user_time + thread.system_time
        for broker in brokers
        for thread in broker.threads()
        if _name(broker.pid, thread.id).startswith(COMPILERS)
    )
    return used


def _name(process: int, thread: int) -> str:
    told = Path(f"/proc/{process}/task/{thread}/comm")
    return told.read_text() if told.exists() else ""
