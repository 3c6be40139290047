import socket

import pytest

from headrace.errors import ConfigurationError, HeadraceError
from headrace.local.platform import Platform, port_is_free
from headrace.local.settings import Settings
from headrace.local.supervision import State
from headrace.testing.broker import free_ports


def platform(tmp_path, **given):
    for name in ("beta", "alpha"):
        (tmp_path / "services" / name).mkdir(parents=True)
        (tmp_path / "services" / name / "__main__.py").touch()
    (tmp_path / "services" / "not_a_service").mkdir()
    return Platform(Settings(root=tmp_path, home=tmp_path / "home", **given))


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Return a platform whose service alpha is healthy at the second look; its list is what is said of alpha."""
    ours, missing, said = platform(tmp_path), iter([{"alpha"}, set()]), []
    monkeypatch.setattr(ours, "unhealthy", lambda: next(missing))
    monkeypatch.setattr(ours, "states", lambda: [State("alpha", said[0], 0, 0)])
    return ours, said


def test_who_has_just_ended_is_waited_for_since_it_is_started_again(failing):
    ours, said = failing
    said.append("exited")
    ours.wait_healthy()


def test_who_is_started_no_more_is_not_waited_for(failing):
    ours, said = failing
    said.append("fatal")
    with pytest.raises(HeadraceError, match="alpha"):
        ours.wait_healthy()


def test_every_folder_that_runs_is_a_service_with_a_port_by_name(tmp_path):
    assert platform(tmp_path, metrics_port=9201).ports == {"alpha": 9201, "beta": 9202}


def test_what_the_user_named_is_not_started(tmp_path):
    names = [program.name for program in platform(tmp_path, bootstrap="kafka:9092").programs]
    assert names == ["schema-registry", "alpha", "beta"]


@pytest.mark.parametrize("taken", ["kafka_port", "registry_port", "metrics_port"])
def test_a_taken_port_is_refused_with_a_command_that_moves_it_to_a_free_one(tmp_path, taken):
    kafka, registry, metrics = free_ports(3)
    ours = platform(tmp_path, kafka_port=kafka, registry_port=registry, metrics_port=metrics)
    with socket.create_server(("127.0.0.1", getattr(ours.settings, taken))):
        with pytest.raises(ConfigurationError) as caught:
            ours.start()
        variable, port = caught.value.next_command.split()[0].split("=")
        assert variable == f"HEADRACE_{taken.upper()}"
        assert port_is_free(int(port))
    assert not (tmp_path / "home" / "supervisord.conf").exists()
