"""What became of a transaction whose end nobody saw: the progress on the changelog says it."""

from collections.abc import Callable, Iterable, Sequence

from headrace.bus.arrivals import runs
from headrace.bus.changelog import PROGRESS, Progress, read
from headrace.bus.errors import ReplacedError
from headrace.bus.lane import Lane
from headrace.bus.records import Incoming
from headrace.bus.schemas import Registry

Reader = Callable[[str, int], Sequence[Incoming]]


def kept(lanes: Iterable[Lane], read_changelog: Reader, registry: Registry) -> bool:
    """Tell whether the open transaction was committed: each lane's progress is on the log, or the one before it.

    Every transaction writes the progress of the lanes it worked on, and no progress comes twice, so this also
    decides for a transaction without offsets. Call it when no older producer can commit any more.

    Raises:
        ReplacedError: when the log holds neither of the two: somebody else went on with the lane.
    """
    verdicts = set()
    for lane in lanes:
        found = last_progress(read_changelog(lane.changelog, lane.partition), registry).row()
        wanted, saved = lane.progress.row(), lane.saved.row()
        if found not in (wanted, saved):
            raise ReplacedError(lane.service.name, lane.pipeline, lane.partition)
        if wanted != saved:
            verdicts.add(found == wanted)
    if len(verdicts) > 1:
        raise ReplacedError(lane.service.name, lane.pipeline, lane.partition)
    return verdicts == {True}


def last_progress(records: Iterable[Incoming], registry: Registry) -> Progress:
    """Return the progress a changelog ends with, or that of a lane that never worked."""
    found = (read(own, (), registry)[PROGRESS.name] for own in runs(filter(is_progress, records)))
    told = [row for rows in found for row in rows.values() if row is not None]
    return Progress.of(told[-1]) if told else Progress()


def is_progress(record: Incoming) -> bool:
    """Tell whether a changelog's record is a lane's progress."""
    return bytes(record.key or b"").startswith(f"{PROGRESS.name}/".encode())
