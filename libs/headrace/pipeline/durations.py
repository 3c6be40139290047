"""Durations as people write them (``90s``, ``5m``, ``3h``, ``2d``), held as whole microseconds."""

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_FORM = re.compile(r"^\s*(\d+)\s*(ms|s|m|h|d)\s*$")


def parse(text: object) -> int:
    """Return the microseconds of ``text``; raise ``ValueError`` for another form."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = _FORM.match(str(text))
    if not found:
        raise ValueError(
            f"{text!r} is not a duration; write a whole number and a unit, such as 90s, 5m, 3h or 2d"
        )
    return int(found[1]) * UNITS[found[2]]


def show(micros: int) -> str:
    """Return the shortest exact way to write ``micros``."""
    for unit in ("d", "h", "m", "s"):
        if micros % UNITS[unit] == 0:
            return f"{micros // UNITS[unit]}{unit}"
    return f"{micros // UNITS['ms']}ms"


Duration = Annotated[int, BeforeValidator(parse), PlainSerializer(show)]
