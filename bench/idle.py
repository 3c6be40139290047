"""What the whole platform costs while nobody publishes: its share of one core, and how much memory it holds.

    PYTHONPATH=libs:. python -m bench.idle [--seconds S]

The platform is that of ``headrace up``, with the pipelines of this checkout, on ports and in a folder of its own.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from headrace.local.bringup import bring_up
from headrace.local.platform import Platform, port_is_free
from headrace.local.settings import Settings
from headrace.testing.broker import free_ports

SECONDS, SETTLE, PATIENCE = 60.0, 30.0, 180.0
BLOCK = 20  # services have ports one after the other


def idle(seconds: float = SECONDS) -> dict[str, float]:
    """Return the CPU share of one core in percent, and the GB, of all the platform's processes over ``seconds``.

    ``resident_gb`` counts pages that processes share (libraries, class archives) once for each of them,
    ``proportional_gb`` once in all.

    Raises:
        HeadraceError: when the platform does not get healthy.
    """
    with _platform() as platform:
        time.sleep(SETTLE)
        cpu = {name: -spent for name, spent in _spent(platform).items()}
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        shares = {name: 100 * (cpu.get(name, 0) + spent) / took for name, spent in _spent(platform).items()}
        held = [p.memory_full_info() for p in _processes(platform).values()]
    parts = {f"{name}_percent": round(share, 2) for name, share in sorted(shares.items())}
    return {
        "seconds": round(took),
        "processes": len(held),
        "core_percent": round(sum(shares.values()), 1),
        "resident_gb": round(sum(m.rss for m in held) / 1e9, 2),
        "proportional_gb": round(sum(getattr(m, "pss", m.rss) for m in held) / 1e9, 2),
        **parts,
    }


@contextmanager
def _platform() -> Iterator[Platform]:
    """Start a platform of its own and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="headrace-idle-") as home:
        kafka, registry = free_ports(2)
        settings = Settings(
            home=Path(home), kafka_port=kafka, registry_port=registry, metrics_port=_free_block()
        )
        platform = Platform(settings)
        try:
            bring_up(platform, PATIENCE, lambda _: None)
            yield platform
        finally:
            platform.stop()


def _free_block() -> int:
    """Return a port that is free, with all that follow it in a block."""
    while True:
        (first,) = free_ports(1)
        if all(port_is_free(first + place) for place in range(BLOCK)):
            return first


def _processes(platform: Platform) -> dict[str, psutil.Process]:
    """Return the platform's processes by name: its programs, what they started, and who watches over them."""
    found = {name: psutil.Process(pid) for name, pid in platform.pids().items()}
    (watcher,) = {process.ppid() for process in found.values()}
    children = {
        f"{name}/{child.pid}": child
        for name, process in found.items()
        for child in process.children(recursive=True)
    }
    return {**found, **children, "supervisor": psutil.Process(watcher)}


def _spent(platform: Platform) -> Counter[str]:
    """Return the seconds of CPU that each program has spent so far, with its children."""
    spent: Counter[str] = Counter()
    for name, process in _processes(platform).items():
        times = process.cpu_times()
        spent[name.partition("/")[0]] += times.user + times.system
    return spent


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=SECONDS)
    for name, figure in idle(parser.parse_args().seconds).items():
        print(f"{name:28} {figure:10,}")


if __name__ == "__main__":
    main()
