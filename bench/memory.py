"""How much memory the services hold under the bench's load, and how much of it each key of the windows adds.

    PYTHONPATH=libs:. python -m bench.memory [--keys N] [--events N]

The three services get the same number of events twice, of fewer devices and of more; both times a batch holds almost as
many devices as events, so what passes through is the same. What features holds more the second time is its window state:
a device has three windows (two of an hour, one of six).
"""

import argparse
from typing import Any

import psutil

from bench.harness import STILL, rest
from bench.job import events
from bench.rows import Row, three_services
from bench.stage import STAGES, stage

KEYS, EVENTS_OF_A_KEY, FEW = 100_000, 6, 30_000
WINDOWS = 3  # of a device


def memory(keys: int = KEYS, count: int | None = None) -> dict[str, Any]:
    """Return the resident MB of each service after ``count`` events, and the bytes that a key adds.

    Raises:
        HeadraceError: when a service ends or gives no answers.
    """
    total = count or keys * EVENTS_OF_A_KEY
    fewer, more = _held(total, FEW), _held(total, FEW + keys)
    added = (more["features"][1] - fewer["features"][1]) / keys
    return {
        "events": total,
        "keys": keys,
        "bytes_per_device": round(added),
        "bytes_per_key": round(added / WINDOWS),
        **{f"{name}_mb": round(resident / 1e6) for name, (resident, _) in fewer.items()},
        "features_more_keys_mb": round(more["features"][0] / 1e6),
    }


def _held(count: int, keys: int) -> dict[str, tuple[int, int]]:
    """Return the resident and the own bytes of each service after so many events of so many devices."""
    row: Row = three_services()
    with stage() as ready, ready.ticking(), ready.running(*row.commands) as processes:
        ready.publish(events(count, keys))
        rest(ready, row, processes, int(0.9 * count), STILL)
        seen = [psutil.Process(p.pid).memory_full_info() for p in processes]
    return {name: (m.rss, m.uss) for name, m in zip(STAGES, seen, strict=True)}


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--events", type=int)
    asked = parser.parse_args()
    for name, figure in memory(asked.keys, asked.events).items():
        print(f"{name:28} {figure:12,}")


if __name__ == "__main__":
    main()
