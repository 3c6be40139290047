"""How many processes each service of a home has: asked for at a start, and remembered for later commands."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from headrace.errors import UsageError

FILE = "replicas.json"


def asked(texts: Sequence[str], services: Collection[str]) -> dict[str, int]:
    """Return counts by service from texts like ``features=3``.

    Raises:
        UsageError: when one is no such text, or names no service.
    """
    found = {}
    for text in texts:
        service, _, count = text.partition("=")
        if service not in services or not count.isdecimal() or int(count) < 1:
            raise UsageError(
                f"--replicas {text} is not understood",
                f"it must be <service>=<count> with a service of {', '.join(sorted(services))}",
                "headrace up --replicas features=3",
            )
        found[service] = int(count)
    return found


def names(services: Sequence[str], counts: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    """Yield (program, service, replica): first one of each service, by its own name, then the others."""
    yield from ((service, service, 0) for service in services)
    for service in services:
        for replica in range(1, counts.get(service, 1)):
            yield f"{service}-{replica}", service, replica


def remember(home: Path, counts: Mapping[str, int]) -> None:
    """Note the counts of a home that is being started."""
    home.mkdir(parents=True, exist_ok=True)
    (home / FILE).write_text(json.dumps(dict(counts)))


def remembered(home: Path) -> dict[str, int]:
    """Return the counts that a home was started with; {} when nothing is known."""
    path = home / FILE
    found: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return found


def forget(home: Path) -> None:
    """Forget the counts of a home that was stopped."""
    (home / FILE).unlink(missing_ok=True)
