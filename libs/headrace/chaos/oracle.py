"""The oracle: it shares no code with the services, reads the topics with plain clients, and counts.

``python -m headrace.chaos.oracle BOOTSTRAP REGISTRY PIPELINE`` follows the topics until a line arrives on its standard
input: JSON with ``acked`` (the producer's notes, ``partition offset kind id`` a line), ``states`` (service to the
digests the service itself told), ``calm`` (the digests of an undisturbed run, or null) and ``stuck`` (whether the run
never came to rest: what a service has not taken by its own offsets is then waiting, not lost). Then it reads
everything again and prints what is lost, duplicated and reordered, every other objection, and its digests.
"""

import hashlib
import json
import struct
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from headrace.chaos.readers import HEADER, Follower, Reader, plain, seen

ENDS = {
    "validated": ("event", "label"),
    "features": ("event",),
    "predictions": ("event",),
    "rejected": ("bad",),
    "receipts": ("bad",),
}
"""The kinds of raw records that have one record each on a topic."""
TAKEN = {
    "validated": ("ingestion", "events"),
    "features": ("features", "validated"),
    "predictions": ("serving", "features"),
    "rejected": ("ingestion", "events"),
    "receipts": ("ingestion", "events"),
}
"""Who writes to a topic, and what it takes for that."""
ALSO = ("outcomes", "profiles", "shadow-predictions", "drift")
"""Topics of the pipeline that hold what they hold: no raw record is due to be found there."""
DECISIONS = (
    "control.retrain", "control.models", "control.aliases", "control.deployments", "training.effects", "registry.effects",
)  # fmt: skip
"""What the control plane says; several services write to one of them, so their order among each other is free."""
EFFECTS = ("training", "registry")
GIVES = {
    "ingestion": ("validated", "rejected", "receipts"),
    "features": ("features",),
    "serving": ("predictions",),
    "monitoring": ("outcomes",),
}
AT_LEAST_ONCE = ("drift",)
"""Written by a service that repeats a record, under the same id, rather than lose it."""
HEAD = "head of tick"
BLOCKS = "claimed"
"""A table whose rows hold as much as a batch did, so two runs have the same claims in other rows."""
_MOST_NAMED = 20
Place = tuple[int, int]


