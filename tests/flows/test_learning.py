"""Real models in the loop: what an effect fits on, what it answers when it is repeated, and that it is served."""

import json

import pytest
from coins import HOUR, hours, pipeline

from headrace.bus.observer import Said
from headrace.contracts.topics import (
    ALIASES,
    DEPLOYMENTS,
    FEATURES,
    MODELS,
    OUTCOMES,
    PREDICTIONS,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.testing.loop import MemoryLoop, MemoryTools
from services.clock.handler import Clock
from services.deployment.service import SERVICE as DEPLOYMENT
from services.features.service import SERVICE as FEATURES_SERVICE
from services.ingestion.service import SERVICE as INGESTION
from services.monitoring.service import SERVICE as MONITORING
from services.registry.service import SERVICE as REGISTRY
from services.serving.service import SERVICE as SERVING
from services.training.effects import Trainer
from services.training.labelled import Labelled
from services.training.service import SERVICE as TRAINING

SERVICES = (INGESTION, FEATURES_SERVICE, SERVING, MONITORING, TRAINING, REGISTRY, DEPLOYMENT)
ONLINE = {"path": "river.linear_model:LogisticRegression", "kind": "online"}


def loop_of(definition, *, trains=True):
    trainer = Trainer()
    written = dict.fromkeys(("record-version", "move-alias"), lambda _payload, _tools: {})
    effects = {REGISTRY_EFFECTS: (REGISTRY_RESULTS, written)}
    if trains:
        effects[TRAINING_EFFECTS] = (TRAINING_RESULTS, {"fit": trainer.fit, "learn": trainer.learn})
    return MemoryLoop(definition, SERVICES, Clock(), effects)


def learnt(definition, count=6):
    loop = loop_of(definition)
    for number, events in enumerate(hours(count)):
        loop.publish((number + 1) * HOUR, events)
    return loop


@pytest.fixture(scope="module")
def batch():
    return learnt(pipeline())


@pytest.fixture(scope="module")
def online():
    return learnt(pipeline(estimator=ONLINE, training={"train_after": 100, "learn_every": 50}))


def of(loop, topic, record):
    return [fields for name, fields in loop.records(topic) if name == record]


def labelled(loop, from_tick, to_tick):
    return sum(
        o["status"] == "labelled" and from_tick <= o["tick"] <= to_tick for o in of(loop, OUTCOMES, "Outcome")
    )


def test_a_fit_sees_every_row_that_was_labelled_by_then_and_none_after(batch):
    (started,) = of(batch, MODELS, "TrainingStarted")
    (candidate,) = of(batch, MODELS, "ModelCandidate")
    assert candidate["rows"] + candidate["holdout_rows"] == labelled(batch, 1, started["to_tick"])
    assert candidate["loss"] < 0.5  # the prior's is 0.69


def test_rows_are_the_labelled_events_in_the_order_of_their_log(batch):
    tools = MemoryTools(batch.artifacts, batch.registry, batch.definition, batch.log)
    to_tick = of(batch, MODELS, "TrainingStarted")[0]["to_tick"]
    answers = {
        o["event_id"]: o["label"]
        for o in of(batch, OUTCOMES, "Outcome")
        if o["status"] == "labelled" and o["tick"] <= to_tick
    }
    logged = [v for v in of(batch, FEATURES, "FeatureVector") if v["event_id"] in answers]
    rows = Labelled().rows(tools, 1, to_tick)
    assert rows["event_id"].to_pylist() == [v["event_id"] for v in logged]
    assert rows["label"].to_pylist() == [answers[v["event_id"]] for v in logged]
    assert rows["bias"].to_pylist() == [v["values"]["bias"] for v in logged]


def test_what_was_promoted_serves(batch):
    promoted = of(batch, DEPLOYMENTS, "Promoted")[-1]
    predictions = of(batch, PREDICTIONS, "Prediction")
    assert predictions[-1]["model_digest"] == promoted["model_digest"]
    assert predictions[-1]["model_version"] == of(batch, ALIASES, "ModelVersionRegistered")[-1]["version"]
    assert batch.artifacts.get(promoted["model_digest"])


@pytest.mark.parametrize("kind", ["batch", "online"])
def test_a_repeated_effect_gives_the_same_whatever_came_since(kind, request):
    loop = request.getfixturevalue(kind)
    tools = MemoryTools(loop.artifacts, loop.registry, loop.definition, loop.log)
    again = Trainer()
    answers = of(loop, TRAINING_RESULTS, "EffectCompleted")
    for asked, answer in zip(of(loop, TRAINING_EFFECTS, "EffectRequested"), answers, strict=True):
        work = {"fit": again.fit, "learn": again.learn}[asked["kind"]]
        assert dict(work(json.loads(asked["payload"]), tools)) == json.loads(answer["result"])


def test_online_snapshots_share_the_labels_among_them(online):
    started, found = of(online, MODELS, "TrainingStarted"), of(online, MODELS, "ModelCandidate")
    assert len(found) >= 3
    assert [s["from_tick"] for s in started[1:]] == [s["to_tick"] + 1 for s in started[:-1]]
    assert [c["rows"] for c in found] == [labelled(online, s["from_tick"], s["to_tick"]) for s in started]
    assert sum(c["rows"] for c in found) == labelled(online, 1, started[-1]["to_tick"])


def test_a_training_that_fails_says_so_and_another_may_follow():
    loop = loop_of(pipeline(training={"train_after": 100, "cooldown": "1h", "holdout": "1h"}), trains=False)
    for number, events in enumerate(hours(3)):
        loop.publish((number + 1) * HOUR, events)
        for asked in of(loop, TRAINING_EFFECTS, "EffectRequested")[number - 1 :]:
            told = {name: asked[name] for name in ("effect_id", "pipeline", "tick", "kind")}
            loop.say(Said(TRAINING_RESULTS, "EffectFailed", told | {"error": "no luck"}))
            loop.run()
    assert [f["error"] for f in of(loop, MODELS, "TrainingFailed")] == ["no luck", "no luck"]
    assert len(of(loop, MODELS, "TrainingStarted")) == 2
