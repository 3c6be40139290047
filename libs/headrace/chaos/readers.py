"""What the oracle sees with: plain clients, one that reads a topic whole and one that is there while it happens."""

import hashlib
import io
import json
import threading
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

HEADER = 5
"""Bytes before a record's body."""


class Reader:
    """Topics of one pipeline as an outsider's client sees them."""

    def __init__(self, bootstrap: str, registry: str, pipeline: str) -> None:
        self._bootstrap, self._registry, self._pipeline = bootstrap, registry, pipeline

    def name(self, stream: str) -> str:
        """Return a topic's name."""
        return f"{stream}.v1" if "." in stream else f"{self._pipeline}.{stream}.v1"

    @cache  # noqa: B019 -- a reader lives as long as its process
    def schema(self, schema_id: int) -> Any:
        """Return a parsed schema of the registry."""
        with urllib.request.urlopen(f"{self._registry}/schemas/ids/{schema_id}", timeout=10) as answer:  # noqa: S310
            return fastavro.parse_schema(json.loads(json.load(answer)["schema"]))

    def record(self, value: bytes) -> dict[str, Any]:
        """Return a framed record."""
        schema = self.schema(int.from_bytes(value[1:HEADER], "big"))
        return dict(fastavro.schemaless_reader(io.BytesIO(value[HEADER:]), schema, None))

    def client(self, group: str = "oracle", wait_ms: int = 500) -> Consumer:
        """Return a read_committed consumer, which knows the end of a partition after ``wait_ms``."""
        return Consumer({
            "bootstrap.servers": self._bootstrap, "group.id": group, "isolation.level": "read_committed",
            "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error",
            "broker.address.family": "v4", "log_level": 0, "fetch.wait.max.ms": wait_ms,
        })  # fmt: skip

    def places(self, client: Consumer, streams: tuple[str, ...]) -> list[TopicPartition]:
        """Return every partition of the topics, from its beginning."""
        topics = client.list_topics(timeout=60).topics
        names = [self.name(s) for s in streams]
        return [TopicPartition(n, p, OFFSET_BEGINNING) for n in names for p in topics[n].partitions]

    def committed(self, service: str, stream: str) -> dict[int, int]:
        """Return by partition how far a service says it has taken a topic; -1001 where it never did."""
        client = self.client(f"headrace.{service}")
        found = client.committed(self.places(client, (stream,)), timeout=60)
        client.close()
        return {p.partition: p.offset for p in found}

    def messages(self, stream: str) -> Iterator[Message]:
        """Yield all committed records of a topic."""
        client = self.client(wait_ms=10)
        places = self.places(client, (stream,))
        waiting = {p.partition for p in places}
        client.assign(places)
        while waiting:
            first = client.poll(1.0)
            for message in [] if first is None else [first, *client.consume(5_000, 0)]:
                if (error := message.error()) is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                    waiting.discard(message.partition())
                elif error.fatal():
                    raise KafkaException(error)
        client.close()


class Follower(threading.Thread):
    """A reader that is there while it happens: the digest of what it saw, partition by partition."""

    def __init__(self, reader: Reader, streams: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self._reader, self._streams = reader, streams
        self.seen: dict[tuple[str, int], Any] = defaultdict(hashlib.sha256)
        self.counted: Counter[tuple[str, int]] = Counter()
        self.places: set[tuple[str, int]] = set()
        self.ended: set[tuple[str, int]] = set()
        self.leaving = threading.Event()

    def run(self) -> None:
        """Follow until told to leave and at the end of every partition."""
        client = self._reader.client()
        places = self._reader.places(client, self._streams)
        self.places = {(p.topic, p.partition) for p in places}
        client.assign(places)
        while not (self.leaving.is_set() and self.ended == self.places):
            message = client.poll(0.2)
            if message is None:
                continue
            place, error = (message.topic(), message.partition()), message.error()
            if error is None:
                self.seen[place].update(seen(message))
                self.counted[place] += 1
                self.ended.discard(place)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                self.ended.add(place)
        client.close()


def seen(message: Message) -> bytes:
    """Return what a digest of a partition takes of a record."""
    key, value = message.key() or b"", message.value() or b""
    return f"{message.offset()} {len(key)} {len(value)} ".encode() + key + value


def plain(value: Any) -> Any:
    """Return a value as JSON says it: bytes in hex, maps as sorted pairs, times in microseconds."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return [[key, plain(held)] for key, held in sorted(value.items())]
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    return round(value.timestamp() * 1_000_000) if isinstance(value, datetime) else value
