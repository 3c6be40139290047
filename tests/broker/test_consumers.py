"""The consumers of the docs, as they stand there, on predictions of the real encoder: they see these and nothing else."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pyarrow as pa
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.bus.encode import Encoder
from headrace.bus.kafka import producer, send
from headrace.bus.registry import ConfluentRegistry
from headrace.bus.service import Emit
from headrace.contracts import catalogue
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.topics import PREDICTIONS
from headrace.sources import pipelines
from headrace.testing.documents import block

pytestmark = pytest.mark.broker
PAGE = Path("docs/howto/consume-predictions.md")
COORDINATES = (
    "org.apache.kafka:kafka-clients:4.3.0+io.apicurio:apicurio-registry-serdes-avro-serde:2.6.13.Final"
)
FLIGHTS = pipelines.find("flights", Path("pipelines")).model_copy(update={"name": "consumed"})
TOPIC = PREDICTIONS.name("consumed")
COMMITTED, PATIENCE = 20, 240


def written(settings, ids, *, commit):
    """Write predictions in one transaction and end it one way or the other."""
    encoder, out = Encoder(ConfluentRegistry(settings.registry_url)), producer(settings.bootstrap, "test-app")
    example = catalogue.example("Prediction")
    told = example | {"entity_key": "UA:1", "scores": list(example["scores"].items())}
    rows = [told | {"event_id": event} for event in ids]
    columns = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(catalogue.schema("Prediction")))
    out.init_transactions(120)
    out.begin_transaction()
    send(out, encoder.encode(PREDICTIONS, [Emit("Prediction", columns)], None, 0, 1, FLIGHTS))
    out.flush(120)
    out.commit_transaction(120) if commit else out.abort_transaction(120)


@pytest.fixture(scope="module")
def predictions(broker):
    """Return the ids of the predictions that an app may see; an aborted transaction stands before the last one."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(120)
    ids = [f"e{n}" for n in range(COMMITTED)]
    written(broker, ids[:-1], commit=True)
    written(broker, ["never"], commit=False)
    written(broker, ids[-1:], commit=True)
    return ids


def of_the_page(name, settings):
    """Return a block of the page with the addresses and the topic of this test."""
    registry = settings.registry_url.removesuffix("/apis/ccompat/v7")
    text = block(PAGE, name)
    for old, new in (
        ("127.0.0.1:9092", settings.bootstrap),
        ("http://127.0.0.1:8081", registry),
        ("flights.predictions.v1", TOPIC),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@contextmanager
def running(command):
    """Yield the output of an endless program, line by line, as a queue; stop the program."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = Queue()
    reader = Thread(target=lambda: [lines.put(line.rstrip()) for line in process.stdout], daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.kill()
        process.wait()
        reader.join()


def first_words(command):
    """Return the first word of each line, up to the last prediction's; what the program says instead is an error."""
    seen = []
    with running(command) as lines:
        while not seen or seen[-1].split(" ")[0] != f"e{COMMITTED - 1}":
            try:
                seen.append(lines.get(timeout=PATIENCE))
            except Empty:
                pytest.fail("\n".join(["no more lines after:", *seen]))
    return [line.split(" ")[0] for line in seen]


def test_ten_lines_of_python(broker, predictions, tmp_path):
    program = tmp_path / "consumer.py"
    program.write_text(of_the_page("consumer.py", broker))
    assert first_words([sys.executable, str(program)]) == predictions


@pytest.fixture(scope="module")
def jars(tmp_path_factory):
    import jgo  # noqa: PLC0415  (it is asked only where there is a JDK)

    folder = tmp_path_factory.mktemp("jars")
    for artifact in jgo.resolve(COORDINATES):
        shutil.copy(artifact.resolve(), folder)
    return folder


@pytest.mark.skipif(
    shutil.which("javac") is None, reason="no JDK: java alone cannot compile Predictions.java"
)
def test_ten_lines_of_java(broker, predictions, jars, tmp_path):
    program = tmp_path / "Predictions.java"
    program.write_text(of_the_page("Predictions.java", broker))
    assert [
        w for w in first_words(["java", "-cp", f"{jars}/*", str(program)]) if w != "SLF4J:"
    ] == predictions


def test_the_page_names_the_coordinates_that_are_tested():
    assert all(coordinate in PAGE.read_text() for coordinate in COORDINATES.split("+"))


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_kcat_shows_keys_sizes_and_headers(broker, predictions):
    text = (
        block(PAGE, "kcat")
        .replace("127.0.0.1:9092", broker.bootstrap)
        .replace("flights.predictions.v1", TOPIC)
    )
    told = subprocess.run(
        ["sh", "-c", text], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    lines = told.splitlines()
    assert len(lines) == len(predictions)
    assert all(line.startswith("UA:1 ") and "ce_type=headrace.Prediction" in line for line in lines)
