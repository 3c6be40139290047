"""One Kafka node (KRaft, broker and controller in one) on the loopback; ``python -m`` formats once and becomes it."""

import base64
import os
import subprocess
import uuid
from pathlib import Path

from headrace.errors import HeadraceError
from headrace.local import jars, java
from headrace.local.settings import LOOPBACK, Settings

HEAP = java.Heap("512m", young="32m")
FOLDER = "kafka"  # relative to the home, where it runs: a comma in a path would make two folders of it
FILE = "kafka.properties"
LOGGING = Path(__file__).with_name("log4j2.properties")


def properties(settings: Settings) -> dict[str, str]:
    """Return the broker's configuration, tuned for one machine: one replica, few partitions, no waiting."""
    broker, controller = settings.kafka_port, settings.kafka_port + 1
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{broker},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{broker}",
        "log.dirs": FOLDER,
        "auto.create.topics.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "log.retention.ms": "-1",
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "log.cleaner.dedupe.buffer.size": str(16 << 20),
        "broker.session.timeout.ms": "6000",  # how long a restart after a crash waits for its former self
        "broker.heartbeat.interval.ms": "500",
    }


def prepare(settings: Settings) -> list[str]:
    """Write the configuration, format the data folder once, return the command line to run in the home."""
    settings.home.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{name}={value}\n" for name, value in properties(settings).items())
    (settings.home / FILE).write_text(text)
    if not (settings.home / FOLDER / "meta.properties").exists():
        _format(settings)
    return _command(settings, "kafka.Kafka", FILE, full=settings.kafka_jit == "full")


def cluster_id(drawn: uuid.UUID) -> str:
    """Return Kafka's 22 characters for a UUID without its first bit.

    With that bit they can begin with a dash, and Kafka's tools take such an id for an option.
    """
    first, *rest = drawn.bytes
    return base64.urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("=")


def _format(settings: Settings) -> None:
    arguments = ("format", "--ignore-formatted", "-t", cluster_id(uuid.uuid4()), "-c", FILE)
    tool = _command(settings, "kafka.tools.StorageTool", *arguments)
    done = subprocess.run(tool, cwd=settings.home, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HeadraceError(
            "Kafka's data folder could not be formatted", (done.stderr or done.stdout).strip()
        )


def _command(settings: Settings, *arguments: str, full: bool = False) -> list[str]:
    classpath = os.pathsep.join(map(str, jars.fetched("kafka", settings.cache)))
    logging = f"-Dlog4j2.configurationFile={LOGGING.as_uri()}"
    name = arguments[0].rpartition(".")[2].lower()
    return java.command(
        name, logging, "-cp", classpath, *arguments, heap=HEAP, cache=settings.cache, full=full
    )


if __name__ == "__main__":
    chosen = Settings()
    java.become(prepare(chosen), chosen.home)
