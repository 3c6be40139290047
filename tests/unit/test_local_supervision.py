import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

from headrace.local.supervision import LONGEST_SOCKET_PATH, Program, configuration, socket_path

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("C",)), min_size=1)
# Characters that people have in folder names, among them all that supervisord's file format gives a meaning.
FOLDERS = st.text(" aZ0-_.%#;,=$'\u00e9()[]{}\\", min_size=1, max_size=20).map("/".__add__)
SERVICE = Program("alpha", "services.alpha", "services", 30, 9101)


@given(st.lists(NAMES, max_size=20))
def test_the_socket_path_always_fits_however_deep_the_home(parts):
    assert len(bytes(socket_path(Path("/", *parts)))) <= LONGEST_SOCKET_PATH


def test_two_deep_homes_have_two_sockets():
    assert socket_path(Path("/" + "a" * 200)) != socket_path(Path("/" + "b" * 200))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FOLDERS, FOLDERS)
def test_supervisord_reads_what_was_meant_whatever_the_folders_are_called(monkeypatch, home, root, python):
    monkeypatch.setenv("HEADRACE_ROOT", root)
    monkeypatch.setenv("HEADRACE_INTERPRETER", shlex.quote(python))
    (group,) = read([SERVICE], home).process_group_configs
    (program,) = group.process_configs
    assert shlex.split(program.command) == [python, "-m", "services.alpha"]
    assert program.directory == root
    assert program.environment == {"HEADRACE_METRICS_PORT": "9101"}


def test_services_stop_before_the_registry_and_kafka_stops_last(monkeypatch, home):
    monkeypatch.setenv("HEADRACE_ROOT", "/")
    monkeypatch.setenv("HEADRACE_INTERPRETER", "true")
    others = [Program("schema-registry", "r", "schema-registry", 20), Program("kafka", "k", "kafka", 10)]
    groups = read([SERVICE, *others], home).process_group_configs
    assert [group.name for group in reversed(groups)] == ["services", "schema-registry", "kafka"]


def read(programs, home):
    file = home / "supervisord.conf"
    file.write_text(configuration(programs, "supervisor.sock"))
    options = ServerOptions()
    options.realize(["-c", str(file)])
    return options


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "log").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path
