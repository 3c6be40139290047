"""A log in memory as a reader sees it."""

from collections.abc import Iterable, Iterator, Mapping

from headrace.bus.arrivals import Arrivals
from headrace.bus.memory import MemoryLog
from headrace.bus.reading import Span, Stamped
from headrace.bus.records import Place


class HeldLog:
    """Reads a :class:`MemoryLog` through the port that :class:`headrace.bus.reading.KafkaLog` has."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.reads = 0

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        return sorted({topic for topic, _ in self._log.partitions})

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of every partition; in memory a topic that nobody wrote to is an empty one."""
        found = {p: len(held) for (name, p), held in self._log.partitions.items() if name == topic}
        return found or {0: 0}

    def read(self, spans: Iterable[Span]) -> Iterator[Stamped]:
        """Yield the records of the spans, and count them."""
        for part in self.columns(spans):
            yield from (Stamped(record, 0) for record in part)

    def columns(self, spans: Iterable[Span]) -> Iterator[Arrivals]:
        """Yield the same records as columns."""
        for span in spans:
            if found := self._log.partitions[span.topic, span.partition][span.start : span.end]:
                self.reads += len(found)
                yield found.columns()

    def firsts(self, spans: Iterable[Span]) -> Mapping[Place, Stamped]:
        """Return the first record of each span that has any, by place."""
        found = (next(iter(self.read([span])), None) for span in spans)
        return {stamped.place: stamped for stamped in found if stamped}
