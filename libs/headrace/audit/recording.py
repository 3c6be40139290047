"""What a replay needs of the log, and no more: books and control topics whole, raw records and predictions by their cuts."""

from headrace.audit.replay import Recording, first_tick, raw_spans, registered, skip_orders
from headrace.bus.engine import decode_plain
from headrace.bus.reading import Log, Span, held, of_ticks, whole
from headrace.bus.schemas import Registry
from headrace.contracts.topics import CONTROL_TOPICS, EVENTS, LEDGER, PREDICTIONS, REJECTED, REKEYED, TICKS
from headrace.errors import CheckError


def books(log: Log, pipeline: str) -> Recording:
    """Return a recording of a pipeline's ticks, ledger and control topics.

    Raises:
        UsageError: when the log has no such pipeline.
    """
    present = set(log.topics())
    controls = [t.name() for t in CONTROL_TOPICS if t.name() in present]
    return Recording(pipeline, whole(log, TICKS.name(pipeline), LEDGER.name(pipeline), *controls))


def with_data(recording: Recording, log: Log, registry: Registry, from_tick: int, to_tick: int) -> Recording:
    """Return a recording with the raw records and predictions that a replay of these ticks reads.

    So are the records that a re-key moved, from where the replay begins. Where operators let a service skip records, the rejections are there too: they tell which orders were obeyed.
    """
    spans = raw_spans(recording, registry, from_tick, to_tick)
    raw = [Span(EVENTS.name(recording.pipeline), p, start, end) for p, (start, end) in spans.items()]
    said = of_ticks(log, registry, PREDICTIONS.name(recording.pipeline), range(from_tick, to_tick + 1))
    moved: list[Span] = []
    if registered(recording, registry).rekey is not None:
        ticks = range(first_tick(recording, registry, from_tick), to_tick + 1)
        moved = of_ticks(log, registry, REKEYED.name(recording.pipeline), ticks)
    letters = whole(log, REJECTED.name(recording.pipeline)) if skip_orders(recording, registry) else {}
    return Recording(recording.pipeline, recording.partitions | held(log, [*raw, *moved, *said]) | letters)


def ticks_between(
    recording: Recording, registry: Registry, after: int | None, to: int | None
) -> tuple[int, int]:
    """Return the first and last tick whose time lies after one instant and not after another (microseconds UTC).

    Raises:
        CheckError: when there is none.
    """
    found = [
        n
        for n, time in _times(recording, registry).items()
        if (after is None or time > after) and (to is None or time <= to)
    ]
    if not found:
        raise CheckError(
            f"{recording.pipeline} has no tick there", "", "headrace topic tail ticks --pipeline NAME"
        )
    return min(found), max(found)


def last_ticks(recording: Recording, registry: Registry, count: int) -> tuple[int, int]:
    """Return the first and last of the newest ``count`` ticks that every stage has closed.

    Raises:
        CheckError: when none is closed.
    """
    name = LEDGER.name(recording.pipeline)
    closed: dict[str, int] = {}
    for _, _, entry in decode_plain(recording.of(name), registry):
        stage = f"{entry['service']}/{entry['partition']}"
        closed[stage] = max(closed.get(stage, 0), entry["tick"])
    last = min(closed.values(), default=0)
    if not last:
        raise CheckError(
            f"{recording.pipeline} has closed no tick", "nothing was published", "headrace status"
        )
    return max(1, last - count + 1), last


def _times(recording: Recording, registry: Registry) -> dict[int, int]:
    return {
        f["n"]: f["time"] for _, _, f in decode_plain(recording.of(TICKS.name(recording.pipeline)), registry)
    }
