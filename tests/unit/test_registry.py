import json
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from headrace.bus.rows import Overlays, State
from headrace.bus.service import Batch
from headrace.contracts.topics import MODELS, REGISTRY_EFFECTS, REGISTRY_RESULTS
from headrace.errors import ConfigurationError, UnreachableError
from headrace.models import mlflow_adapter
from headrace.pipeline.definition import Definition
from headrace.store.sql import ALIASES, DECISIONS, MODEL_VERSIONS, connect
from headrace.testing.loop import MemoryArtifacts
from services.registry.effects import CARRY_OUT
from services.registry.handler import ATTEMPTS, handle
from services.registry.service import SERVICE

CANDIDATE = {
    "candidate_id": "c1", "training_id": "t1", "request_id": "r1", "pipeline": "p", "tick": 3, "model_name": "p",
    "model_digest": "d1", "dataset_digest": "s1", "rows": 100, "holdout_rows": 300, "loss": 0.25,
    "champion_digest": None, "champion_loss": None, "metrics": {"auc": 0.7}, "seed": 1, "fingerprint": "f",
    "artifact_bytes": 10,
}  # fmt: skip
POLICY = Definition.model_construct(name="p", gates=Definition.model_fields["gates"].annotation())


class Registry:
    """The handler with its tables, a tick at a time."""

    def __init__(self):
        self.states = {t.name: State(t) for t in SERVICE.tables}

    def take(self, topic, *controls):
        overlays = Overlays(self.states)
        step = handle(Batch(topic, 0, 1, None, {}, controls=controls), overlays, POLICY)
        overlays.apply()
        return {t: [e.columns.to_pylist()[0] for e in emits] for t, emits in step.emitted.items()}


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("registry")
    home = f"sqlite:///{tmp_path}"
    settings = SimpleNamespace(database_url=f"{home}/views.db", mlflow_uri=f"{home}/mlflow.db", home=tmp_path)
    artifacts = MemoryArtifacts()
    artifacts.held["d1"] = b"a model"
    return SimpleNamespace(settings=settings, artifacts=artifacts)


def test_versions_count_from_one_and_skip_the_refused():
    registry = Registry()
    heavy = CANDIDATE | {"candidate_id": "c2", "artifact_bytes": 10**9}
    last = CANDIDATE | {"candidate_id": "c3", "model_digest": "d3"}
    found = registry.take(MODELS, *(("ModelCandidate", c) for c in (CANDIDATE, heavy, last)))
    kinds = [
        a.get("version")
        for topic, records in found.items()
        if topic.stream == "control.aliases"
        for a in records
    ]
    assert kinds == [1, None, 2]


def test_a_write_that_fails_is_asked_for_again_and_not_for_ever():
    registry = Registry()
    asked = registry.take(MODELS, ("ModelCandidate", CANDIDATE))[REGISTRY_EFFECTS]
    ids = []
    while asked:
        ids.append(asked[0]["effect_id"])
        failed = {"effect_id": ids[-1], "pipeline": "p", "error": "down"}
        payload = json.loads(asked[0]["payload"])
        asked = registry.take(REGISTRY_RESULTS, ("EffectFailed", failed)).get(REGISTRY_EFFECTS)
        assert payload["candidate"] == CANDIDATE
    assert len(set(ids)) == ATTEMPTS


def test_only_the_first_outcome_of_a_write_counts():
    registry = Registry()
    (asked,) = registry.take(MODELS, ("ModelCandidate", CANDIDATE))[REGISTRY_EFFECTS]
    outcome = {"effect_id": asked["effect_id"], "pipeline": "p", "error": "down", "result": "{}"}
    assert registry.take(REGISTRY_RESULTS, ("EffectCompleted", outcome), ("EffectFailed", outcome)) == {}


def written(tools):
    with connect(tools.settings.database_url).connect() as connection:
        return {t.name: [dict(r) for r in connection.execute(select(t)).mappings()]
                for t in (MODEL_VERSIONS, ALIASES, DECISIONS)}  # fmt: skip


def tracker(tools):
    return mlflow_adapter.connect(tools.settings.mlflow_uri).client


def runs(tools, candidate_id):
    experiment = tracker(tools).get_experiment_by_name("p").experiment_id
    return tracker(tools).search_runs([experiment], f"tags.`{mlflow_adapter.CANDIDATE}` = '{candidate_id}'")


def test_writing_twice_leaves_what_writing_once_does(tools):
    gates = [{"name": "min_rows", "passed": True, "value": 300.0, "bound": 200.0}]
    moved = {"pipeline": "p", "tick": 5, "model_name": "p", "alias": "champion", "version": 1, "from_version": None,
             "model_digest": "d1", "cause": "r1", "effect_id": "e2"}  # fmt: skip
    wishes = [
        (
            "record-version",
            {"candidate": CANDIDATE, "version": 1, "gates": gates, "tick": 4, "effect_id": "e1"},
        ),
        ("move-alias", moved),
    ]
    for kind, payload in wishes:
        CARRY_OUT[kind](payload, tools)
    once = written(tools)
    for kind, payload in wishes:
        CARRY_OUT[kind](payload, tools)
    assert written(tools) == once
    assert len(runs(tools, "c1")) == 1
    assert tracker(tools).get_model_version_by_alias("p", "champion").tags["digest"] == "d1"
    assert [(v["version"], v["model_digest"]) for v in once["model_versions"]] == [(1, "d1")]
    assert [(a["alias"], a["version"]) for a in once["aliases"]] == [("champion", 1)]
    assert [d["decision"] for d in once["decisions"]] == ["registered", "champion"]


def test_a_refused_candidate_is_a_decision_and_a_run_but_no_version(tools):
    refused = CANDIDATE | {"candidate_id": "c9"}
    payload = {"candidate": refused, "version": None, "gates": [], "tick": 4, "effect_id": "e9"}
    CARRY_OUT["record-version"](payload, tools)
    found = written(tools)
    assert "c9" not in {v["candidate_id"] for v in found["model_versions"]}
    assert [d["decision"] for d in found["decisions"] if d["decision_id"] == "c9"] == ["refused"]
    assert len(runs(tools, "c9")) == 1


def test_a_wrong_or_silent_database_is_told_apart(tmp_path):
    with pytest.raises(ConfigurationError):
        connect("nonsense")
    with pytest.raises(UnreachableError):
        connect(f"sqlite:///{tmp_path}/no/such/folder/views.db")
