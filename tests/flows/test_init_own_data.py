"""Own data through the loop: `init` reads a file, its rows are published, every row is answered, every label joined."""

import json
import subprocess
import sys
from collections import Counter

import polars as pl
import pytest

from headrace.bus.provision import stages
from headrace.contracts.topics import OUTCOMES, PREDICTIONS, RECEIPTS
from headrace.errors import UsageError
from headrace.local.settings import CHECKOUT, Settings
from headrace.sources import drafting, inference, pipelines, reading, source, tabular
from headrace.sources.flights import package_file
from headrace.sources.inference import Wishes
from headrace.sources.wire import Wire
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock

DATA_PLANE = [s for s in stages(Settings().root / "services") if s.name in
              {"ingestion", "features", "serving", "monitoring"}]  # fmt: skip
ROWS = 600


def table():
    """Return rows of every kind a test needs: a number, a category, labels for three tasks, some of them missing."""
    n = pl.int_range(ROWS, eager=True)
    return pl.DataFrame(
        {
            "when": [f"2024-03-{1 + i // 24:02d}T{i % 24:02d}:00:00Z" for i in range(ROWS)],
            "shop": (n % 3).cast(pl.String).replace_strict({"0": "north", "1": "south", "2": "west"}),
            "amount": (n * 37 % 101) / 4,
            "kind": (n * 7 % 5).replace_strict({0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}),
            "kept": pl.Series(["yes" if i * 37 % 101 + i * 13 % 29 > 60 else "no" for i in range(ROWS)]).set(
                n % 50 == 3, None
            ),
            "grade": [["low", "mid", "high"][(i * 37 % 101 + i * 13 % 29) // 44] for i in range(ROWS)],
            "price": [(i * 37 % 101) * 2.5 + (i * 13 % 29) * 9.0 for i in range(ROWS)],
        }
    )


def go(tmp_path, path, wishes, *, columns=None):
    """Carry a file through `init` and the loop; return the loop and the published tables."""
    draft = inference.infer(tabular.read(path, nulls=wishes.nulls, columns=columns), wishes)
    drafting.write(draft, "mine", tmp_path / "pipelines")
    definition, how = (
        pipelines.find("mine", tmp_path / "pipelines"),
        reading.load(tmp_path / "pipelines", "mine"),
    )
    tables = how.tables(definition, how.sheet(path))
    given = draft.sheet.frame
    assert [len(tables["Event"]), len(tables["Answer"])] == [
        len(given),
        given[wishes.label].drop_nulls().len(),
    ]
    loop = MemoryLoop(definition, DATA_PLANE, Clock())
    wire, last = Wire(definition, loop.registry, "test"), 0
    for step in source.steps(definition, tables):
        loop.log.append(record._replace(partition=0) for record in wire.records(step))
        loop.publish(step.time, [])
        last = step.time
    loop.publish(last + definition.lookback, [], final=True)
    return loop, tables


def check(loop, tables):
    """Assert that every event has one prediction or receipt, and every answer its outcome."""
    events, answers = tables["Event"]["event_id"].to_pylist(), tables["Answer"]["event_id"].to_pylist()
    answered = [row["event_id"] for _, row in loop.records(PREDICTIONS)] + [
        r["event_id"] for _, r in loop.records(RECEIPTS)
    ]
    assert Counter(answered) == Counter(events)
    outcomes = [row for name, row in loop.records(OUTCOMES) if name == "Outcome"]
    assert Counter(r["event_id"] for r in outcomes if r["status"] == "labelled") == Counter(answers)
    assert Counter(r["event_id"] for r in outcomes) == Counter(events)
    return outcomes


def wishes(label="kept", **changes):
    others = {"kept", "grade", "price"} - {label}
    return Wishes(key=["shop"], time="when", label=label, exclude=sorted(others), train_after=100, **changes)


@pytest.mark.parametrize(
    ("label", "task", "fields"),
    [
        ("kept", "binary", {"no", "yes"}),
        ("grade", "multiclass", {"high", "low", "mid"}),
        ("price", "regression", None),
    ],
)
def test_the_three_tasks(tmp_path, label, task, fields):
    table().write_csv(tmp_path / "data.csv")
    loop, tables = go(tmp_path, tmp_path / "data.csv", wishes(label))
    outcomes = check(loop, tables)
    assert loop.definition.task == task
    known = [row for row in outcomes if row["status"] == "labelled"]
    assert len(known) == table()[label].drop_nulls().len()
    if fields:
        assert {row["label"] for row in known} == fields
    else:
        assert [row["label_value"] for row in known] == table()["price"].to_list()


def test_a_semicolon_file_with_decimal_commas(tmp_path):
    text = table().write_csv(separator=";").replace(".", ",")
    (tmp_path / "data.csv").write_text(text)
    loop, tables = go(tmp_path, tmp_path / "data.csv", wishes())
    check(loop, tables)
    assert tables["Event"]["amount"].to_pylist() == table()["amount"].to_list()


def test_a_file_with_literal_na(tmp_path):
    holes = table().with_columns(amount=pl.when(pl.col("amount") > 3).then(pl.col("amount")))
    holes.write_csv(tmp_path / "data.csv", null_value="NA")
    loop, tables = go(tmp_path, tmp_path / "data.csv", wishes(nulls=["NA"]))
    check(loop, tables)
    assert tables["Event"]["amount"].null_count == holes["amount"].null_count()


def test_an_unsorted_file(tmp_path):
    table().sample(fraction=1.0, shuffle=True, seed=5).write_csv(tmp_path / "data.csv")
    loop, tables = go(tmp_path, tmp_path / "data.csv", wishes())
    check(loop, tables)
    times = [row["event_time"] for _, row in loop.records(PREDICTIONS)]
    assert times == sorted(times)


def test_a_file_without_a_header(tmp_path):
    table().write_csv(tmp_path / "data.csv", include_header=False)
    with pytest.raises(UsageError, match="--columns"):
        tabular.read(tmp_path / "data.csv")
    loop, tables = go(tmp_path, tmp_path / "data.csv", wishes(headless=True), columns=table().columns)
    check(loop, tables)


def test_a_parquet_file(tmp_path):
    table().with_columns(pl.col("when").str.to_datetime(time_zone="UTC")).write_parquet(
        tmp_path / "data.parquet"
    )
    check(*go(tmp_path, tmp_path / "data.parquet", wishes()))


@pytest.mark.parametrize("delayed", ["3d", "settled"])
def test_labels_that_come_late(tmp_path, delayed):
    settled = pl.Series("settled", [f"2024-04-{1 + i % 5:02d}T00:00:00Z" for i in range(ROWS)])
    table().with_columns(settled).write_csv(tmp_path / "data.csv")
    check(*go(tmp_path, tmp_path / "data.csv", wishes(label_time=delayed)))


def test_the_weather_of_the_package(tmp_path):
    whole = package_file("weather.csv").read_text().splitlines(keepends=True)
    (tmp_path / "weather.csv").write_text("".join(whole[:3000]))
    asked = Wishes(key=["origin"], time="time_hour", label="visib", nulls=["NA"], label_time="1h")
    check(*go(tmp_path, tmp_path / "weather.csv", asked))


def headrace(tmp_path, *words, text=None):
    command = [sys.executable, "-m", "headrace.cli", *words]
    found = {
        "PYTHONPATH": f"{CHECKOUT / 'libs'}:{CHECKOUT}",
        "HEADRACE_ROOT": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.run(command, env=found, input=text, capture_output=True, text=True, check=False)


def test_the_command_line(tmp_path):
    table().write_csv(tmp_path / "data.csv")
    words = [
        "init",
        "mine",
        "--from",
        str(tmp_path / "data.csv"),
        "--key",
        "shop",
        "--time",
        "when",
        "--label",
        "kept",
    ]
    made = headrace(tmp_path, *words, "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["task"] == "binary"
    assert {c["column"]: c["role"] for c in told["columns"]}["amount"] == "feature"
    again = headrace(tmp_path, *words)
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    example = tmp_path / "pipelines/mine/Event.example.json"
    assert headrace(tmp_path, "event", "validate", str(example), "--pipeline", "mine").returncode == 0
    bad = headrace(
        tmp_path, "event", "validate", "-", "--pipeline", "mine", "--json", text='{"event_id": "e1"}'
    )
    assert bad.returncode == 5
    assert {answer["path"] for answer in json.loads(bad.stdout)} == {"shop", "when"}
