"""The oracle: it shares no code with the services, reads the topics with plain clients, and counts.

``python -m headrace.chaos.oracle BOOTSTRAP REGISTRY PIPELINE`` follows the topics until a line arrives on its standard
input: JSON with ``acked`` (the producer's notes, ``partition offset kind id`` a line), ``states`` (service to the
digests the service itself told) and ``calm`` (what the oracle printed about an undisturbed run, or null). Then it
reads everything again and prints what is lost, duplicated and reordered, every other objection, and its digests.
"""

import hashlib
import io
import json
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

ENDS = {
    "validated": ("event", "label"),
    "features": ("event",),
    "predictions": ("event",),
    "rejected": ("bad",),
    "receipts": ("bad",),
}
"""The kinds of raw records that have one record each on a topic."""
GIVES = {
    "ingestion": ("validated", "rejected", "receipts"),
    "features": ("features",),
    "serving": ("predictions",),
}
SERVICES = tuple(GIVES)
_HEADER = 5
_MOST_NAMED = 20
Place = tuple[int, int]


class Reader:
    """Topics of one pipeline as an outsider's client sees them."""

    def __init__(self, bootstrap: str, registry: str, pipeline: str) -> None:
        self._bootstrap, self._registry, self._pipeline = bootstrap, registry, pipeline

    def name(self, stream: str) -> str:
        """Return a topic's name."""
        return f"{self._pipeline}.{stream}.v1"

    @cache  # noqa: B019 -- a reader lives as long as its process
    def schema(self, schema_id: int) -> Any:
        """Return a parsed schema of the registry."""
        with urllib.request.urlopen(f"{self._registry}/schemas/ids/{schema_id}", timeout=10) as answer:  # noqa: S310
            return fastavro.parse_schema(json.loads(json.load(answer)["schema"]))

    def record(self, value: bytes) -> dict[str, Any]:
        """Return a framed record."""
        schema = self.schema(int.from_bytes(value[1:_HEADER], "big"))
        return dict(fastavro.schemaless_reader(io.BytesIO(value[_HEADER:]), schema, None))

    def client(self) -> Consumer:
        """Return a read_committed consumer."""
        return Consumer({
            "bootstrap.servers": self._bootstrap, "group.id": "oracle", "isolation.level": "read_committed",
            "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error",
            "broker.address.family": "v4", "log_level": 0,
        })  # fmt: skip

    def places(self, client: Consumer, streams: tuple[str, ...]) -> list[TopicPartition]:
        """Return every partition of the topics, from its beginning."""
        topics = client.list_topics(timeout=60).topics
        names = [self.name(s) for s in streams]
        return [TopicPartition(n, p, OFFSET_BEGINNING) for n in names for p in topics[n].partitions]

    def messages(self, stream: str) -> Iterator[Message]:
        """Yield all committed records of a topic."""
        client = self.client()
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

    def __init__(self, reader: Reader) -> None:
        super().__init__(daemon=True)
        self._reader = reader
        self.seen: dict[tuple[str, int], Any] = defaultdict(hashlib.sha256)
        self.counted: Counter[tuple[str, int]] = Counter()
        self.places: set[tuple[str, int]] = set()
        self.ended: set[tuple[str, int]] = set()
        self.leaving = threading.Event()

    def run(self) -> None:
        """Follow until told to leave and at the end of every partition."""
        client = self._reader.client()
        places = self._reader.places(client, (*ENDS, "ledger"))
        self.places = {(p.topic, p.partition) for p in places}
        client.assign(places)
        while not (self.leaving.is_set() and self.ended == self.places):
            message = client.poll(0.2)
            if message is None:
                continue
            place, error = (message.topic(), message.partition()), message.error()
            if error is None:
                self.seen[place].update(_seen(message))
                self.counted[place] += 1
                self.ended.discard(place)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                self.ended.add(place)
        client.close()


def _seen(message: Message) -> bytes:
    key, value = message.key() or b"", message.value() or b""
    return f"{message.offset()} {len(key)} {len(value)} ".encode() + key + value


