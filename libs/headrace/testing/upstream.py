"""Everybody upstream of drift, played by hand: ticks, profiles and the ledger entries that count them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from headrace.bus.encode import Encoder
from headrace.bus.records import Outgoing
from headrace.bus.schemas import Registry
from headrace.bus.service import Emit
from headrace.contracts import catalogue
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.topics import LEDGER, PIPELINES, PROFILES, TICKS, Topic
from headrace.pipeline.definition import Definition
from headrace.stats.profiles import Profile


class Counted(NamedTuple):
    """A profile as a service emits it at the close of a tick."""

    producer: str
    champion: str
    profile: Profile
    partition: int = 0


class Upstream:
    """Writes what the clock, serving and monitoring write about a pipeline."""

    def __init__(self, definition: Definition, registry: Registry) -> None:
        self._definition = definition
        self._encoder = Encoder(registry)
        self.cut = 1  # where control.pipelines stands after the registration

    def registered(self) -> list[Outgoing]:
        """Return the pipeline's registration."""
        d = self._definition
        fields = {
            "pipeline": d.name,
            "tick": -1,
            "digest": d.digest,
            "definition": d.canonical(),
            "stages": self._stages(),
        }
        return self._records(PIPELINES, "PipelineRegistered", [fields])

    def tick(self, n: int, time: int) -> list[Outgoing]:
        """Return tick ``n`` at ``time`` (microseconds)."""
        fields = {"pipeline": self._definition.name, "n": n, "time": time, "reason": "step", "step": n}
        return self._records(TICKS, "Tick", [{**fields, "raw": {}, "controls": {PIPELINES.name(): self.cut}}])

    def profiles(self, n: int, time: int, counted: Iterable[Counted]) -> list[Outgoing]:
        """Return the profiles of tick ``n``."""
        found = []
        for c in counted:
            fields = {"pipeline": self._definition.name, "partition": c.partition, "tick": n, "time": time}
            told = {
                "profile_id": f"{c.producer}/{c.partition}/{n}",
                "producer": c.producer,
                "champion": c.champion,
            }
            found += self._records(PROFILES, "Profile", [{**fields, **told, **c.profile}], c.partition)
        return found

    def entries(self, n: int, time: int, counted: Sequence[Counted]) -> list[Outgoing]:
        """Return the entries with which serving and monitoring close tick ``n`` in every partition."""
        name = PROFILES.name(self._definition.name)
        return self._records(
            LEDGER,
            "LedgerEntry",
            [
                {
                    "service": producer, "pipeline": self._definition.name, "partition": partition, "tick": n,
                    "time": time, "raw_from": None, "raw_to": None, "records_in": 0, "rejected": 0, "absorbed": 0,
                    "digest": "", "records_out": {name: _said(counted, producer, partition)},
                }
                for producer in PROFILES.producers
                for partition in range(self._definition.partitions)
            ],
        )  # fmt: skip

    def _stages(self) -> list[str]:
        return [f"{p}/{k}" for p in PROFILES.producers for k in range(self._definition.partitions)]

    def _records(
        self, topic: Topic, record: str, rows: Sequence[Mapping[str, Any]], partition: int = 0
    ) -> list[Outgoing]:
        columns = pa.RecordBatch.from_pylist(
            list(map(dict, rows)), schema=arrow_schema(catalogue.schema(record))
        )
        return self._encoder.encode(topic, [Emit(record, columns)], None, partition, -1, self._definition)


def _said(counted: Iterable[Counted], producer: str, partition: int) -> int:
    return sum(c.producer == producer and c.partition == partition for c in counted)
