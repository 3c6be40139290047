"""Rules of the severity ``quarantine`` through the whole loop: what they mark is answered, and nothing is learnt from it."""

import pytest
from mints import HOUR, hour, pipeline
from test_label_contracts import labelled, loop_of, of, retrain

from headrace.contracts.topics import MODELS, OUTCOMES, PREDICTIONS

RULES = [
    {"name": "steep", "record": "Toss", "column": "bias", "kind": "range", "maximum": 2, "severity": "quarantine"},
    {"name": "long", "record": "Side", "column": "rolled", "kind": "range", "maximum": 22, "severity": "quarantine"},
]  # fmt: skip
LIMITS = {"Toss": ("bias", 2), "Side": ("rolled", 22)}


def sound(record, row):
    column, limit = LIMITS[record]
    return row[column] <= limit


def run(hours, keep=lambda _record, _row: True):
    loop = loop_of(pipeline(rules=RULES))
    for number in range(hours):
        loop.publish((number + 1) * HOUR, [event for event in hour(number) if keep(*event)])
    retrain(loop, "asked")
    loop.publish((hours + 1) * HOUR, [event for event in hour(hours) if keep(*event)])
    return loop


@pytest.fixture(scope="module")
def quarantined():
    return run(7)


def test_answers_to_suspect_events_are_marked_and_no_others(quarantined):
    served = [p for p in of(quarantined, PREDICTIONS, "Prediction") if p["route"] == "champion"]
    tossed = {row["toss_id"]: row for n in range(8) for record, row in hour(n) if record == "Toss"}
    steep = {p["event_id"] for p in served if not sound("Toss", tossed[p["event_id"]])}
    assert steep
    assert {p["event_id"] for p in served if p["status"] == "fallback"} == steep
    assert {p["event_id"] for p in served if p["quarantined_by"] == "steep"} == steep


def test_models_are_those_of_a_world_without_what_was_quarantined(quarantined):
    told = ("model_digest", "dataset_digest", "rows", "holdout_rows", "loss", "to_tick")
    found = [{name: c.get(name) for name in told} for c in of(quarantined, MODELS, "ModelCandidate")]
    assert len(found) > 1
    rest = of(run(7, keep=sound), MODELS, "ModelCandidate")
    assert found == [{name: c.get(name) for name in told} for c in rest]


def test_a_training_counts_the_sound_rows_only(quarantined):
    started, candidate = (of(quarantined, MODELS, name)[-1] for name in ("TrainingStarted", "ModelCandidate"))
    answered = [o for o in of(quarantined, OUTCOMES, "Outcome") if o["tick"] <= started["to_tick"]]
    kept = labelled(quarantined) & {o["event_id"] for o in answered if o["quarantined_by"] is None}
    assert candidate["rows"] + candidate["holdout_rows"] == len(kept)
    assert len(kept) < len(labelled(quarantined) & {o["event_id"] for o in answered})
