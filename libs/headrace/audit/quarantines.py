"""The stretches of labels and inputs a pipeline has quarantined, as its control topic tells them."""

from dataclasses import dataclass, replace

from headrace.bus.reading import Log, records
from headrace.bus.schemas import Registry
from headrace.contracts.topics import QUARANTINE


@dataclass(frozen=True, slots=True)
class Stretch:
    """Labels of a slice, or records of a type, that broke a rule, by their event time (us since 1970 UTC, end exclusive).

    ``state`` is ``open`` while the labels break their contract, ``ended`` once they conform again (they are left out
    all the same), ``released`` once an operator let decisions rest on them; ``by`` and ``why`` are that operator's.
    """

    quarantine_id: str
    pipeline: str
    slice: str
    rule: str
    since: int
    until: int | None
    state: str
    detail: str
    by: str | None = None
    why: str | None = None


def quarantines(log: Log, registry: Registry, pipeline: str) -> list[Stretch]:
    """Return every stretch of a pipeline, in the order they were told."""
    found: dict[str, Stretch] = {}
    for _, name, fields in records(log, registry, QUARANTINE.name(), pipeline):
        identity = fields["quarantine_id"]
        if name in ("LabelsQuarantined", "InputsQuarantined"):
            told = (fields["slice"], fields["rule"], fields["since"], None, "open", fields["detail"])
            found[identity] = Stretch(identity, pipeline, *told)
        elif identity in found and name == "QuarantineEnded":
            held = found[identity]
            state = held.state if held.state == "released" else "ended"
            found[identity] = replace(held, until=fields["until"], state=state)
        elif identity in found and name == "QuarantineReleased":
            found[identity] = replace(found[identity], state="released", by=fields["by"], why=fields["why"])
    return list(found.values())
