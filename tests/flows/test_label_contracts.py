"""Labels that break their contract, through the real loop: what is told, and which decisions leave them out."""

import json

import pyarrow as pa
import pytest
from mints import HOUR, MINUTE, hour, pipeline

from headrace.audit.quarantines import quarantines
from headrace.bus import commanding
from headrace.bus.observer import Said
from headrace.contracts.topics import (
    MODELS,
    OUTCOMES,
    PROFILES,
    QUARANTINE,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    RETRAIN,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.models import dataset
from headrace.testing.loop import MemoryLoop, Mischief
from headrace.testing.reading import HeldLog
from services.clock.handler import Clock
from services.deployment.service import SERVICE as DEPLOYMENT
from services.features.service import SERVICE as FEATURES_SERVICE
from services.ingestion.service import SERVICE as INGESTION
from services.monitoring.service import SERVICE as MONITORING
from services.registry.service import SERVICE as REGISTRY
from services.serving.service import SERVICE as SERVING
from services.training.effects import Trainer
from services.training.service import SERVICE as TRAINING

SERVICES = (INGESTION, FEATURES_SERVICE, SERVING, MONITORING, TRAINING, REGISTRY, DEPLOYMENT)
BROKEN = range(5, 8)


def loop_of(definition, **options):
    trainer = Trainer()
    written = dict.fromkeys(("record-version", "move-alias"), lambda _payload, _tools: {})
    effects = {
        REGISTRY_EFFECTS: (REGISTRY_RESULTS, written),
        TRAINING_EFFECTS: (TRAINING_RESULTS, {"fit": trainer.fit, "learn": trainer.learn}),
    }
    return MemoryLoop(definition, SERVICES, Clock(), effects, **options)


def live(loop, hours, broken=BROKEN):
    for number in hours:
        loop.publish((number + 1) * HOUR, hour(number, broken="west" if number in broken else None))


def of(loop, topic, record):
    return [fields for name, fields in loop.records(topic) if name == record]


def retrain(loop, request_id):
    asked = {"request_id": request_id, "pipeline": "mints", "tick": -1, "time": 0, "trigger": "operator"}
    loop.say(Said(RETRAIN, "RetrainRequested", asked | {"reason": "asked", "requested_by": "ada"}))
    loop.run()


def release(loop, quarantine_id):
    loop.say(commanding.release("mints", quarantine_id, "the factor was right", by="ada"))
    loop.run()


def listed(loop):
    return quarantines(HeldLog(loop.log), loop.registry, "mints")


def labelled(loop, *, left_out=()):
    """Return the ids of events whose label came, without those of the slice and hours left out."""
    found = [o for o in of(loop, OUTCOMES, "Outcome") if o["status"] == "labelled"]
    return {
        o["event_id"] for o in found if not (o["slice"] == "west" and o["labelled_at"] // HOUR in left_out)
    }


@pytest.fixture(scope="module")
def broken():
    loop = loop_of(pipeline())
    live(loop, range(10))
    retrain(loop, "after")
    live(loop, range(10, 11))
    return loop


def test_a_breach_and_its_end_are_events(broken):
    begun, ended = (fields for _, fields in broken.records(QUARANTINE))
    assert [name for name, _ in broken.records(QUARANTINE)] == ["LabelsQuarantined", "QuarantineEnded"]
    assert (begun["slice"], begun["rule"], begun["since"]) == ("west", "unit", 5 * HOUR)
    assert (ended["quarantine_id"], ended["until"]) == (begun["quarantine_id"], 8 * HOUR)
    assert [(s.state, s.until) for s in listed(broken)] == [("ended", 8 * HOUR)]
    assert begun["time"] == 6 * HOUR  # at the close that ends the first broken block


def test_a_training_leaves_the_stretch_out_and_names_it(broken):
    started = of(broken, MODELS, "TrainingStarted")[-1]
    candidate = of(broken, MODELS, "ModelCandidate")[-1]
    assert json.loads(started["quarantine"]) == [["west", 5 * HOUR, 8 * HOUR]]
    kept = labelled(broken, left_out=BROKEN)
    answered = {o["event_id"] for o in of(broken, OUTCOMES, "Outcome") if o["tick"] <= started["to_tick"]}
    assert candidate["rows"] + candidate["holdout_rows"] == len(kept & answered)
    assert len(kept) < len(labelled(broken))


def test_quality_leaves_the_slice_out_and_says_so(broken):
    profiles = [p for p in of(broken, PROFILES, "Profile") if p["quality"]]
    told = {p["time"] // HOUR: p["quality"]["count"] for p in profiles if p["suspect"]}
    assert told == {6: 20, 7: 20, 8: 20}
    assert all(p["quality"]["count"] == 40 for p in profiles if not p["suspect"])


def test_the_quarantine_is_part_of_what_a_dataset_is():
    definition = pipeline()
    rows = pa.table(
        {
            "bias": [1.0], "rolled_1h": [2.0], "label": ["head"], "event_time": [0], "tick": [1], "event_id": ["a"],
        }
    )  # fmt: skip
    digests = {
        dataset.digest(dataset.manifest(definition, rows, 0, left_out)) for left_out in ([], [("west", 0, 1)])
    }
    assert len(digests) == 2


def test_a_released_stretch_counts_again_and_is_the_new_normal():
    loop = loop_of(pipeline())
    live(loop, range(7), broken=range(5, 99))
    (begun,) = listed(loop)
    assert (begun.slice, begun.state, begun.until) == ("west", "open", None)
    release(loop, begun.quarantine_id)
    live(loop, range(7, 12), broken=range(5, 99))
    retrain(loop, "after")
    live(loop, range(12, 13), broken=range(5, 99))
    assert [name for name, _ in loop.records(QUARANTINE)] == ["LabelsQuarantined", "QuarantineReleased"]
    assert [(s.state, s.by, s.why) for s in listed(loop)] == [("released", "ada", "the factor was right")]
    started, candidate = of(loop, MODELS, "TrainingStarted")[-1], of(loop, MODELS, "ModelCandidate")[-1]
    assert started["quarantine"] == "[]"
    answered = {o["event_id"] for o in of(loop, OUTCOMES, "Outcome") if o["tick"] <= started["to_tick"]}
    assert candidate["rows"] + candidate["holdout_rows"] == len(answered & labelled(loop))


def test_a_label_that_waited_meets_its_event_although_both_are_due_at_one_close():
    loop = loop_of(pipeline())
    toss = ("Toss", {"toss_id": "a", "mint": "east", "at": 10 * MINUTE, "bias": 0.0})
    side = ("Side", {"side_id": "sa", "toss_id": "a", "mint": "east", "at": 20 * MINUTE, "rolled": 1.0})
    for step, events in enumerate([[side], [], [toss], []]):
        loop.publish((step + 1) * HOUR, events)
    assert [(o["event_id"], o["status"]) for o in of(loop, OUTCOMES, "Outcome")] == [("a", "labelled")]


def test_labels_that_trickle_in_after_their_block_are_no_blocks_of_their_own():
    loop = loop_of(pipeline())
    hours = [hour(number) for number in range(9)]
    late = [[e for e in events if e[0] == "Side" and e[1]["mint"] == "west"][-2:] for events in hours]
    for number, events in enumerate(hours):
        before = [late[number - by][by - 1] for by in (1, 2) if number >= by]
        loop.publish((number + 1) * HOUR, [*before, *(e for e in events if e not in late[number])])
    assert loop.records(QUARANTINE) == []


def test_cutting_and_aborting_change_nothing_of_a_quarantine(broken):
    loop = loop_of(pipeline(), max_batch=37, mischief=Mischief(1, reads=29, abort=0.1, replace=0.01))
    live(loop, range(10))
    retrain(loop, "after")
    live(loop, range(10, 11))
    assert sorted(loop.records(QUARANTINE), key=str) == sorted(broken.records(QUARANTINE), key=str)
    for topic in (QUARANTINE, PROFILES, OUTCOMES):
        ((_, cut),), ((_, whole),) = loop.bodies([topic]).items(), broken.bodies([topic]).items()
        assert sorted(cut) == sorted(whole)