class Oracle:
    """Counts what became of the acknowledged events."""

    def __init__(self, reader: Reader, follower: Follower, *, stuck: bool = False) -> None:
        self._reader, self._follower, self._stuck = reader, follower, stuck
        self.lost = self.duplicated = self.reordered = self.states = 0
        self.objections: list[str] = []
        self.digests: dict[str, str] = {}
        self._closed = 0  # the time of the last tick
        self._kinds: dict[Place, str] = {}
        self._counted: dict[str, Counter[Place]] = {
            s: Counter() for s in (*ENDS, *ALSO)
        }  # (partition, tick) to records
        self._at: dict[tuple[str, Place], int] = {}  # a raw place to the offset of its record, while stuck
        self._tick: dict[Place, int] = {}  # a raw place to the tick of its answer

    def judge(self, acked: Path, states: dict[str, dict[str, str] | None]) -> dict[str, Any]:
        """Read everything and return what there is to say."""
        self._notes(acked)
        for stream in ENDS:
            self._stream(stream)
        for stream in (*ALSO, *DECISIONS):
            self._said(stream)
        for service in EFFECTS:
            self._effects(service)
        self._ledger()
        self._ticks()
        self._heads()
        for service, told in states.items():
            self._state(service, told)
        told = {
            name: getattr(self, name) for name in ("lost", "duplicated", "reordered", "states", "digests")
        }
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
            chains[chain].update(seen(message))
            counted[chain] += 1
            key, value = message.key() or b"", message.value()
            digests[message.partition()].update(len(value).to_bytes(4, "big") + key + b"\0" + value[HEADER:])
            record = self._reader.record(value)
            place = (record["origin"]["partition"], record["origin"]["offset"])
            found[place] += 1
            if self._stuck:
                self._at[stream, place] = message.offset()
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
        self._witnessed(chains, counted)
        for partition, digest in digests.items():
            self.digests[f"{stream}/{partition}"] = digest.hexdigest()

    def _compare(self, stream: str, found: Counter[Place]) -> None:
        due = {place for place, kind in self._kinds.items() if kind in ENDS[stream]}
        missing = due - found.keys()
        if self._stuck:
            missing = self._passed(stream, missing)
        again = [place for place, n in found.items() if n > (place in due)]
        self.lost += len(missing)
        self.duplicated += sum(found[place] - (place in due) for place in again)
        for word, places in (("lacks", sorted(missing)), ("has too often", sorted(again))):
            if places:
                self.object(f"{stream} {word} {len(places)} records, first raw {places[0][0]}@{places[0][1]}")

    def _passed(self, stream: str, missing: set[Place]) -> set[Place]:
        """Return those of the missing whose input a service says it has taken: nobody will come back for them."""
        service, taken = TAKEN[stream]
        offsets = self._reader.committed(service, taken)

        def offset(place: Place) -> float:
            return place[1] if taken == "events" else self._at.get((taken, place), float("inf"))

        return {place for place in missing if offset(place) < offsets.get(place[0], 0)}

    def _witnessed(self, chains: dict[tuple[str, int], Any], counted: Counter[tuple[str, int]]) -> None:
        for place, chain in chains.items():
            if self._follower.seen[place].digest() != chain.digest():
                saw = self._follower.counted[place]
                self.object(
                    f"{place[0]}/{place[1]}: the reader that was there saw {saw} records, now {counted[place]}"
                )

    # -- what else was said ----------------------------------------------------------------------------------

    def _said(self, stream: str) -> None:
        bodies: dict[int, list[str]] = defaultdict(list)
        for message in self._reader.messages(stream):
            value = message.value()
            bodies[message.partition()].append(hashlib.sha256(value[HEADER:]).hexdigest())
            if stream in ALSO:
                self._counted[stream][message.partition(), self._reader.record(value)["tick"]] += 1
        for partition, held in bodies.items():
            self.digests[f"{stream}/{partition}"] = _digest(set(held) if stream in AT_LEAST_ONCE else held)

    def _effects(self, service: str) -> None:
        """Every effect that was asked for has an outcome."""
        asked, answered = (
            {self._reader.record(m.value())["effect_id"] for m in self._reader.messages(f"{service}.{topic}")}
            for topic in ("effects", "effect-results")
        )
        self.lost += len(asked - answered)
        if asked - answered:
            self.object(f"{service}: {len(asked - answered)} of {len(asked)} effects have no outcome")

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
            bodies.append(hashlib.sha256(message.value()[HEADER:]).hexdigest())
        self.digests["ledger"] = _digest(bodies)
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
        if not self._stuck and any(at[p] != n for p, n in ends.items()):
            self.object(f"the cuts end at {dict(at)}, the raw partitions at {dict(ends)}")

    def _ticks(self) -> None:
        """Ticks are counted without a gap; where they cut control topics differs with aborted transactions."""
        told = []
        for message in self._reader.messages("ticks"):
            tick = self._reader.record(message.value())
            told.append(json.dumps([plain(tick[name]) for name in ("n", "time", "reason", "step", "raw")]))
            self._closed = plain(tick["time"])
            if tick["n"] != len(told):
                self.object(f"tick {tick['n']} stands where tick {len(told)} belongs")
        self.digests["ticks"] = _digest(told)

    def _heads(self) -> None:
        """One head is signed for each tick, in order; the last ticks of a run may have none yet."""
        last = 0
        for message in self._reader.messages("control.audit"):
            head = self._reader.record(message.value())
            if head["tick"] != last + 1:
                self.object(f"the head of tick {head['tick']} is signed behind that of tick {last}")
            last = head["tick"]
            self.digests[f"{HEAD} {last}"] = f"{head['root']} over {head['service_entries']}"

    # -- state ----------------------------------------------------------------------------------------------

    def _state(self, service: str, told: dict[str, str] | None) -> None:
        rows: dict[tuple[int, bytes], bytes | None] = {}
        for message in self._reader.messages(f"{service}-changelog"):
            rows[message.partition(), message.key()] = message.value()
        lines: dict[str, list[str]] = defaultdict(list)
        claims: dict[str, list[str]] = defaultdict(list)
        for (partition, place), value in rows.items():
            table, _, key = place.decode().partition("/")
            if value is not None:
                record = self._reader.record(value)
                row = [plain(held) for held in record.values()]
                lines[f"{partition}/{table}"].append(json.dumps([key, row]))
                if table == BLOCKS:
                    claims[f"{partition}/{table}"] += self._claims(record)
        for name, held in lines.items():
            digest = _digest(held)
            self.digests[f"{service} state {name}"] = _digest(claims.get(name, held))
            known = {place.partition("/")[0] for place in told or {}}  # a partition on its way is nobody's
            if name.partition("/")[0] not in known or name.endswith("/progress"):
                continue
            self.states += 1
            if told and told.get(name) != digest:
                self.object(f"{service}: its state {name} is not what its changelog holds ({len(held)} rows)")
        if told is None:
            self.object(f"{service} did not tell its state")

    def _claims(self, block: dict[str, Any]) -> Iterator[str]:
        """Yield the claims of a block that have not ended: which batch they came in is no part of what is known."""
        count = len(block["dues"]) // 8
        ends, dues = (
            struct.unpack(f"<{count}{kind}", block[name]) for name, kind in (("ends", "i"), ("dues", "q"))
        )
        for n, (begin, end, due) in enumerate(zip((0, *ends), ends, dues, strict=False)):
            if due > self._closed:
                yield json.dumps(
                    [block["ids"][begin:end].hex(), block["bodies"][16 * n : 16 * n + 16].hex(), due]
                )


def _digest(bodies: Iterable[str]) -> str:
    """Return a digest of texts whatever their order."""
    return hashlib.sha256("\n".join(sorted(bodies)).encode()).hexdigest()


def differences(digests: dict[str, str], calm: dict[str, str]) -> list[str]:
    """Return where a run differs from the undisturbed one."""
    names = {n for n in digests.keys() | calm.keys() if not n.startswith(HEAD)}
    names |= {n for n in digests.keys() & calm.keys() if n.startswith(HEAD)}
    return [f"{n} differs from the undisturbed run" for n in sorted(names) if digests.get(n) != calm.get(n)]


def main(bootstrap: str, registry: str, pipeline: str) -> None:
    """Follow, wait for the line, judge, print."""
    reader = Reader(bootstrap, registry, pipeline)
    follower = Follower(reader, (*ENDS, "ledger"))
    follower.start()
    asked = json.loads(sys.stdin.readline())
    time.sleep(asked.get("grace", 1.0))
    follower.leaving.set()
    follower.join(60)
    oracle = Oracle(reader, follower, stuck=asked["stuck"])
    told = oracle.judge(Path(asked["acked"]), asked["states"])
    if asked["calm"] is not None:
        told["objections"] += differences(told["digests"], asked["calm"])
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:4])
