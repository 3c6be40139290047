"""Rules about blocks of records, through the real loop: a block that breaks one is quarantined, and nothing rests on it."""

import json

import pytest
from coins import TIME, record, tossed
from mints import HOUR, MINUTE, SIDE, hour, pipeline
from test_label_contracts import labelled, listed, loop_of, of, release, retrain

from headrace.contracts.topics import FEATURES, MODELS, OUTCOMES, PREDICTIONS, PROFILES, QUARANTINE
from headrace.testing.loop import Mischief

TOSS = record("Toss", ("toss_id", "string"), ("mint", "string"), ("at", TIME), ("bias", ["null", "double"]))
RULES = [
    {"name": "enough", "record": "Toss", "column": "toss_id", "kind": "volume", "minimum": 30, "maximum": 50,
     "block": "1h", "severity": "quarantine", "hint": "Send the hour again."},
    {"name": "biased", "record": "Toss", "column": "bias", "kind": "null_rate", "maximum": 0.2, "block": "1h",
     "severity": "quarantine"},
]  # fmt: skip
FEW, NULLS = (5, 6), (5, 7)


def definition():
    return pipeline(records=tossed(TOSS, SIDE), rules=RULES)


def events(number, fault):
    """Return an hour's events; too few of them, or every second one without a bias, in the hours of a fault."""
    found = hour(number)
    if fault == "few" and number in FEW:
        return [e for e in found if e[1]["at"] < number * HOUR + 20 * MINUTE]
    if fault == "nulls" and number in NULLS:
        told = iter(range(len(found)))
        return [(n, row | {"bias": None} if n == "Toss" and next(told) % 2 else row) for n, row in found]
    return found


def run(fault, hours=10, **options):
    loop = loop_of(definition(), **options)
    for number in range(hours):
        loop.publish((number + 1) * HOUR, events(number, fault))
    retrain(loop, "after")
    loop.publish((hours + 1) * HOUR, hour(hours))
    return loop


@pytest.fixture(scope="module")
def few():
    return run("few")


@pytest.fixture(scope="module")
def nulls():
    return run("nulls")


def told(loop):
    at = {"InputsQuarantined": "since", "QuarantineEnded": "until"}
    return [(name, fields["slice"], fields[at[name]] // HOUR) for name, fields in loop.records(QUARANTINE)]


def test_too_few_records_are_a_quarantine_that_ends_with_the_first_good_block(few):
    assert told(few) == [("InputsQuarantined", "records/Toss", 5), ("QuarantineEnded", "records/Toss", 7)]
    begun = few.records(QUARANTINE)[0][1]
    assert (begun["rule"], begun["path"], begun["actual"]) == ("enough", "toss_id", "20")
    assert begun["expected"] == "at least 30 and at most 50 records in 1h"
    assert (begun["hint"], begun["time"] // HOUR) == ("Send the hour again.", 6)
    assert [(s.state, s.slice, s.rule) for s in listed(few)] == [("ended", "records/Toss", "enough")]


def test_missing_values_are_judged_by_their_share(nulls):
    parts = ("InputsQuarantined", "QuarantineEnded")
    assert told(nulls) == [(name, "records/Toss", at + n) for at in NULLS for n, name in enumerate(parts)]
    begun = nulls.records(QUARANTINE)[0][1]
    assert (begun["rule"], begun["path"], begun["actual"]) == ("biased", "bias", "0.5000")


def test_a_silent_hour_is_too_few_and_nothing_is_said_of_its_nulls():
    loop = loop_of(definition())
    for number in range(5):
        loop.publish((number + 1) * HOUR, [] if number == 3 else hour(number))
    assert told(loop) == [("InputsQuarantined", "records/Toss", 3), ("QuarantineEnded", "records/Toss", 4)]


def test_no_training_rests_on_the_stretch(few):
    started, candidate = (of(few, MODELS, name)[-1] for name in ("TrainingStarted", "ModelCandidate"))
    assert json.loads(started["quarantine"]) == [["records/Toss", 5 * HOUR, 7 * HOUR]]
    answered = {o["event_id"] for o in of(few, OUTCOMES, "Outcome") if o["tick"] <= started["to_tick"]}
    times = {v["event_id"]: v["event_time"] // HOUR for v in of(few, FEATURES, "FeatureVector")}
    kept = {i for i in labelled(few) & answered if times[i] not in FEW}
    assert candidate["rows"] + candidate["holdout_rows"] == len(kept) < len(labelled(few) & answered)


def test_predictions_within_an_open_stretch_are_marked(few):
    """The block that broke the rule was answered before anybody knew, the one that ends the stretch while it was open."""
    served = [p for p in of(few, PREDICTIONS, "Prediction") if p["route"] == "champion"]
    assert {p["event_time"] // HOUR for p in served if p["status"] == "fallback"} == {6, 7}
    assert {p["event_time"] // HOUR for p in served if p["status"] == "ok"} >= {4, 5, 8, 9}


def test_neither_quality_nor_the_inputs_of_the_stretch_reach_drift(few):
    seen = of(few, PROFILES, "Profile")
    assert {p["time"] // HOUR for p in seen if p["distrusted"]} == {6, 7}
    assert all(p["quality"] is None for p in seen if p["distrusted"])
    counted = {
        p["time"] // HOUR: p["features"][0]["count"]
        for p in seen
        if p["producer"] == "serving" and p["features"]
    }
    assert (counted[6], 7 in counted, 8 in counted, counted[9]) == (20, False, False, 40)


def test_a_release_lets_decisions_rest_on_it_again():
    loop = run("few", hours=8)
    release(loop, listed(loop)[0].quarantine_id)
    retrain(loop, "released")
    loop.publish(10 * HOUR, hour(9))
    assert of(loop, MODELS, "TrainingStarted")[-1]["quarantine"] == "[]"
    assert [s.state for s in listed(loop)] == ["released"]


def test_cutting_and_aborting_change_nothing_of_it(nulls):
    cut = run("nulls", max_batch=37, mischief=Mischief(1, reads=29, abort=0.1, replace=0.01))
    for topic in (QUARANTINE, PROFILES, OUTCOMES, PREDICTIONS):
        ((_, one),), ((_, other),) = cut.bodies([topic]).items(), nulls.bodies([topic]).items()
        assert sorted(one) == sorted(other)
