"""A witness that shares no code with the services: it reads the topics with plain clients and counts.

``python -m headrace.audit.witness BOOTSTRAP REGISTRY PIPELINE EVENT LABEL ID`` prints JSON. Every raw event must have
one end, a prediction or a rejecting receipt; every raw label one labelled outcome; predictions of one key must
stand in the order of their raw records.
"""

import io
import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

_HEADER = 5


class Reader:
    """Topics as an auditor's own client sees them."""

    def __init__(self, bootstrap: str, registry: str) -> None:
        self._bootstrap, self._registry = bootstrap, registry

    @cache  # noqa: B019 -- a reader lives as long as its process
    def schema(self, schema_id: int) -> Any:
        """Return a parsed schema of the registry."""
        with urllib.request.urlopen(f"{self._registry}/schemas/ids/{schema_id}", timeout=10) as answer:  # noqa: S310
            return fastavro.parse_schema(json.loads(json.load(answer)["schema"]))

    def messages(self, topic: str) -> Iterator[tuple[int, int, bytes]]:
        """Yield (partition, offset, value) of all committed records of a topic."""
        client = Consumer({
            "bootstrap.servers": self._bootstrap, "group.id": "witness", "isolation.level": "read_committed",
            "enable.auto.commit": False, "enable.partition.eof": True, "broker.address.family": "v4",
        })  # fmt: skip
        waiting = set(client.list_topics(topic, 10).topics[topic].partitions)
        client.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in waiting])
        while waiting:
            first = client.poll(1.0)  # consume(n, timeout) would wait out its timeout for the n-th
            for message in [] if first is None else [first, *client.consume(5_000, 0)]:
                error = message.error()
                if error is None:
                    yield message.partition(), message.offset(), message.value()
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 -- the client's own name for it
                    waiting.discard(message.partition())
                else:
                    raise KafkaException(error)
        client.close()

    def name(self, value: bytes) -> str:
        """Return the short name of a framed record's type."""
        return str(self.schema(int.from_bytes(value[1:_HEADER], "big"))["name"]).rpartition(".")[2]

    def record(self, value: bytes) -> dict[str, Any]:
        """Return a framed record."""
        found = fastavro.schemaless_reader(
            io.BytesIO(value[_HEADER:]), self.schema(int.from_bytes(value[1:_HEADER], "big")), None
        )
        return dict(found)


def testify(reader: Reader, pipeline: str, event: str, label: str, key: str) -> dict[str, Any]:
    """Return the counts of a pipeline's topics, and what is lost, duplicated or out of order."""
    raw = Counter[str]()
    events: list[tuple[int, int]] = []
    labels: set[str] = set()
    for partition, offset, value in reader.messages(f"{pipeline}.events.v1"):
        name = reader.name(value)
        raw[name] += 1
        if name == event:
            events.append((partition, offset))
        elif name == label:
            labels.add(reader.record(value)[key])
    accepted = Counter(reader.name(value) for _, _, value in reader.messages(f"{pipeline}.validated.v1"))
    ends, refused, receipts = _refusals(reader, pipeline, label)
    predictions, again, reordered = _predictions(reader, pipeline, ends)
    labelled, unlabelled, late = _outcomes(reader, pipeline)
    lost = sum(1 for place in events if not ends[place]) + len(labels - labelled.keys() - refused.keys())
    duplicated = (
        sum(n - 1 for n in ends.values() if n > 1) + again + sum(n - 1 for n in labelled.values() if n > 1)
    )
    return {
        "counts": {
            "events": raw[event],
            "accepted": accepted[event],
            "rejected": sum(1 for _ in reader.messages(f"{pipeline}.rejected.v1")),
            "receipts": receipts,
            "feature_vectors": sum(1 for _ in reader.messages(f"{pipeline}.features.v1")),
            "predictions": predictions,
            "labels": raw[label],
            "refused_labels": refused.total(),
            "outcomes": sum(labelled.values()) + late,
            "unlabelled": unlabelled,
        },
        "lost": lost,
        "duplicated": duplicated,
        "reordered": reordered,
    }


def _refusals(
    reader: Reader, pipeline: str, label: str
) -> tuple[Counter[tuple[int, int]], Counter[str], int]:
    ends: Counter[tuple[int, int]] = Counter()
    labels: Counter[str] = Counter()
    receipts = 0
    for _, _, value in reader.messages(f"{pipeline}.receipts.v1"):
        receipt = reader.record(value)
        if receipt["severity"] != "reject":
            continue
        receipts += 1
        ends[receipt["origin"]["partition"], receipt["origin"]["offset"]] += 1
        if receipt["record"] == label:
            labels[receipt["event_id"]] += 1
    return ends, labels, receipts


def _predictions(reader: Reader, pipeline: str, ends: Counter[tuple[int, int]]) -> tuple[int, int, int]:
    last: dict[str, tuple[int, int]] = {}
    ids: set[str] = set()
    count = again = reordered = 0
    for _, _, value in reader.messages(f"{pipeline}.predictions.v1"):
        found = reader.record(value)
        place = (found["origin"]["partition"], found["origin"]["offset"])
        ends[place] += 1
        count += 1
        again += found["prediction_id"] in ids
        ids.add(found["prediction_id"])
        reordered += place < last.get(found["entity_key"], (0, -1))
        last[found["entity_key"]] = place
    return count, again, reordered


def _outcomes(reader: Reader, pipeline: str) -> tuple[Counter[str], int, int]:
    labelled: Counter[str] = Counter()
    unlabelled = late = 0
    for _, _, value in reader.messages(f"{pipeline}.outcomes.v1"):
        found = reader.record(value)
        if found["status"] == "labelled":
            labelled[found["label_event_id"]] += 1
        unlabelled += found["status"] == "unlabelled"
        late += found["status"] == "late"
    return labelled, unlabelled, late


if __name__ == "__main__":
    sys.stdout.write(json.dumps(testify(Reader(sys.argv[1], sys.argv[2]), *sys.argv[3:7])))
