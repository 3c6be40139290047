"""``headrace schema check`` against a git revision and a folder."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.schema import app
from headrace.errors import CheckError, UsageError
from headrace.testing.broker import free_ports

ROOT = Path(__file__).parents[2]
TICK = "schemas/events/Tick.avsc"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own under git, where no registry answers."""
    for folder in ("schemas", "pipelines"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    monkeypatch.setenv("HEADRACE_ROOT", str(tmp_path))
    monkeypatch.setenv("HEADRACE_REGISTRY_PORT", str(free_ports(1)[0]))
    return tmp_path


def edit(checkout, change, path=TICK):
    schema = json.loads((checkout / path).read_text())
    change(schema["fields"])
    (checkout / path).write_text(json.dumps(schema))


def check(*arguments):
    done = CliRunner().invoke(app, ["check", "--json", *arguments])
    return json.loads(done.stdout), done.exception


@pytest.mark.usefixtures("checkout")
def test_nothing_changed():
    assert check() == ([], None)


def test_a_field_with_a_default_passes(checkout):
    edit(checkout, lambda fields: fields.append({"name": "more", "type": "int", "default": 0}))
    (told,), error = check("--against", "HEAD")
    assert (error, told["good"]) == (None, True)
    assert [c["kind"] for c in told["changes"]] == ["field-added-with-default"]


def test_a_breaking_change_says_no_with_the_reason_and_the_fix(checkout):
    edit(checkout, lambda fields: fields.append({"name": "more", "type": "int"}))
    (told,), error = check()
    assert isinstance(error, CheckError)
    assert (told["path"], told["mode"]) == (TICK, "FULL_TRANSITIVE")
    assert [(o["why"], o["fix"]) for o in told["objections"]] == [
        ("old records lack the field, and nothing stands in", "give the field a default")
    ]
    assert told["avro"] == ["backward: more"]
    assert check("--mode", "forward")[1] is None


def test_a_pipeline_s_own_contract_is_checked(checkout):
    edit(checkout, lambda fields: fields.pop(), "pipelines/flights/Departure.avsc")
    (told,), error = check("--against", str(ROOT))
    assert isinstance(error, CheckError)
    assert told["path"] == "pipelines/flights/Departure.avsc"


def test_a_removed_record_breaks(checkout):
    (checkout / TICK).unlink()
    (told,), error = check()
    assert isinstance(error, CheckError)
    assert told["objections"][0]["change"]["kind"] == "record-removed"


def test_a_transitive_mode_asks_the_releases_too(checkout):
    """The newest version gained a default; taking it away is harmless to it, and breaks the release."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "tag", "v1.0.0"], cwd=checkout, check=True)
    edit(checkout, lambda fields: fields.append({"name": "more", "type": "int", "default": 0}))
    subprocess.run([*git, "commit", "-qam", "Add"], cwd=checkout, check=True)
    edit(checkout, lambda fields: fields[-1].pop("default"))
    assert isinstance(check()[1], CheckError)
    assert check("--mode", "full")[1] is None


@pytest.mark.usefixtures("checkout")
def test_an_unknown_revision_is_a_usage_error():
    done = CliRunner().invoke(app, ["check", "--against", "nowhere"])
    assert isinstance(done.exception, UsageError)
