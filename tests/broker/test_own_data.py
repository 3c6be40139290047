"""Own data on the real platform, by the command line alone: init, up, publish; every row answered, every label joined."""

import json
from collections import Counter

import polars as pl
import pytest
from commands import commands

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import read_all
from headrace.bus.registry import ConfluentRegistry

pytestmark = [pytest.mark.broker, pytest.mark.slow]
ROWS = 480
TASKS = {"kept": "binary", "grade": "multiclass", "price": "regression"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.csv"
    table().sample(fraction=1.0, shuffle=True, seed=3).write_csv(path, separator=";", null_value="NA")
    return str(path)


@pytest.fixture(scope="module")
def headrace(tmp_path_factory, data):
    """Yield the commands of a platform that runs one pipeline for each task."""
    with commands(tmp_path_factory.mktemp("own")) as told:
        for label, task in TASKS.items():
            others = [word for other in TASKS if other != label for word in ("--exclude", other)]
            roles = ["--key", "shop", "--time", "when", "--label", label, *others]
            told("init", task, "--from", data, "--null", "NA", "--train-after", "100", *roles)
        told("up", "--timeout", "180")
        yield told


def table():
    amount = [None if n % 9 == 4 else (n * 37 % 101) / 4 for n in range(ROWS)]
    return pl.DataFrame(
        {
            "when": [f"2024-03-{1 + n // 24:02d}T{n % 24:02d}:00:00Z" for n in range(ROWS)],
            "shop": [["north", "south", "west"][n % 3] for n in range(ROWS)],
            "amount": amount,
            "kept": [
                None if n % 40 == 3 else "yes" if n * 37 % 101 + n * 13 % 29 > 60 else "no"
                for n in range(ROWS)
            ],
            "grade": [["low", "mid", "high"][(n * 37 % 101 + n * 13 % 29) // 44] for n in range(ROWS)],
            "price": [(n * 37 % 101) * 2.5 + (n * 13 % 29) * 9.0 for n in range(ROWS)],
        }
    )


@pytest.mark.parametrize(("label", "task"), TASKS.items())
def test_every_row_is_answered_and_every_label_joined(headrace, data, label, task):
    sent = json.loads(headrace("publish", task, data, "--json", "--patience", "240"))
    labels = table()[label].drop_nulls().len()
    assert sent["records"] == ROWS + labels
    predictions, outcomes = (
        read(headrace.settings, task, "predictions"),
        read(headrace.settings, task, "outcomes"),
    )
    assert len({p["event_id"] for p in predictions}) == len(predictions) == ROWS
    assert {p["task"] for p in predictions} == {task}
    assert Counter(o["status"] for o in outcomes) == Counter(labelled=labels, unlabelled=ROWS - labels)
    assert any(p["model_version"] for p in predictions), "no model was trained, registered and deployed"


def read(settings, pipeline, stream):
    found = read_all(settings.bootstrap, f"{pipeline}.{stream}.v1", 0)
    return [fields for _, _, fields in decode_plain(found, ConfluentRegistry(settings.registry_url))]
