"""The docs hold: links lead somewhere, commands exist, and the howto's service takes part in ticks."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

import services
from headrace import reference
from headrace.bus.provision import stages
from headrace.cli.__main__ import COMMANDS, load
from headrace.contracts.topics import LEDGER, RETRAIN, STEPS, TICKS
from headrace.local.platform import found_services
from headrace.local.settings import Settings
from headrace.sources import pipelines
from headrace.testing.documents import blocks
from headrace.testing.loop import MemoryLoop

PAGES = [p for p in [*Path().glob("*.md"), *Path("docs").rglob("*.md"), *Path("services").rglob("*.md"),
                     *Path("k8s").rglob("*.md"), *Path("examples").rglob("*.md")] if p.is_file()]  # fmt: skip
HOUR = 3_600_000_000
DATA_PLANE = ("ingestion", "features", "serving", "monitoring")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def commands(page):
    """Yield every `./headrace ...` of a page, as words."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    code = [text for language, text in fenced if language == "sh"]
    code += re.findall(r"`([^`\n]+)`", page.read_text())
    for line in "\n".join(code).replace("\\\n", " ").splitlines():
        if found := re.search(r"(?:^|\s)(?:\./)?headrace ([a-z].*)", line):
            yield shlex.split(found[1], comments=True)


def unknown(words):
    """Return what of a command line does not exist: its command, its sub-command, or an option."""
    if words[0] not in COMMANDS:
        return words[:1]
    command, rest = load(words[0]), words[1:]
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return words[:2]
        command, rest = command.commands[rest[0]], rest[1:]
    known = {o for p in getattr(command, "params", []) for o in (*p.opts, *p.secondary_opts)} | {
        "--help",
        "-h",
    }
    return [
        w
        for w in rest
        if re.fullmatch(r"--?[a-z][a-z-]*", w.partition("=")[0]) and w.partition("=")[0] not in known
    ]


def test_commands_are_found_where_they_stand():
    assert [words[0] for words in commands(Path("README.md"))][:2] == ["demo", "test"]
    assert {words[0] for words in commands(Path("docs/tutorial.md"))} >= {
        "init",
        "up",
        "publish",
        "event",
        "replay",
    }


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_exists_with_its_options(page):
    wrong = [(words, found) for words in commands(page) if (found := unknown(words))]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_the_generated_page_is_current(name):
    written = (reference.FOLDER / name).read_text()
    assert written == reference.PAGES[name](), "run `python -m headrace.reference` and commit docs/reference"


# -- what a reader copies -------------------------------------------------------------------------------


def as_file(name):
    return yaml.safe_load(Path(f"pipelines/{name}.yaml").read_text())


@pytest.mark.parametrize("name", sorted(p.stem for p in Path("pipelines").glob("*.yaml")))
def test_the_schema_takes_the_pipelines_that_ship(name):
    found = json.loads(json.dumps(as_file(name), default=str))
    jsonschema.validate(found, reference.pipeline_schema())


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("clock", "step", "a while"),
        ("clock", "sped", "1h"),
        ("records", "Departure", {}),
        ("training", "every", 7),
    ],
)
def test_the_schema_finds_mistakes(part, key, value):
    wrong = as_file("flights")
    wrong[part][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(json.dumps(wrong, default=str)), reference.pipeline_schema())


def test_the_readmes_init_makes_a_pipeline(tmp_path):
    first = next(words for words in commands(Path("README.md")) if words[0] == "init")
    (tmp_path / "pipelines").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", *first],
        env={**os.environ, "PYTHONPATH": "libs", "HEADRACE_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert pipelines.find("orders", tmp_path / "pipelines").task == "binary"
    asked = next(words for words in commands(Path("docs/tutorial.md")) if words[0] == "init")
    assert asked == first


def test_the_howtos_estimator_is_one():
    found = {}
    exec(blocks(Path("docs/howto/bring-your-own-estimator.md"))["estimator.py"], found)  # noqa: S102  (it is ours)
    view = pipelines.find("flights", Path("pipelines")).features
    model = found["build"]({"learning_rate": 0.05}, view)
    assert model.learning_rate == 0.05
    assert len(model.categorical_features) == len(view.names)


# -- docs/howto/add-a-service.md -----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Put the howto's blocks in a folder of services that Python finds beside ours."""
    home = tmp_path / "services" / "performance"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text('"""Performance: outcomes in, requests for a training out."""\n')
    found = blocks(Path("docs/howto/add-a-service.md"))
    for name in ("service.py", "handler.py", "__main__.py"):
        (home / name).write_text(found[name])
    monkeypatch.setattr(services, "__path__", [*services.__path__, str(home.parent)])
    importlib.invalidate_caches()
    yield tmp_path
    for name in [n for n in sys.modules if n.startswith("services.performance")]:
        del sys.modules[name]


def run(folder, max_batch=1_000):
    sys.path.insert(0, "tests/flows")
    from coins import hours, pipeline  # noqa: PLC0415  (the pipeline of the flow tests)

    from services.clock.handler import Clock  # noqa: PLC0415

    ours = [s for s in stages(Path("services")) if s.name in DATA_PLANE]
    loop = MemoryLoop(pipeline(), [*ours, *stages(folder / "services")], Clock(), max_batch=max_batch)
    for number, events in enumerate(hours(3)):
        loop.publish((number + 1) * HOUR, events)
    return loop


def test_the_howtos_service_is_found_by_its_folder(folder):
    assert found_services(Settings(root=folder)) == ["performance"]


def test_the_howtos_service_closes_every_tick_and_is_waited_for(folder):
    loop = run(folder)
    ticks = [t["n"] for _, t in loop.records(TICKS)]
    assert [e["tick"] for _, e in loop.records(LEDGER) if e["service"] == "performance"] == ticks
    assert [name for name, _ in loop.records(STEPS)] == ["StepRequested", "StepRested"] * 3


def test_the_howtos_service_says_what_the_page_says_whatever_the_batches_are(folder):
    said = [r for _, r in run(folder).records(RETRAIN)]
    assert said
    assert {r["trigger"] for r in said} == {"performance"}
    assert [r for _, r in run(folder, max_batch=7).records(RETRAIN)] == said
