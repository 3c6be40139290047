"""What goes over the wire: records in, records out, and the transaction that ties them to offsets and state."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes]]


class Incoming(NamedTuple):
    """A record as a consumer gives it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Outgoing(NamedTuple):
    """A record to produce; ``value`` None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(slots=True)
class Transaction:
    """Everything that becomes visible at once: records, and the offsets of the inputs they came from.

    ``offsets`` are by service, topic and partition. ``tails`` name the services that have taken all that the
    transaction writes to a topic's partition: their offset is the end of it, once it has been written.
    """

    produced: list[Outgoing] = field(default_factory=list)
    offsets: dict[tuple[str, str, int], int] = field(default_factory=dict)
    tails: dict[tuple[str, int], str] = field(default_factory=dict)
    rows: int = 0

    def last_of_tails(self) -> dict[tuple[str, int], int]:
        """Return where in ``produced`` the last record of each tail stands."""
        if not self.tails:
            return {}
        return {
            place: n for n, r in enumerate(self.produced) if (place := (r.topic, r.partition)) in self.tails
        }


def chain(digest: bytes, bodies: Iterable[bytes]) -> bytes:
    """Extend a running sha256 by each body in order; cutting the sequence anywhere gives the same bytes."""
    for body in bodies:
        digest = hashlib.sha256(digest + body).digest()
    return digest


def trace_headers(
    source: str, kind: str, ids: Sequence[str], causes: Sequence[str], times: Sequence[str]
) -> list[Headers]:
    """Return CloudEvents and W3C trace headers of records, all derived from ids: one list a record.

    ``causes`` are the event ids the trace belongs to; a span is a hash of source and record id
    (CloudEvents Kafka binding 1.0.2, W3C Trace Context 1).
    """
    origin = ("ce_source", source.encode())
    typed = ("ce_type", kind.encode())
    return [
        (
            ("ce_id", record.encode()),
            origin,
            typed,
            ("ce_time", time.encode()),
            ("traceparent", traceparent(cause, source + record)),
        )
        for record, cause, time in zip(ids, causes, times, strict=True)
    ]


def traceparent(cause: str, span: str) -> bytes:
    """Return a W3C traceparent whose trace id derives from ``cause`` and whose span id from ``span``."""
    trace = hashlib.sha256(cause.encode()).hexdigest()[:32]
    return f"00-{trace}-{hashlib.sha256(span.encode()).hexdigest()[:16]}-01".encode()
