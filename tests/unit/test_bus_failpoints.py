"""Points at which a process signals itself."""

import os
import signal
import subprocess
import sys

import pytest

from headrace.bus.failpoints import POINTS, parse
from headrace.errors import ConfigurationError

PROGRAM = """
import os
from headrace.bus.failpoints import arm, reach
arm(os.environ)
for n in range(5):
    reach("after-begin")
    reach("after-commit")
    print(n, flush=True)
"""


def run(plan, log):
    environment = {**os.environ, "HEADRACE_FAILPOINT": plan, "HEADRACE_FAILPOINT_LOG": str(log)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )


def test_the_chosen_hit_of_the_chosen_point_signals(tmp_path):
    ended = run("after-begin:3:SIGKILL", tmp_path / "log")
    assert (ended.returncode, ended.stdout.split()) == (-signal.SIGKILL, ["0", "1"])
    assert (tmp_path / "log").read_text() == "after-begin 3\n"


def test_another_point_does_not(tmp_path):
    ended = run("mid-produce:1:SIGKILL", tmp_path / "log")
    assert (ended.returncode, len(ended.stdout.split())) == (0, 5)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    "text", ["", "after-begin", "after-begin:0:SIGKILL", "nowhere:1:SIGKILL", "after-begin:1:SIGHUP"]
)
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse(text)


def test_every_point_can_be_planned():
    assert [parse(f"{point}:1:SIGSTOP").point for point in POINTS] == list(POINTS)
