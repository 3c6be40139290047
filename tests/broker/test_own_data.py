"""Own data on the real platform, by the command line alone: init, up, publish; every row answered, every label joined."""

import json
import os
import subprocess
import sys
from collections import Counter

import polars as pl
import pytest

from headrace.bus.engine import decode_plain
from headrace.bus.kafka import read_all
from headrace.bus.registry import ConfluentRegistry
from headrace.local.settings import CHECKOUT, Settings
from headrace.testing.broker import free_ports

pytestmark = [pytest.mark.broker, pytest.mark.slow]
ROWS = 480
TASKS = {"kept": "binary", "grade": "multiclass", "price": "regression"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a checkout's root with our services and pipelines of its own, one for each task."""
    root = tmp_path_factory.mktemp("own")
    (root / "services").symlink_to(CHECKOUT / "services")
    (root / "pipelines").mkdir()
    table().sample(fraction=1.0, shuffle=True, seed=3).write_csv(
        root / "data.csv", separator=";", null_value="NA"
    )
    return root


@pytest.fixture(scope="module")
def headrace(root):
    """Yield a function that runs a command of the platform, and stop the platform at the end."""
    kafka, registry, metrics = free_ports(3)
    ports = {
        "KAFKA_PORT": kafka,
        "REGISTRY_PORT": registry,
        "METRICS_PORT": metrics,
        "ROOT": root,
        "HOME": root / "home",
    }
    env = os.environ | {f"HEADRACE_{name}": str(value) for name, value in ports.items()}
    env["PYTHONPATH"] = os.pathsep.join((str(CHECKOUT / "libs"), str(CHECKOUT)))

    def run(*words):
        command = [sys.executable, "-m", "headrace.cli", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.settings = Settings(root=root, home=root / "home", kafka_port=kafka, registry_port=registry)
    for label, task in TASKS.items():
        others = [word for other in TASKS if other != label for word in ("--exclude", other)]
        roles = ["--key", "shop", "--time", "when", "--label", label, "--null", "NA", "--train-after", "100"]
        run("init", task, "--from", str(root / "data.csv"), *roles, *others)
    run("up", "--timeout", "180")
    yield run
    run("down")


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
def test_every_row_is_answered_and_every_label_joined(headrace, root, label, task):
    sent = json.loads(headrace("publish", task, str(root / "data.csv"), "--json", "--patience", "240"))
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
