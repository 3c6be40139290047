"""Which heads are to be signed: those of ticks that every stage has closed and no head was said for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headrace.audit.heads import Chain, Head
from headrace.bus.observer import Said
from headrace.contracts.topics import AUDIT, LEDGER, PIPELINES, TICKS, Topic
from headrace.errors import CheckError

PAUSE = 1_000_000  # microseconds between transactions: a signature a second later proves no less


class LedgerChangedError(CheckError):
    """The ledger no longer gives a head that was signed."""


class Audit:
    """The audit of all pipelines, as an observer of the log."""

    controls: tuple[Topic, ...] = (PIPELINES, AUDIT)
    streams: tuple[Topic, ...] = (TICKS, LEDGER)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._chains: dict[str, Chain] = {}
        self._signed: dict[str, dict[int, Head]] = {}
        self._registered = 0
        self._spoken: int | None = None

    def observe(self, topic: str, offset: int, record: str, fields: Mapping[str, Any]) -> None:
        """Take one record."""
        pipeline = fields["pipeline"]
        if topic == PIPELINES.name():
            self._registered = offset + 1
        if record == "HeadSigned":
            head = Head(pipeline, fields["tick"], fields["service_entries"], fields["root"])
            self._signed.setdefault(pipeline, {})[head.tick] = head
            return
        self._chains.setdefault(pipeline, Chain(pipeline)).take(offset, record, fields)

    def decide(self, now: int, ends: Callable[[str, int], dict[int, int]]) -> Iterable[Said]:
        """Return the heads to be said now, at most once a second.

        Raises:
            LedgerChangedError: when the ledger gives another head than was signed in an earlier life.
        """
        del ends
        if self._spoken is not None and now - self._spoken < PAUSE:
            return []
        heads = [head for chain in self._chains.values() for head in chain.grow(self._registered)]
        said = [Said(AUDIT, "HeadSigned", head.signed(self._key)) for head in heads if self._is_new(head)]
        self._spoken = now if said else self._spoken
        return said

    def _is_new(self, head: Head) -> bool:
        """Tell whether a head was never said; forget what was said of a tick that has been computed again."""
        signed = self._signed.get(head.pipeline, {}).pop(head.tick, None)
        if signed not in (None, head):
            raise LedgerChangedError(
                f"the ledger of {head.pipeline} was changed at or before tick {head.tick}",
                f"its head was {signed.root if signed else ''}, it is {head.root}",
            )
        return signed is None
