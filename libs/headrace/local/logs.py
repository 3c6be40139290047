"""The logs that the supervisor writes."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

PAUSE = 0.2


def known(folder: Path) -> list[str]:
    """Return the names of the programs that have a log in ``folder``."""
    return sorted(path.stem for path in folder.glob("*.log"))


def tail(path: Path, lines: int, *, follow: bool = False) -> Iterator[str]:
    """Yield the last ``lines`` lines of a log; with ``follow`` go on for ever, over rotations too."""
    file = path.open(errors="replace")
    yield from (line.rstrip("\n") for line in deque(file, lines))
    while follow:
        if line := file.readline():
            yield line.rstrip("\n")
        elif path.exists() and path.stat().st_size < file.tell():
            file.close()
            file = path.open(errors="replace")
        else:
            time.sleep(PAUSE)
    file.close()
