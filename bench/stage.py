"""What a run stands on: a broker and a registry of its own, the topics, the champion, the events."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import pyarrow as pa
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench.job import PARTITIONS, PIPELINE, Events, events, labels
from bench.oracle import Expected, Floats, answered, expected, features
from headrace.bus.encode import Encoder
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import producer, read_all, send
from headrace.bus.observer import Said, encoded
from headrace.bus.provision import provision
from headrace.bus.records import Outgoing
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.schemas import codec, record_schema, subject
from headrace.contracts.frame import frame
from headrace.contracts.topics import DEPLOYMENTS, EVENTS, TICKS
from headrace.errors import HeadraceError
from headrace.local import answers
from headrace.local.settings import Settings
from headrace.models import skops_store
from headrace.models.artifact import unpack
from headrace.models.kinds import learner
from headrace.models.ports import Dataset
from headrace.models.sklearn_adapter import MODEL
from headrace.sources.pipelines import find
from headrace.store.artifacts import open_store
from headrace.testing.broker import free_ports, running_broker

PEERS = Path(__file__).parent / "peers"
STAGES = ("ingestion", "features", "serving")
SCORES, REFUSALS = "bench.scores.v1", "bench.refusals.v1"
TRAINING_EVENTS = 20_000
PATIENCE, STOP_SECONDS = 60.0, 20.0


@dataclass
class Stage:
    """A broker that is ready for the job."""

    settings: Settings
    partitions: int = PARTITIONS

    @cached_property
    def folder(self) -> Path:
        """Return the folder of the pipeline: a copy of the bench's with the partitions asked for."""
        copy = self.settings.home / "pipeline"
        shutil.copytree(PIPELINE, copy)
        told = (copy / "bench.yaml").read_text()
        wanted = told.replace(f"partitions: {PARTITIONS}", f"partitions: {self.partitions}")
        (copy / "bench.yaml").write_text(wanted)
        return copy

    @cached_property
    def definition(self) -> Any:
        """Return the pipeline's definition."""
        return find("bench", self.folder)

    @cached_property
    def admin(self) -> AdminClient:
        """Return a client that creates topics and asks for offsets."""
        return AdminClient({"bootstrap.servers": self.settings.bootstrap, "log_level": 0})

    @cached_property
    def registry(self) -> ConfluentRegistry:
        """Return the registry."""
        return ConfluentRegistry(self.settings.registry_url)

    @cached_property
    def artifact(self) -> bytes:
        """Return the model, fitted once a stage: the same events and seed give the same bytes."""
        seen = events(TRAINING_EVENTS, keys=200)
        matrix = features(seen, answered(seen))
        names = self.definition.features.names
        columns = pa.RecordBatch.from_arrays([pa.array(c) for c in matrix.T], names=names)
        classes = tuple(self.definition.label.classes)
        return learner(self.definition).fit(Dataset(columns, labels(matrix), "binary", classes))

    @cached_property
    def model(self) -> Any:
        """Return the scikit-learn model itself, as peers use it."""
        return skops_store.loads(unpack(self.artifact)[1][MODEL])

    @property
    def model_path(self) -> Path:
        """Return where peers find the model."""
        return self.settings.home / "model.joblib"

    @cached_property
    def score_schema(self) -> int:
        """Return the id of the peers' output schema."""
        schema = json.loads((PEERS / "Score.avsc").read_text())
        return self.registry.register(f"{SCORES}-value", schema)

    def prepare(self) -> None:
        """Create topics and schemas, and make the model champion in the way deployment does."""
        provision(self.settings, self.folder, STAGES)
        made = self.admin.create_topics(
            [NewTopic(n, self.definition.partitions, 1) for n in (SCORES, REFUSALS)]
        )
        for future in made.values():
            future.result(PATIENCE)
        joblib.dump(self.model, self.model_path)
        digest = open_store(self.settings.home).put(self.artifact)
        promoted = {
            "rollout_id": "bench", "pipeline": "bench", "tick": -1, "time": 0, "model_name": "bench",
            "version": 1, "model_digest": digest, "from_version": None, "blocks": 0,
            "mean_difference": 0.0, "e_value": 0.0, "reason": "the bench's champion",
        }  # fmt: skip
        self._send(encoded(Encoder(self.registry), Said(DEPLOYMENTS, "Promoted", promoted), self.definition))

    def expected(self, made: Events) -> Expected:
        """Return what must come out of the events."""

        def score(matrix: Floats) -> Floats:
            found: Floats = self.model.predict_proba(matrix)[:, 1]
            return found

        return expected(made, score)

    def framed(self, made: Events) -> list[Outgoing]:
        """Return the events as a producer sends them."""
        schema = record_schema(EVENTS, "Reading", self.definition)
        topic = EVENTS.name("bench")
        values = frame(self.registry.register(subject(topic, schema), schema), codec(schema).encode(
            made.columns
        ))  # fmt: skip
        keys = made.columns["device"].to_pylist()
        return [Outgoing(topic, -1, k.encode(), v) for k, v in zip(keys, values, strict=True)]

    def publish(self, made: Events) -> None:
        """Write the events to the raw topic and return when the broker has them all."""
        self._send(self.framed(made))

    def _send(self, records: Sequence[Outgoing]) -> None:
        writer = producer(self.settings.bootstrap)
        send(writer, records)
        if left := writer.flush(PATIENCE):
            raise HeadraceError(f"{left} records were not taken by the broker")

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Run the clock; begin when a tick has cut the champion's promotion: who starts then is answered by the model."""
        with self.running(service("clock")):
            within(PATIENCE, "no tick with the champion", self._champion_ticked)
            yield

    def _champion_ticked(self) -> bool:
        held = decode_plain(read_all(self.settings.bootstrap, TICKS.name("bench"), 0), self.registry)
        return any(fields["controls"].get(DEPLOYMENTS.name(), 0) for _, _, fields in held)

    def ends(self, topics: Sequence[str]) -> int:
        """Return the sum of the end offsets of the topics: it stands still when nobody writes."""
        asked = {
            TopicPartition(t, p): OffsetSpec.latest()
            for t in topics
            for p in range(self.definition.partitions)
        }
        return sum(f.result(PATIENCE).offset for f in self.admin.list_offsets(asked).values())

    @contextmanager
    def running(
        self, *commands: Sequence[str], peer: bool = False
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run processes beside each other; their output goes to the home's ``run.log``, at the end they stop."""
        ports = free_ports(len(commands))
        with (self.settings.home / "run.log").open("ab") as log, ExitStack() as stack:
            started = []
            for command, port in zip(commands, ports, strict=True):
                environment = self._environment(peer=peer) | {"HEADRACE_METRICS_PORT": str(port)}
                process = subprocess.Popen(
                    command, env=environment, cwd=self.settings.home, stdout=log, stderr=subprocess.STDOUT
                )
                stack.callback(_stop, process)
                started.append(process)
            yield started

    def _environment(self, *, peer: bool) -> dict[str, str]:
        environment = self.settings.environment()
        if peer:
            environment |= {
                "PYTHONPATH": str(PEERS),
                "BENCH_BOOTSTRAP": self.settings.bootstrap,
                "BENCH_REGISTRY": self.settings.registry_url,
                "BENCH_MODEL": str(self.model_path),
                "BENCH_SCORE_ID": str(self.score_schema),
            }
        return environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def said(self) -> str:
        """Return the end of what the processes printed."""
        return (self.settings.home / "run.log").read_text(errors="replace")[-2_000:]


@contextmanager
def stage(partitions: int = PARTITIONS, **more: Any) -> Iterator[Stage]:
    """Start a broker and a registry (with ``more`` settings), prepare the job on them, stop both at the end."""
    with contextmanager(running_broker)(**more) as settings:
        made = Stage(settings, partitions)
        made.prepare()
        yield made


def service(name: str) -> list[str]:
    """Return the command of a service."""
    return [sys.executable, "-P", "-m", f"services.{name}"]


def within(seconds: float, what: str, done: Callable[[], bool]) -> None:
    """Return when ``done`` says so; raise HeadraceError with ``what`` after ``seconds``."""
    if not answers.within(seconds, done):
        raise HeadraceError(what, f"waited {seconds:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
