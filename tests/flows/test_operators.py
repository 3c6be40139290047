"""What operators do: look at versions, go back, ask for a training; each order is an event with an answer."""

import pytest
from scripted import Trainer, pipeline
from test_control_plane import live, loop_of, retrain, two_champions

from headrace.audit.versions import champion_at, history, refusals, versions
from headrace.bus import commanding
from headrace.contracts.topics import DEPLOYMENTS, TICKS
from headrace.errors import HeadraceError, UsageError
from headrace.testing.reading import HeldLog


def log_of(loop):
    return HeldLog(loop.log), loop.registry, "bets"


def answers(loop, seconds=60):
    return commanding.Answers(*log_of(loop), seconds, rest=loop.run)


def statuses(loop):
    return [(v["version"], v["status"], v["aliases"]) for v in versions(history(*log_of(loop)))]


def roll_back(loop, **options):
    said = commanding.rollback("bets", "worse on Mondays", by="ada", **options)
    loop.say(said)
    return answers(loop).rolled_back(said.fields["command_id"])


def test_versions_tell_where_they_came_from_and_what_became_of_them():
    loop = two_champions()
    first, second = versions(history(*log_of(loop)))
    assert (first["status"], second["status"]) == ("former", "champion")
    assert (first["request"]["trigger"], second["request"]["reason"]) == ("volume", "asked")
    assert [d["event"] for d in second["deployments"]] == ["ShadowStarted", "Promoted"]
    assert second["training"]["to_tick"] < second["tick"]
    assert (second["loss"], second["champion_loss"]) == (0.2, 0.3)


def test_the_champion_at_a_cut_is_the_one_made_before_it():
    loop = two_champions()
    found = history(*log_of(loop))
    ends = [None, 1, 1, 2]  # by how many deployment events came before: promoted, tried, promoted
    assert [(m or {"version": None})["version"] for m in (champion_at(found, n) for n in range(4))] == ends


def test_a_refused_candidate_is_listed_with_the_gate_that_failed():
    loop = loop_of(pipeline(), Trainer((0.3, None), (0.5, 0.3)))
    live(loop, range(1))
    retrain(loop, "r2")
    (refused,) = refusals(history(*log_of(loop)))
    assert [g["name"] for g in refused["gates"] if not g["passed"]] == ["loss_vs_champion"]
    assert refused["loss"] == 0.5
    assert statuses(loop) == [(1, "champion", ["champion"])]


def test_a_rollback_is_answered_with_the_tick_from_which_serving_obeys():
    loop = two_champions()
    name, told = roll_back(loop)
    assert (name, told["version"], told["by"], told["why"]) == ("RolledBack", 1, "ada", "worse on Mondays")
    assert told["obeyed_after"] == told["tick"] + 1
    cuts = {t["n"]: t["controls"][DEPLOYMENTS.name()] for _, t in loop.records(TICKS)}
    made = champion_at(history(*log_of(loop)), cuts[told["obeyed_after"]])
    assert (made["event"], made["version"]) == ("RolledBack", 1)
    assert champion_at(history(*log_of(loop)), cuts[told["tick"]])["version"] == 2
    assert [s[:2] for s in statuses(loop)] == [(1, "champion"), (2, "former")]


def test_a_rollback_that_cannot_be_done_is_refused_with_the_reason():
    loop = two_champions()
    name, told = roll_back(loop, to_version=7)
    assert (name, told["reason"], told["obeyed_after"]) == (
        "RollbackRefused",
        "version 7 was never champion",
        None,
    )


def test_a_training_is_followed_to_the_fate_of_its_candidate():
    loop = loop_of(pipeline())
    live(loop, range(1))
    said = commanding.retrain("bets", "new carrier", commanding.last_time(*log_of(loop)), by="ada")
    loop.say(said)
    told = [name for name, _ in answers(loop).trained(said.fields["request_id"])]
    assert told == ["TrainingStarted", "ModelCandidate", "ModelVersionRegistered", "ShadowStarted"]


def test_a_paused_pipeline_refuses_and_a_resumed_one_trains():
    loop = loop_of(pipeline())
    live(loop, range(1))
    loop.say(commanding.pause("bets", "audit"))
    said = commanding.retrain("bets", "now", 0)
    loop.say(said)
    assert [name for name, _ in answers(loop).trained(said.fields["request_id"])] == ["RetrainRefused"]
    loop.say(commanding.resume("bets", "audited"))
    said = commanding.retrain("bets", "now", 0)
    loop.say(said)
    assert len(list(answers(loop).trained(said.fields["request_id"]))) == 4


def test_no_answer_in_time_is_an_error_and_not_a_silence():
    loop = two_champions()
    with pytest.raises(HeadraceError, match="no answer"):
        answers(loop, seconds=0).rolled_back("never asked")


def test_an_order_says_who_and_why():
    said = commanding.rollback("bets", "late labels")
    assert said.fields["by"] == commanding.operator()
    with pytest.raises(UsageError):
        commanding.pause("bets", "  ")


def test_an_unknown_pipeline_is_said_with_those_there_are():
    loop = loop_of(pipeline())
    log, registry, _ = log_of(loop)
    with pytest.raises(UsageError, match="registered are: bets"):
        commanding.definition(log, registry, "bet")
    assert commanding.only(log, registry) == "bets"
