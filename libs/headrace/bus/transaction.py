"""The transaction that ties what is written to offsets and state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from headrace.bus.blocks import Block
from headrace.bus.records import Outgoing, Place
from headrace.bus.scribe import Coming


@dataclass(slots=True)
class Transaction:
    """Everything that becomes visible at once: records, and the offsets of the inputs they came from.

    ``offsets`` are by service, topic and partition. ``tails`` name the services that have taken all that the
    transaction writes to a topic's partition: their offset is the end of it, once it has been written.
    """

    coming: list[Coming[Sequence[Block]]] = field(default_factory=list)
    offsets: dict[tuple[str, str, int], int] = field(default_factory=dict)
    tails: dict[Place, str] = field(default_factory=dict)
    rows: int = 0

    @property
    def produced(self) -> list[Block]:
        """Return what is written, as soon as it is encoded."""
        return [block for blocks in self.coming for block in blocks.result()]

    def settle(self) -> None:
        """Wait for what is still being encoded; raise what its encoding raises."""
        for blocks in self.coming:
            blocks.result()

    def records(self) -> Iterator[Outgoing]:
        """Yield what is written, record by record."""
        for block in self.produced:
            yield from block

    def last_of_tails(self) -> dict[Place, int]:
        """Return which of the blocks holds the last record of each tail."""
        blocks = enumerate(self.produced) if self.tails else ()
        return {p: n for n, b in blocks if len(b) and (p := (b.topic, b.partition)) in self.tails}
