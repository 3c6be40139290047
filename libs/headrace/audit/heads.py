"""Signed heads of the ledger: one root for all that the services of a pipeline said up to a tick.

Who keeps a head can tell later whether an entry under it was changed, moved, left out or slipped in.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from headrace.audit.merkle import Frontier
from headrace.bus.reading import Log, records
from headrace.bus.schemas import Registry
from headrace.contracts.topics import AUDIT, LEDGER, PIPELINES, TICKS
from headrace.store.keys import key_id

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The tree of a pipeline's ledger when a tick was closed; ``service_entries`` is its size, ``root`` hex."""

    pipeline: str
    tick: int
    service_entries: int
    root: str

    def signed(self, key: Ed25519PrivateKey) -> Fields:
        """Return the HeadSigned record; the signature covers every field of the head."""
        signature = key.sign(self._message()).hex()
        return {**asdict(self), "signature": signature, "key_id": key_id(key.public_key())}

    def is_signed(self, signature: str, key: Ed25519PublicKey) -> bool:
        """Tell whether a signature (hex) of this head is the key's."""
        try:
            key.verify(bytes.fromhex(signature), self._message())
        except (InvalidSignature, ValueError):
            return False
        return True

    def _message(self) -> bytes:
        return b"headrace head " + _canonical(asdict(self))


@dataclass
class Chain:
    """One pipeline's ledger as a tree that grows by whole ticks; records may be taken topic by topic in any order.

    A tick is whole when every stage has closed it that was registered at its cut and still is. Its entries are
    appended by service and partition. Of two entries for one place the first counts.
    """

    pipeline: str
    closed: int = 0
    frontier: Frontier = field(default_factory=Frontier)
    _stages: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    _cuts: dict[int, int] = field(default_factory=dict)
    _entries: dict[int, dict[tuple[str, int], Fields]] = field(default_factory=dict)

    def take(self, offset: int, record: str, fields: Fields) -> None:
        """Take a registration, a tick or a ledger entry of the pipeline; other records mean nothing here."""
        if record == "PipelineRegistered":
            self._stages.append((offset, frozenset(fields["stages"])))
        elif record == "Tick":
            self._cuts[fields["n"]] = fields["controls"].get(PIPELINES.name(), 0)
        elif record == "LedgerEntry" and fields["tick"] > self.closed:
            place = fields["service"], fields["partition"]
            self._entries.setdefault(fields["tick"], {}).setdefault(place, fields)

    def grow(self, registered: int) -> Iterator[Head]:
        """Append the ticks that are whole now; ``registered`` is how far ``control.pipelines`` has been taken."""
        while (cut := self._cuts.get(self.closed + 1)) is not None and cut <= registered:
            expected, found = self._expected(cut), self._entries.get(self.closed + 1, {})
            told = {place: e for place, e in found.items() if _name(place) in expected}
            if (expected & self._stages[-1][1]) - {_name(place) for place in told}:
                return
            self.closed += 1
            self._entries.pop(self.closed, None)
            for _, entry in sorted(told.items()):
                self.frontier = self.frontier.append(_canonical(entry))
            yield Head(self.pipeline, self.closed, self.frontier.size, self.frontier.root.hex())

    def _expected(self, cut: int) -> frozenset[str]:
        return next((stages for offset, stages in reversed(self._stages) if offset < cut), frozenset())


class Flaw(NamedTuple):
    """What is wrong with the ledger or its heads, and at which tick it shows first."""

    tick: int
    what: str


def verify(log: Log, registry: Registry, pipeline: str, key: Ed25519PublicKey) -> list[Flaw]:
    """Compute a pipeline's heads again from its ledger and hold them against the signed ones; [] when all is well.

    Raises:
        UsageError: when the pipeline has no ledger.
    """
    chain = Chain(pipeline)
    for topic in (PIPELINES, TICKS, LEDGER):
        for offset, record, fields in records(log, registry, topic.name(pipeline), pipeline):
            chain.take(offset, record, fields)
    again = {head.tick: head for head in chain.grow(max(log.ends(PIPELINES.name()).values()))}
    said = [fields for _, _, fields in records(log, registry, AUDIT.name(), pipeline)]
    return sorted({*_wrong(said, again, key), *_forked(log, registry, pipeline)})


def _wrong(said: Iterable[Fields], again: Mapping[int, Head], key: Ed25519PublicKey) -> Iterator[Flaw]:
    """Yield what is wrong with heads: signature, a tick left out, or another root than the ledger gives."""
    expected = 1
    for fields in said:
        head = Head(fields["pipeline"], fields["tick"], fields["service_entries"], fields["root"])
        if not head.is_signed(fields["signature"], key):
            yield Flaw(head.tick, "the head was not signed by this key")
        if head.tick != expected:
            yield Flaw(expected, f"the next head is that of tick {head.tick}")
        if again.get(head.tick) != head:
            yield Flaw(head.tick, "the ledger gives another head than was signed")
        expected = head.tick + 1


def _forked(log: Log, registry: Registry, pipeline: str) -> Iterator[Flaw]:
    """Yield the ticks that a service closed twice in different words."""
    first: dict[tuple[int, str, int], Fields] = {}
    for _, _, entry in records(log, registry, LEDGER.name(pipeline), pipeline):
        place = entry["tick"], entry["service"], entry["partition"]
        if first.setdefault(place, entry) != entry:
            yield Flaw(entry["tick"], f"{entry['service']}/{entry['partition']} has two entries that differ")


def _canonical(value: Fields) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _name(place: tuple[str, int]) -> str:
    return f"{place[0]}/{place[1]}"
