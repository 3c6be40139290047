"""The command line as a process: what it loads, what it says, how it exits."""

import os
import subprocess
import sys

import pytest

from headrace.cli.__main__ import COMMANDS, load

HEAVY = {"pydantic_settings", "numpy", "pyarrow", "polars", "confluent_kafka", "sklearn", "mlflow", "httpx"}
LOADED = "import sys, atexit; atexit.register(lambda: print('LOADED', *sys.modules))"


def headrace(*arguments, start="", **variables):
    code = f"{start}\nimport sys; sys.argv[0] = 'headrace'\nfrom headrace.cli.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(name):
    done = headrace(name, "--help", start=LOADED)
    assert done.returncode == 0
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert loaded & HEAVY == set()
    assert {module for module in loaded if module.startswith("headrace.cli.")} <= {
        "headrace.cli.__main__",
        f"headrace.cli.{name}",
    }


def test_the_list_of_commands_loads_none_of_them():
    done = headrace("--help", start=LOADED)
    assert all(line in done.stdout for line in COMMANDS.values())
    assert "headrace.cli.up" not in done.stdout.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    assert load(name).help


def test_an_error_is_three_lines_and_its_class_the_exit_code(tmp_path):
    done = headrace("logs", "nosuch", HEADRACE_HOME=str(tmp_path))
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["failed:", "why:", "next:"]


def test_a_wrong_setting_exits_3():
    assert headrace("status", HEADRACE_KAFKA_PORT="ninety").returncode == 3


def test_debug_shows_the_traceback(tmp_path):
    assert "Traceback" in headrace("--debug", "logs", "nosuch", HEADRACE_HOME=str(tmp_path)).stderr


def test_an_unknown_command_exits_2():
    assert headrace("nosuch").returncode == 2


def test_status_of_nothing_exits_5(tmp_path):
    variables = {"HEADRACE_HOME": str(tmp_path), "HEADRACE_KAFKA_PORT": "1025"}
    done = headrace("status", "--json", **variables)
    assert (done.returncode, '"up": false' in done.stdout) == (5, True)


def test_pytest_gets_its_arguments_and_its_exit_code_is_passed_on():
    done = headrace("test", "--collect-only", "-q", "tests/no_such_folder")
    assert done.returncode == 4
    assert "no_such_folder" in done.stderr + done.stdout
