"""A pipeline file that is wrong says where and what."""

import re
import shutil
from pathlib import Path

import pytest

from headrace.errors import ConfigurationError
from headrace.sources import pipelines

SHIPPED = Path("pipelines")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_pipeline_that_ships_is_whole(path):
    definition = pipelines.read(path)
    assert definition.name == path.stem
    assert pipelines.find(path.stem, SHIPPED).digest == definition.digest


def broken(tmp_path, old, new):
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    text = (SHIPPED / "flights.yaml").read_text()
    assert old in text
    (tmp_path / "flights.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as told:
        pipelines.find("flights", tmp_path)
    assert told.value.exit_code == 3
    return f"{told.value.what}\n{told.value.why}\n{told.value.next_command}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: range", "kind: rnge", "rules.1.kind: Input should be"),
        ("task: binary", "task: binary\ncolour: red", "flights.yaml:4 colour: Extra inputs"),
        ("maturity: 1d", "maturity: 1 day", "write a whole number and a unit"),
        ("flights/Departure.avsc", "flights/Gone.avsc", "Gone.avsc does not exist"),
        ("joins: departure_id", "", "needs `joins`"),
        ("task: binary", "task: [", "is not YAML"),
        ("id: event_id", "id: nope", "records.Departure.id: Departure has no field nope"),
        ("time: landed_at", "time: arr_delay", "arr_delay is no timestamp-micros"),
        ("sql: hour}", "sql: hours}", 'unable to find column "hours"'),
        ("value: arr_delay - dep_delay", "value: arr_delay - AVG(dep_delay)", "beyond its own row"),
        ("group_by: dest", "group_by: arr_delay", "Departure has no field arr_delay"),
        ("arr_delay > 15", "arr_delays > 15", 'unable to find column "arr_delays"'),
        ("column: departed_at", "column: left_at", "rule departed: Departure has no column left_at"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, said):
    told = broken(tmp_path, old, new)
    assert said in told
    assert "flights.yaml" in told


def test_a_window_by_another_column_than_the_key_needs_a_re_key(tmp_path):
    """Flights lie by carrier and number; with partitions, a window by origin would count a part of its group."""
    lone, several = "partitions: 1", "partitions: 6"
    told = broken(tmp_path, lone, several)
    assert "features.windows.0: the records of one origin lie in several partitions" in told
    assert "the topic has 6, and records lie by their key" in told
    (line,) = re.findall(r"rekey: \{.*\}", told)
    assert line == "rekey: {Departure: origin, Arrival: origin}"
    told = broken(tmp_path, lone, f"{several}\n{line}")
    assert "features.windows.1: the records of one dest lie in several partitions" in told
    told = broken(tmp_path, lone, f"{several}\nrekey: {{Departure: origin, Arrival: nowhere}}")
    assert "rekey.Arrival: Arrival has no field nowhere" in told
    assert "rekey must name a column of each record type" in broken(
        tmp_path, lone, f"{several}\nrekey: {{Departure: origin}}"
    )


def test_a_re_key_that_is_not_declared_leaves_the_digest_alone():
    definition = pipelines.find("flights", SHIPPED)
    assert "rekey" not in definition.canonical()
    told = definition.model_dump(mode="json") | {"rekey": {"Departure": "origin", "Arrival": "origin"}}
    moved = type(definition).model_validate(told)
    assert moved.digest != definition.digest
    assert type(definition).model_validate_json(moved.canonical()) == moved


def test_the_line_is_that_of_the_mistake(tmp_path):
    lines = (SHIPPED / "flights.yaml").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "kind: range" in text)
    assert f"flights.yaml:{line} rules.1.kind" in broken(tmp_path, "kind: range", "kind: rnge")


def test_a_pipeline_that_is_not_there_names_those_that_are():
    with pytest.raises(ConfigurationError, match="no pipeline fligths") as told:
        pipelines.find("fligths", SHIPPED)
    assert "flights" in told.value.why
