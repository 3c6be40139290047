"""What serving has seen since the tick began: a row of the table for each batch, joined when they become many.

One row that grows would be read and written anew with every batch, however few events came.
"""

import json
from collections.abc import Sequence

from headrace.bus.service import Row, TableRows
from headrace.stats import profiles

MOST = 32  # rows that are kept apart


def add(table: TableRows, partition: int, counted: profiles.Profile) -> None:
    """Count what a batch looked like; merging is exact, so it does not matter which rows are joined when."""
    held = table.all()
    number = 1 + max((int(key.partition(".")[2] or 0) for key, _ in held), default=0)
    if len(held) >= MOST:
        counted = profiles.merge(counted, *_read(held))
        table.delete([key for key, _ in held])
    table.put([f"{partition}.{number}"], [(json.dumps(counted, sort_keys=True),)])


def taken(table: TableRows) -> tuple[int, profiles.Profile] | None:
    """Take all that was counted, with its partition; None when nothing was."""
    held = table.all()
    if not held:
        return None
    table.delete([key for key, _ in held])
    return int(held[0][0].partition(".")[0]), profiles.merge(*_read(held))


def _read(held: Sequence[tuple[str, Row]]) -> list[profiles.Profile]:
    return [json.loads(row[0]) for _, row in held]
