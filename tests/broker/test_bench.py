"""``headrace bench --quick``: the services on a few events, every answer checked."""

import json
import subprocess
import sys

from headrace.local.settings import CHECKOUT, Settings


def test_the_quick_bench_finds_nothing_lost_doubled_or_wrong(tmp_path):
    found = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "bench", "--quick", "--json", str(found)],
        env=Settings(home=tmp_path / "home").environment(),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(found.read_text())["rows"]
    assert row["name"] == "headrace three services"
    assert (row["lost"], row["duplicated"], row["wrong"]) == (0, 0, 0)
    assert row["events_per_second"] > 0
