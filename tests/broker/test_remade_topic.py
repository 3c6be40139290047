"""A topic that was deleted and made again has the old name and other records: a service that worked on it refuses it."""

import subprocess
import sys
import time

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from rigs import INGESTION, KafkaRig, fresh_name

from headrace.bus.identity import made_again
from headrace.contracts.topics import EVENTS, LEDGER, TICKS, VALIDATED, changelog
from headrace.errors import ConfigurationError
from headrace.local.settings import CHECKOUT
from headrace.testing.broker import free_ports

pytestmark = pytest.mark.broker
PATIENCE = 120


@pytest.fixture
def rig(broker):
    rig = KafkaRig(fresh_name(), broker)
    yield rig
    rig.close()


def publish(rig, first, count):
    rows = [
        ("Order", {"order_id": f"o{n}", "shop": "a", "amount": 1.0, "at": n})
        for n in range(first, first + count)
    ]
    rig.append(rig.events(rows))


def worked(rig):
    """Let ingestion take in some events and close a tick, and end."""
    publish(rig, 0, 5)
    rig.tick(1, rig.end(EVENTS))
    runner = rig.runner(INGESTION)
    rig.settle([runner])
    assert len(rig.rows(VALIDATED)) == 5


def make_again(rig, name):
    admin = AdminClient({"bootstrap.servers": rig.bootstrap})
    for done in admin.delete_topics([name]).values():
        done.result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            for done in admin.create_topics([NewTopic(name, 1, 1)]).values():
                done.result(PATIENCE)
        except KafkaException:  # the old one is still on its way out
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(EVENTS.name, id="events"),
        pytest.param(TICKS.name, id="ticks", marks=pytest.mark.slow),
        pytest.param(LEDGER.name, id="ledger", marks=pytest.mark.slow),
    ],
)
def test_a_service_refuses_a_topic_that_was_made_again(rig, of):
    worked(rig)
    name = of(rig.definition.name)
    make_again(rig, name)
    if name == EVENTS.name(rig.definition.name):
        publish(rig, 100, 7)
    with pytest.raises(
        ConfigurationError, match=f"{name} is not the topic that ingestion worked on"
    ) as refused:
        rig.settle([rig.runner(INGESTION)])
    assert "deleted and made again" in refused.value.why
    assert made_again(rig._admin, ["ingestion", "features"])[name] == ["ingestion"]
    assert len(rig.rows(VALIDATED)) == 5


def test_the_refusal_ends_a_process_with_one_line_and_the_code_of_a_configuration(rig, broker):
    worked(rig)
    name = changelog("ingestion", rig.definition.name)
    make_again(rig, name)
    environment = broker.environment() | {"HEADRACE_METRICS_PORT": str(*free_ports(1))}
    command = [sys.executable, "-m", "services.ingestion"]
    done = subprocess.run(
        command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    (line,) = [told for told in done.stdout.splitlines() if "level=critical" in told]
    assert f"{name} is not the topic that ingestion worked on; it was deleted and made again" in line
    assert "next: give the pipeline a new name" in line
    assert (done.returncode, done.stderr, "Traceback" in done.stdout) == (3, "", False)
    assert made_again(rig._admin, ["ingestion", "features"])[name] == ["ingestion"]
    assert len(rig.rows(VALIDATED)) == 5


def test_a_service_goes_on_with_the_topics_it_worked_on(rig):
    worked(rig)
    assert rig.definition.name not in str(made_again(rig._admin, ["ingestion"]))
    publish(rig, 5, 5)
    rig.tick(2, rig.end(EVENTS))
    rig.settle([rig.runner(INGESTION)])
    assert [f["order_id"] for f in (r["data"] for r in rig.rows(VALIDATED))] == [f"o{n}" for n in range(10)]
