"""The re-keyed topic in a replay: what it holds is computed again and compared, the order it recorded is obeyed."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from headrace.bus.chunks import derived
from headrace.bus.engine import Engine
from headrace.bus.held import Held
from headrace.bus.memory import MemoryLog
from headrace.bus.records import Incoming, Place
from headrace.bus.schemas import Registry, reading_schema
from headrace.contracts.frame import SIZE
from headrace.contracts.topics import EVENTS, REKEYED, VALIDATED
from headrace.pipeline.definition import Definition

Partitions = Mapping[Place, Held]


class Moved(NamedTuple):
    """What must be the same of a re-keyed record, whatever its place among those of other sources."""

    key: bytes | None
    body: bytes
    event_id: str


def up_to_the_re_key(engines: Sequence[Engine], definition: Definition) -> list[Engine]:
    """Return the engines whose output makes the re-keyed topic: none, where there is no re-key."""
    if definition.rekey is None:
        return []
    makes = {EVENTS, VALIDATED}
    return [e for e in engines if makes & {i.topic for i in e.service.inputs(definition)}]


def obey(
    recorded: Partitions, log: MemoryLog, registry: Registry, definition: Definition, ticks: range
) -> list[str]:
    """Put the recorded re-keyed records of ``ticks`` in the place of those computed again.

    Returns the ids of events that are not the same: content, key, partition, or order among those of one source. Then
    the records computed again stay, so that a replay can go on.
    """
    name, told, differ = REKEYED.name(definition.name), {}, []
    for partition in range(definition.partitions):
        said, sources = _of_ticks(recorded.get((name, partition), Held()), registry, definition, ticks)
        _, again = _of_ticks(log.partitions[name, partition], registry, definition, ticks)
        told[name, partition] = said
        differ += [
            i for source in sources.keys() | again.keys() for i in _differing(sources[source], again[source])
        ]
    if not differ:
        log.partitions.update(told)
    return sorted(set(differ))


def _of_ticks(
    records: Held, registry: Registry, definition: Definition, ticks: range
) -> tuple[Held, defaultdict[int, list[Moved]]]:
    """Return the records of ticks, and what they hold by the raw partition that they come from."""
    held: list[Incoming] = []
    sources: defaultdict[int, list[Moved]] = defaultdict(list)
    if records:
        (chunk,) = derived(
            REKEYED, [records.columns()], registry, lambda r: reading_schema(REKEYED, r, definition)
        )
        names = ("tick", "event_id", "origin")
        rows = zip(records, *(chunk.rows.lineage[n].to_pylist() for n in names), strict=True)
        for record, tick, event_id, origin in rows:
            if tick in ticks:
                held.append(record)
                moved = Moved(record.key, (record.value or b"")[SIZE:], event_id)
                sources[origin["partition"]].append(moved)
    return Held.of(held), sources


def _differing(said: Sequence[Moved], again: Sequence[Moved]) -> Iterator[str]:
    """Yield the events of records that only one side has; where both have the same, of those that changed places."""
    left, right = Counter(said), Counter(again)
    only = (left - right) + (right - left)
    yield from (moved.event_id for moved in only)
    if not only:
        yield from (a.event_id for a, b in zip(said, again, strict=True) if a != b)
