"""What goes over the wire, record by record."""

from collections.abc import Sequence
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes]]
Place = tuple[str, int]  # topic and partition


class Incoming(NamedTuple):
    """A record as a consumer gives it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def where(self) -> str:
        """Return its coordinates as people read them."""
        return f"{self.topic}/{self.partition}@{self.offset}"


class Outgoing(NamedTuple):
    """A record to produce; ``value`` None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
