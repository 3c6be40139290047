"""What the installer does once so that no later start waits for it.

Fetches the embedded programs, starts and stops them so that the JVMs leave their class-data archives behind,
and calls ``warm()`` of every module in ``HOOKS`` (they fill numba's caches).
"""

import importlib
import sys

from headrace.errors import HeadraceError
from headrace.local.platform import fetch
from headrace.local.settings import Settings
from headrace.testing.broker import running_broker

HOOKS = (
    "headrace.bus.hashes",
    "headrace.bus.joining",
    "headrace.bus.native",
    "headrace.bus.partitions",
    "headrace.bus.pulled",
    "headrace.bus.trace",
    "headrace.bus.tree",
    "headrace.contracts.codec",
    "headrace.contracts.numbering",
    "headrace.features.tiles",
)


def warm(settings: Settings) -> None:
    """Fetch, start once, compile; raises HeadraceError saying what is in the way."""
    if settings.embeds_kafka and settings.embeds_registry:
        fetch(settings)
        for _ in running_broker():
            pass
    for name in HOOKS:
        importlib.import_module(name).warm()


if __name__ == "__main__":
    try:
        warm(Settings())
    except HeadraceError as error:
        sys.stderr.write(f"failed: {error.what}\nwhy:    {error.why}\nnext:   {error.next_command}\n")
        sys.exit(error.exit_code)
