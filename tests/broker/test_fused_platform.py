"""The real platform with its data plane fused, taken apart and fused again while events come; a replay sees no seam."""

import json

import polars as pl
import pytest
from commands import commands

pytestmark = [pytest.mark.broker, pytest.mark.slow]
ROWS = 600


@pytest.fixture
def headrace(tmp_path):
    with commands(tmp_path) as told:
        yield told


def programs(headrace):
    return {p["name"]: p["healthy"] for p in json.loads(headrace("status", "--json"))["programs"]}


def pids(headrace):
    return {p["name"]: p["pid"] for p in json.loads(headrace("status", "--json"))["programs"]}


def rows(path):
    days = [f"2024-01-{n // 20 + 1:02d} {n % 20:02d}:00:00" for n in range(ROWS)]
    table = {
        "when": days,
        "shop": ["abc"[n % 3] for n in range(ROWS)],
        "amount": [n % 7.0 for n in range(ROWS)],
    }
    table["kept"] = ["yes" if n % 3 else "no" for n in range(ROWS)]
    pl.DataFrame(table).write_csv(path)
    return str(path)


def test_a_running_pipeline_changes_from_one_way_to_the_other(headrace, tmp_path):
    data = rows(tmp_path / "data.csv")
    headrace(
        "init", "sales", "--from", data, "--key", "shop", "--time", "when", "--label", "kept", "--tz", "UTC"
    )
    headrace("up", "--fused", "--timeout", "180")
    kafka = pids(headrace)["kafka"]
    with headrace.beside("publish", "sales", data, "--rate", "16") as publishing:
        for words, fused in ((("--fused",), True), ((), False), (("--fused",), True)):
            headrace("up", *words, "--timeout", "180")
            found = programs(headrace)
            assert all(found.values())
            assert ("fused" in found, "ingestion" in found, "serving" in found) == (
                fused,
                not fused,
                not fused,
            )
        assert publishing.poll() is None, "it was over before the last change"
    assert publishing.returncode == 0
    assert pids(headrace)["kafka"] == kafka
    (sales,) = json.loads(headrace("status", "--json"))["pipelines"]
    assert (sales["events"], sales["predictions"]) == (ROWS, ROWS)
    verdicts = json.loads(headrace("replay", "sales", "--json", "--last", "1000"))
    assert (verdicts["checked"], verdicts["match"]) == (ROWS, ROWS)
    assert "ingestion+features+serving" in headrace("logs", "fused")
