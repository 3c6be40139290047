"""The launcher with stand-ins for Python on its PATH: what it says when something is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "headrace"
OLD = "exit 1"
SHIM = "echo 'pyenv: python3.11: command not found' >&2; exit 127"
# Answers every question as a new Python would; TOOL says what `-m` does with its arguments.
NEW = """case "$*" in
*version_info*print*|*print*version_info*) echo python3.11 ;;
*get_path*) echo "$0.site"; mkdir -p "$0.site" ;;
'-m venv --clear '*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
'-m pip --version') [ -e "$0" ] ;;
'-m pip install'*) echo install >> "$CALLS"; TOOL ;;
'-P -m headrace.local.warm') echo warm >> "$CALLS" ;;
'-P -m headrace.cli'*) shift 3; echo "cli $*" ;;
*ensurepip*) VENV ;;
esac"""


@pytest.fixture
def checkout(tmp_path):
    shutil.copy(LAUNCHER, tmp_path / "headrace")
    (tmp_path / "requirements.lock").write_text("typer==0 --hash=sha256:0\n")
    return tmp_path


def launch(checkout, python3, python311=None, **words):
    tools = checkout / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "dirname", "readlink", "cmp", "cp", "mkdir", "cat", "tail", "flock", "ls"):
        if not (tools / name).exists() and (found := shutil.which(name)):
            (tools / name).symlink_to(found)
    for name, script in (("python3", python3), ("python3.11", python311)):
        if script is not None:
            text = script.replace("TOOL", words.get("tool", ":")).replace("VENV", words.get("venv", ":"))
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
    environment = {"PATH": str(tools), "CALLS": str(checkout / "calls")}
    command = [str(checkout / "headrace"), "publish", "two words"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def calls(checkout):
    return (checkout / "calls").read_text().split()


def test_all_in_place_it_only_passes_the_arguments_on(checkout):
    assert launch(checkout, NEW).returncode == 0
    again = launch(checkout, NEW)
    assert (again.returncode, again.stdout, again.stderr) == (0, "cli publish two words\n", "")
    assert calls(checkout) == ["install", "warm"]


def test_a_changed_lock_is_installed(checkout):
    launch(checkout, NEW)
    (checkout / "requirements.lock").write_text("typer==1 --hash=sha256:1\n")
    launch(checkout, NEW)
    assert calls(checkout) == ["install", "warm"] * 2


def test_it_looks_past_a_shim_and_an_old_python(checkout):
    assert launch(checkout, NEW, python311=SHIM).returncode == 0


@pytest.mark.parametrize("script", [OLD, SHIM])
def test_without_a_new_python_it_names_the_packages(checkout, script):
    done = launch(checkout, script, python311=SHIM)
    assert done.returncode == 3
    assert "sudo apt-get install python3.11 python3.11-venv" in done.stderr


def test_without_venv_it_names_the_package(checkout):
    done = launch(checkout, NEW, venv="exit 1")
    assert done.returncode == 3
    assert "sudo apt-get install python3.11-venv" in done.stderr


@pytest.mark.parametrize(
    ("printed", "code", "said"),
    [
        ("OSError: [Errno 28] No space left on device", 1, "the disk is full"),
        ("Max retries exceeded: Temporary failure in name resolution", 4, "registry does not answer"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", 1, "not the pinned one"),
        ("error: something else", 1, "it goes on where it stopped"),
    ],
)
def test_what_stopped_the_installation_is_said_and_the_next_start_goes_on(checkout, printed, code, said):
    done = launch(checkout, NEW, tool=f"echo '{printed}'; exit 1")
    assert done.returncode == code
    assert said in done.stderr
    shutil.rmtree(checkout / "tools")
    (checkout / ".venv/bin/python").unlink()
    assert launch(checkout, NEW).returncode == 0
    assert calls(checkout) == ["install", "install", "warm"]


def test_a_moved_checkout_goes_on_working(checkout, tmp_path_factory):
    launch(checkout, NEW)
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    checkout.rename(moved)
    assert launch(moved, NEW).stdout == "cli publish two words\n"
    paths = next((moved / ".venv").rglob("headrace.pth")).read_text().split()
    assert not [path for path in paths if path.startswith("/")]
