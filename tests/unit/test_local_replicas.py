"""Numbers of processes, as they are asked for, named and remembered."""

import pytest

from headrace.errors import UsageError
from headrace.local.platform import Platform
from headrace.local.replicas import asked, forget, names, remember, remembered
from headrace.local.settings import Settings
from headrace.local.supervision import configuration


def test_texts_are_counts():
    assert asked(["features=3", "serving=1"], ["features", "serving"]) == {"features": 3, "serving": 1}


@pytest.mark.parametrize(
    "text", ["features", "features=", "features=0", "features=-1", "features=x", "clock=2", "=2"]
)
def test_another_text_is_refused_with_those_that_are_understood(text):
    with pytest.raises(UsageError, match="features, serving"):
        asked([text], ["features", "serving"])


def test_the_first_process_has_the_name_of_its_service_and_others_come_last():
    assert list(names(["a", "b"], {"a": 3})) == [
        ("a", "a", 0),
        ("b", "b", 0),
        ("a-1", "a", 1),
        ("a-2", "a", 2),
    ]


def test_a_home_remembers_until_it_is_stopped(tmp_path):
    assert remembered(tmp_path / "new") == {}
    remember(tmp_path / "new", {"a": 3})
    assert remembered(tmp_path / "new") == {"a": 3}
    forget(tmp_path / "new")
    assert remembered(tmp_path / "new") == {}


def test_each_process_is_told_which_of_how_many_it_is(tmp_path):
    settings = Settings(home=tmp_path, metrics_port=5_000)
    platform = Platform(settings, ["features", "serving"], {"features": 2})
    assert platform.ports == {"features": 5_000, "serving": 5_001, "features-1": 5_002}
    text = configuration(platform.programs, "s")
    told = {line for line in text.splitlines() if line.startswith("environment")}
    assert told == {
        "environment=",
        'environment=HEADRACE_METRICS_PORT="5000",HEADRACE_REPLICA="0",HEADRACE_REPLICAS="2"',
        'environment=HEADRACE_METRICS_PORT="5001"',
        'environment=HEADRACE_METRICS_PORT="5002",HEADRACE_REPLICA="1",HEADRACE_REPLICAS="2"',
    }