class Oracle:
    """Counts what became of the acknowledged events."""

    def __init__(self, reader: Reader, follower: Follower) -> None:
        self._reader, self._follower = reader, follower
        self.lost = self.duplicated = self.reordered = 0
        self.objections: list[str] = []
        self.digests: dict[str, str] = {}
        self._kinds: dict[Place, str] = {}
        self._counted: dict[str, Counter[Place]] = {
            s: Counter() for s in ENDS
        }  # (partition, tick) to records
        self._tick: dict[Place, int] = {}  # a raw place to the tick of its answer

    def judge(self, acked: Path, states: dict[str, dict[str, str]]) -> dict[str, Any]:
        """Read everything and return what there is to say."""
        self._notes(acked)
        for stream in ENDS:
            self._stream(stream)
        self._ledger()
        for service in SERVICES:
            self._state(service, states.get(service))
        told = {name: getattr(self, name) for name in ("lost", "duplicated", "reordered", "digests")}
        return {"events": len(self._kinds), **told, "objections": self.objections}

    def object(self, what: str) -> None:
        """Note an objection; the first of them are named."""
        if len(self.objections) < _MOST_NAMED:
            self.objections.append(what)

    # -- the producer's notes against the raw topic -----------------------------------------------------

    def _notes(self, acked: Path) -> None:
        for line in acked.read_text().splitlines():
            partition, offset, kind, _ = line.split(" ", 3)
            self._kinds[int(partition), int(offset)] = kind
        raw = {(m.partition(), m.offset()) for m in self._reader.messages("events")}
        self.lost += len(self._kinds.keys() - raw)
        if raw != self._kinds.keys():
            self.object(f"raw topic holds {len(raw)} records, {len(self._kinds)} were acknowledged")

    # -- one record for each raw record it is due to, in its order ---------------------------------------

    def _stream(self, stream: str) -> None:
        found: Counter[Place] = Counter()
        last: dict[bytes, int] = {}
        ids: set[str] = set()
        digests: dict[int, Any] = defaultdict(hashlib.sha256)
        chains: dict[tuple[str, int], Any] = defaultdict(hashlib.sha256)
        counted: Counter[tuple[str, int]] = Counter()
        for message in self._reader.messages(stream):
            chain = (message.topic(), message.partition())
            chains[chain].update(_seen(message))
            counted[chain] += 1
            key, value = message.key() or b"", message.value()
            digests[message.partition()].update(len(value).to_bytes(4, "big") + key + b"\0" + value[_HEADER:])
            record = self._reader.record(value)
            place = (record["origin"]["partition"], record["origin"]["offset"])
            found[place] += 1
            self._counted[stream][place[0], record["tick"]] += 1
            self._tick.setdefault(place, record["tick"])
            if "prediction_id" in record:
                self.duplicated += record["prediction_id"] in ids
                ids.add(record["prediction_id"])
            if place[1] < last.get(key, -1):
                self.reordered += 1
                self.object(f"{stream}: raw {place[0]}@{place[1]} comes behind {last[key]} of its key")
            last[key] = place[1]
        self._compare(stream, found)
        self._witnessed(stream, chains, counted)
        for partition, digest in digests.items():
            self.digests[f"{stream}/{partition}"] = digest.hexdigest()

    def _compare(self, stream: str, found: Counter[Place]) -> None:
        due = {place for place, kind in self._kinds.items() if kind in ENDS[stream]}
        missing = due - found.keys()
        again = [place for place, n in found.items() if n > (place in due)]
        self.lost += len(missing)
        self.duplicated += sum(found[place] - (place in due) for place in again)
        for word, places in (("lacks", sorted(missing)), ("has too often", sorted(again))):
            if places:
                self.object(f"{stream} {word} {len(places)} records, first raw {places[0][0]}@{places[0][1]}")

    def _witnessed(
        self, stream: str, chains: dict[tuple[str, int], Any], counted: Counter[tuple[str, int]]
    ) -> None:
        for place, chain in chains.items():
            if self._follower.seen[place].digest() != chain.digest():
                seen = self._follower.counted[place]
                self.object(
                    f"{place[0]}/{place[1]}: the reader that was there saw {seen} records, now {counted[place]}"
                )
        del stream

    # -- the ledger ---------------------------------------------------------------------------------------

    def _ledger(self) -> None:
        entries: dict[tuple[str, int, int], dict[str, Any]] = {}
        bodies = []
        for message in self._reader.messages("ledger"):
            entry = self._reader.record(message.value())
            key = (entry["service"], entry["partition"], entry["tick"])
            if key in entries:
                self.duplicated += 1
                self.object(f"two ledger entries of {key}")
            entries[key] = entry
            bodies.append(hashlib.sha256(message.value()[_HEADER:]).hexdigest())
        self.digests["ledger"] = hashlib.sha256("".join(sorted(bodies)).encode()).hexdigest()
        for (service, partition, tick), entry in sorted(entries.items()):
            self._entry(service, partition, tick, entry)
        self._cuts(entries)

    def _entry(self, service: str, partition: int, tick: int, entry: dict[str, Any]) -> None:
        for stream in GIVES.get(service, ()):
            said, held = (
                entry["records_out"].get(self._reader.name(stream), 0),
                self._counted[stream][partition, tick],
            )
            if said != held:
                self.object(
                    f"{service}/{partition} says {said} on {stream} for tick {tick}; there are {held}"
                )
        taken = {"features": "validated", "serving": "features"}.get(service)
        if taken and entry["records_in"] != self._counted[taken][partition, tick]:
            held = self._counted[taken][partition, tick]
            self.object(
                f"{service}/{partition} says {entry['records_in']} in for tick {tick}; there are {held}"
            )

    def _cuts(self, entries: dict[tuple[str, int, int], dict[str, Any]]) -> None:
        """Raw cuts follow on each other, hold every record once, and each record's answer bears their tick."""
        at: Counter[int] = Counter()
        for (service, partition, tick), entry in sorted(entries.items(), key=lambda item: item[0]):
            if service != "ingestion":
                continue
            if entry["raw_from"] != at[partition]:
                self.object(
                    f"tick {tick} of partition {partition} begins at {entry['raw_from']}, not {at[partition]}"
                )
            span = range(entry["raw_from"], entry["raw_to"])
            at[partition] = entry["raw_to"]
            kinds = Counter(self._kinds.get((partition, offset), "unknown") for offset in span)
            said = (entry["records_in"], entry["rejected"], entry["absorbed"])
            if said != (len(span), kinds["bad"], kinds["duplicate"]):
                self.object(f"ingestion/{partition} says {said} for tick {tick}; it holds {dict(kinds)}")
            if any(self._tick.get((partition, offset), tick) != tick for offset in span):
                self.object(f"a record of tick {tick} in partition {partition} bears another tick")
        ends = Counter(partition for partition, _ in self._kinds)
        if any(at[p] != n for p, n in ends.items()):
            self.object(f"the cuts end at {dict(at)}, the raw partitions at {dict(ends)}")

    # -- state ----------------------------------------------------------------------------------------------

    def _state(self, service: str, told: dict[str, str] | None) -> None:
        rows: dict[tuple[int, bytes], bytes | None] = {}
        for message in self._reader.messages(f"{service}-changelog"):
            rows[message.partition(), message.key()] = message.value()
        lines: dict[str, list[str]] = defaultdict(list)
        for (partition, place), value in rows.items():
            table, _, key = place.decode().partition("/")
            if value is not None:
                row = [plain(held) for held in self._reader.record(value).values()]
                lines[f"{partition}/{table}"].append(json.dumps([key, row]))
        for name, held in lines.items():
            digest = hashlib.sha256("\n".join(sorted(held)).encode()).hexdigest()
            self.digests[f"{service} state {name}"] = digest
            said = told or {"unknown": ""}
            if "unknown" not in said and not name.endswith("/progress") and said.get(name) != digest:
                self.object(f"{service}: its state {name} is not what its changelog holds ({len(held)} rows)")
        if told is None:
            self.object(f"{service} did not tell its state")


def plain(value: Any) -> Any:
    """Return a value as JSON says it: bytes in hex, maps as sorted pairs, times in microseconds."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return [[key, plain(held)] for key, held in sorted(value.items())]
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    return round(value.timestamp() * 1_000_000) if isinstance(value, datetime) else value


def differences(digests: dict[str, str], calm: dict[str, str]) -> list[str]:
    """Return where a run differs from the undisturbed one."""
    names = sorted(digests.keys() | calm.keys())
    return [f"{n} differs from the undisturbed run" for n in names if digests.get(n) != calm.get(n)]


def main(bootstrap: str, registry: str, pipeline: str) -> None:
    """Follow, wait for the line, judge, print."""
    reader = Reader(bootstrap, registry, pipeline)
    follower = Follower(reader)
    follower.start()
    asked = json.loads(sys.stdin.readline())
    time.sleep(asked.get("grace", 1.0))
    follower.leaving.set()
    follower.join(60)
    oracle = Oracle(reader, follower)
    told = oracle.judge(Path(asked["acked"]), asked["states"])
    if asked["calm"] is not None:
        told["objections"] += differences(told["digests"], asked["calm"])
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:4])
