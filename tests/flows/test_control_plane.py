"""Training, registry and deployment on one log with the real clock and ingestion; what serving would do is scripted."""

from itertools import pairwise

import pytest
from scripted import DAY, MONITORING, SERVING, Trainer, day, pipeline

from headrace.bus.observer import Said
from headrace.contracts.topics import (
    ALIASES,
    COMMANDS,
    DEPLOYMENTS,
    MODELS,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    RETRAIN,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.testing.loop import MemoryLoop, Mischief
from services.clock.handler import Clock
from services.deployment.service import SERVICE as DEPLOYMENT
from services.ingestion.service import SERVICE as INGESTION
from services.registry.service import SERVICE as REGISTRY
from services.training.service import SERVICE as TRAINING

SERVICES = (INGESTION, SERVING, MONITORING, TRAINING, REGISTRY, DEPLOYMENT)
CONTROL = (RETRAIN, MODELS, ALIASES, DEPLOYMENTS, TRAINING_EFFECTS, REGISTRY_EFFECTS)


def loop_of(definition, trainer=None, **options):
    trainer = trainer or Trainer()
    written = dict.fromkeys(("record-version", "move-alias"), lambda _payload, _tools: {})
    effects = {
        TRAINING_EFFECTS: (TRAINING_RESULTS, {"fit": trainer.fit, "learn": trainer.fit}),
        REGISTRY_EFFECTS: (REGISTRY_RESULTS, written),
    }
    return MemoryLoop(definition, SERVICES, Clock(), effects, **options)


def live(loop, days, **events):
    for number in days:
        loop.publish((number + 1) * DAY, day(number, **events))


def names(loop, topic):
    return [name for name, _ in loop.records(topic)]


def last(loop, topic, record):
    return [fields for name, fields in loop.records(topic) if name == record][-1]


def retrain(loop, *request_ids, trigger="operator"):
    for request_id in request_ids:
        asked = {"request_id": request_id, "pipeline": "bets", "tick": -1, "time": 0, "trigger": trigger}
        loop.say(Said(RETRAIN, "RetrainRequested", asked | {"reason": "asked", "requested_by": "someone"}))
    loop.run()


def roll_back(loop, command_id="c1", to_version=None):
    told = {"command_id": command_id, "pipeline": "bets", "tick": -1, "by": "ada", "why": "worse on Mondays"}
    loop.say(Said(COMMANDS, "RollbackRequested", told | {"to_version": to_version}))
    loop.run()


def two_champions(**changes):
    """Return a loop in which version 1 was promoted first and version 2 after its shadow."""
    loop = loop_of(pipeline(**changes), Trainer((0.3, None), (0.2, 0.3)))
    live(loop, range(1))
    retrain(loop, "r2")
    live(loop, range(1, 6), challenger=0.27)
    assert names(loop, DEPLOYMENTS) == ["Promoted", "ShadowStarted", "Promoted"]
    return loop


def test_the_first_model_comes_from_labels_alone_and_serves_at_once():
    loop = loop_of(pipeline())
    live(loop, range(2))
    request = last(loop, RETRAIN, "RetrainRequested")
    assert (request["trigger"], request["requested_by"]) == ("volume", "training")
    assert names(loop, MODELS) == ["TrainingStarted", "ModelCandidate"]
    assert names(loop, ALIASES) == ["ModelVersionRegistered", "AliasMoved"]
    promoted = last(loop, DEPLOYMENTS, "Promoted")
    assert (promoted["version"], promoted["from_version"], promoted["reason"]) == (1, None, "first model")
    assert promoted["model_digest"] == last(loop, MODELS, "ModelCandidate")["model_digest"]
    assert last(loop, ALIASES, "AliasMoved")["cause"] == promoted["rollout_id"]


def test_a_training_reads_what_was_labelled_when_it_began_and_no_more():
    trainer = Trainer()
    loop = loop_of(pipeline(), trainer)
    live(loop, range(3))
    started = last(loop, MODELS, "TrainingStarted")
    assert started["tick"] == started["to_tick"] == trainer.asked[0]["to_tick"]
    assert trainer.asked[0]["champion_digest"] is None


def test_a_first_training_on_a_date_waits_for_it():
    training = {"first_at": "1970-01-04T00:00:00Z", "cooldown": "2d"}
    loop = loop_of(pipeline(training=training))
    live(loop, range(2))
    assert names(loop, RETRAIN) == []
    live(loop, range(2, 3))
    assert last(loop, RETRAIN, "RetrainRequested")["trigger"] == "schedule"
    assert names(loop, DEPLOYMENTS) == ["Promoted"]


def test_a_schedule_trains_again():
    loop = loop_of(
        pipeline(training={"train_after": 10, "cooldown": "2d", "every": "3d"}, rollout={"mode": "direct"})
    )
    live(loop, range(8))
    assert [r["version"] for _, r in loop.records(DEPLOYMENTS)] == [1, 2, 3]
    assert [r["trigger"] for _, r in loop.records(RETRAIN)] == ["volume", "schedule", "schedule"]


def test_a_better_challenger_is_promoted_after_its_shadow():
    loop = two_champions()
    started, promoted = (last(loop, DEPLOYMENTS, r) for r in ("ShadowStarted", "Promoted"))
    assert started["rollout_id"] == promoted["rollout_id"]
    assert promoted["blocks"] >= 2
    assert promoted["mean_difference"] == pytest.approx(-0.025)  # clipped to the bound
    assert promoted["e_value"] >= 1 / 0.2
    assert [r["alias"] for _, r in loop.records(ALIASES) if "alias" in r] == [
        "champion",
        "challenger",
        "champion",
    ]


def test_a_worse_challenger_is_refused_and_the_champion_stays():
    loop = loop_of(pipeline())
    live(loop, range(1))
    retrain(loop, "r2")
    live(loop, range(1, 7), challenger=0.4)
    assert names(loop, DEPLOYMENTS) == ["Promoted", "ShadowStarted", "ShadowRefused"]
    refused = last(loop, DEPLOYMENTS, "ShadowRefused")
    assert refused["mean_difference"] > 0
    assert refused["reason"].startswith("worse")


def test_a_candidate_that_fails_a_gate_gets_no_version():
    loop = loop_of(pipeline(), Trainer((0.3, None), (0.5, 0.3)))
    live(loop, range(1))
    retrain(loop, "r2")
    refused = last(loop, ALIASES, "CandidateRefused")
    assert [g["name"] for g in refused["gates"] if not g["passed"]] == ["loss_vs_champion"]
    assert names(loop, DEPLOYMENTS) == ["Promoted"]


def test_a_thousand_requests_make_one_training():
    loop = loop_of(pipeline())
    live(loop, range(4))
    retrain(loop, *(f"drift-{n}" for n in range(1_000)), trigger="drift")
    assert names(loop, MODELS).count("TrainingStarted") == 2
    assert names(loop, MODELS).count("RetrainRefused") == 999


def test_pausing_stops_trainings_until_resumed():
    loop = loop_of(pipeline())
    command = {"command_id": "p", "pipeline": "bets", "tick": -1, "by": "ada", "why": "audit"}
    loop.say(Said(RETRAIN, "RetrainPaused", command))
    live(loop, range(2))
    retrain(loop, "r")
    assert names(loop, MODELS) == ["RetrainRefused"]
    loop.say(Said(RETRAIN, "RetrainResumed", command))
    loop.run()
    assert names(loop, DEPLOYMENTS) == ["Promoted"]


def test_a_rollback_puts_the_previous_champion_back_with_who_and_why():
    loop = two_champions()
    roll_back(loop)
    back = last(loop, DEPLOYMENTS, "RolledBack")
    assert (back["version"], back["from_version"], back["by"], back["why"]) == (
        1,
        2,
        "ada",
        "worse on Mondays",
    )
    moved = last(loop, ALIASES, "AliasMoved")
    assert (moved["alias"], moved["version"], moved["from_version"]) == ("champion", 1, 2)


def test_a_repeated_command_is_one_rollback_and_one_too_far_is_refused():
    loop = two_champions()
    roll_back(loop)
    roll_back(loop)
    assert names(loop, DEPLOYMENTS)[3:] == ["RolledBack"]
    roll_back(loop, "c2")
    assert last(loop, DEPLOYMENTS, "RollbackRefused")["reason"] == "there is no earlier champion"


def test_a_version_rolled_back_from_can_be_named_again():
    loop = two_champions()
    roll_back(loop, "c1")
    roll_back(loop, "c2", to_version=2)
    roll_back(loop, "c3", to_version=7)
    roll_back(loop, "c4")
    ends = [(n, r.get("version") or r["reason"]) for n, r in loop.records(DEPLOYMENTS)][3:]
    assert ends == [
        ("RolledBack", 1), ("RolledBack", 2), ("RollbackRefused", "version 7 was never champion"), ("RolledBack", 1),
    ]  # fmt: skip


def test_a_rollback_ends_the_open_rollout():
    loop = two_champions()
    retrain(loop, "r3")
    roll_back(loop)
    assert names(loop, DEPLOYMENTS)[3:] == ["ShadowStarted", "ShadowRefused", "RolledBack"]
    live(loop, range(7, 12), challenger=0.1)
    assert len(names(loop, DEPLOYMENTS)) == 6


def test_a_newer_version_waits_for_the_rollout_that_runs():
    loop = loop_of(pipeline())
    live(loop, range(1))
    for n in range(3):
        retrain(loop, f"r{n}")
        live(loop, range(n + 1, n + 2), challenger=0.4)
    live(loop, range(4, 5), challenger=0.4)
    told = [(n, r["version"]) for n, r in loop.records(DEPLOYMENTS)]
    assert told == [
        ("Promoted", 1), ("ShadowStarted", 2), ("ShadowRefused", 2), ("ShadowRefused", 3), ("ShadowStarted", 4),
    ]  # fmt: skip
    assert "superseded by version 4" in loop.records(DEPLOYMENTS)[3][1]["reason"]


def test_an_online_model_learns_on_from_its_last_snapshot():
    trainer = Trainer()
    online = {"path": "river.linear_model:LogisticRegression", "kind": "online"}
    training = {"train_after": 10, "learn_every": 20}
    loop = loop_of(pipeline(estimator=online, training=training, rollout={"mode": "direct"}), trainer)
    live(loop, range(5))
    digests = [r["model_digest"] for n, r in loop.records(MODELS) if n == "ModelCandidate"]
    assert [p["continue_from"] for p in trainer.asked] == [None, *digests[:-1]]
    spans = [(p["from_tick"], p["to_tick"]) for p in trainer.asked]
    assert all(later[0] == earlier[1] + 1 for earlier, later in pairwise(spans))
    assert [r["version"] for _, r in loop.records(DEPLOYMENTS)] == [1, 2, 3]


@pytest.mark.parametrize("seed", range(1, 6))
def test_batch_cuts_aborts_and_lost_replicas_change_no_decision(seed):
    def story(**options):
        loop = loop_of(pipeline(), Trainer((0.3, None), (0.2, 0.3)), **options)
        live(loop, range(1))
        retrain(loop, "r2")
        live(loop, range(1, 6), challenger=0.27)
        roll_back(loop)
        return loop.bodies(CONTROL)

    mischief = Mischief(seed, reads=100, abort=0.3, replace=0.005)
    assert story(max_batch=seed, mischief=mischief) == story()
