"""The platform with real processes: a real Kafka, a real registry and two services that only tell their health."""

import os
import re
import signal

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.errors import ConfigurationError, HeadraceError
from headrace.local import answers
from headrace.local.platform import Platform
from headrace.local.settings import Settings
from headrace.testing.broker import free_ports

pytestmark = pytest.mark.broker

HEALTHY = """
import http.server, os
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["HEADRACE_METRICS_PORT"])), Health).serve_forever()
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """Yield a platform that all tests here share: what they do to it, the next one finds repaired."""
    root = tmp_path_factory.mktemp("platform") / "a checkout, 100% #1"
    (root / "services").mkdir(parents=True)
    (root / "services" / "__init__.py").touch()  # or the checkout's own package would be found before it
    for name in ("alpha", "registry"):
        (root / "services" / name).mkdir(parents=True)
        (root / "services" / name / "__main__.py").write_text(HEALTHY)
    kafka, registry, metrics = free_ports(3)
    platform = Platform(
        Settings(
            root=root,
            home=root / ("deep" * 20),
            kafka_port=kafka,
            registry_port=registry,
            metrics_port=metrics,
        )
    )
    platform.start()
    platform.wait_broker()
    platform.wait_healthy()
    yield platform
    platform.stop()


def test_it_starts_and_survives_kills(platform):
    assert set(platform.pids()) == {"alpha", "registry", "kafka", "schema-registry"}
    _a_killed_service_comes_back(platform)
    _kafka_keeps_what_it_acknowledged_over_a_kill(platform)
    _a_second_start_changes_nothing(platform)


def test_a_taken_port_is_said_with_its_variable_and_nothing_starts(platform, tmp_path):
    other = Platform(platform.settings.model_copy(update={"home": tmp_path / "other"}))
    with pytest.raises(ConfigurationError, match="HEADRACE_KAFKA_PORT"):
        other.start()
    assert not other.supervisor.running()


def test_what_a_killed_supervisor_left_is_stopped_before_a_new_start(platform):
    before = platform.pids()
    os.kill(int((platform.settings.home / "supervisord.pid").read_text()), signal.SIGKILL)
    platform.start()
    platform.wait_broker()
    platform.wait_healthy()
    assert not set(platform.pids().values()) & set(before.values())
    assert not [pid for pid in before.values() if psutil.pid_exists(pid)]


def test_a_service_that_cannot_start_is_named_with_the_command_that_shows_why(platform):
    entry = platform.settings.root / "services" / "registry" / "__main__.py"
    entry.write_text("raise SystemExit('no licence')")
    platform.kill("registry")
    with pytest.raises(HeadraceError, match="registry") as caught:
        platform.wait_healthy()
    assert "alpha" not in caught.value.what
    assert caught.value.next_command.endswith("logs registry")
    assert "no licence" in (platform.settings.log_folder / "registry.log").read_text()


def test_a_stop_leaves_nothing_behind(platform):
    pids = platform.pids()
    platform.stop()
    assert not [pid for pid in pids.values() if psutil.pid_exists(pid)]
    assert platform.states() == []
    log = (platform.settings.log_folder / "supervisord.log").read_text()
    assert re.findall(r"stopped: (\S+)", log)[-2:] == ["schema-registry", "kafka"]


def _a_killed_service_comes_back(platform):
    before = platform.pids()["alpha"]
    platform.kill("alpha")
    assert answers.within(30, lambda: platform.pids().get("alpha", before) != before)
    platform.wait_healthy()


def _kafka_keeps_what_it_acknowledged_over_a_kill(platform):
    admin = AdminClient({"bootstrap.servers": platform.settings.bootstrap})
    admin.create_topics([NewTopic("kept", 1)])["kept"].result()
    producer = Producer({"bootstrap.servers": platform.settings.bootstrap, "acks": "all"})
    producer.produce("kept", b"event")
    assert producer.flush(120) == 0
    before = platform.pids()["kafka"]
    platform.kill("kafka")
    assert answers.within(30, lambda: platform.pids().get("kafka", before) != before)
    platform.wait_broker()
    assert end_offset(platform.settings, "kept") == 1


def _a_second_start_changes_nothing(platform):
    before = platform.pids()
    platform.start()
    assert platform.pids() == before


def end_offset(settings, topic):
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "test"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1]
    finally:
        consumer.close()
