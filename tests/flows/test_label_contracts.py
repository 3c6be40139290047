"""Labels that break their contract, through the real loop: what is told, and which decisions leave them out."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from mints import HOUR, MINUTE, hour, pipeline

from headrace.audit.quarantines import quarantines
from headrace.bus import commanding
from headrace.bus.observer import Said
from headrace.contracts.topics import (
    FEATURES,
    MODELS,
    OUTCOMES,
    PREDICTIONS,
    PROFILES,
    QUARANTINE,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    RETRAIN,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.models import dataset
from headrace.models.kinds import load
from headrace.testing.loop import MemoryLoop, MemoryTools, Mischief
from headrace.testing.reading import HeldLog
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
BROKEN = range(5, 8)
VALUES = pa.schema([("bias", pa.float64()), ("mint", pa.string()), ("rolled_1h", pa.float64())])


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


def test_predictions_on_suspect_inputs_are_marked_and_made_without_them(broken):
    """The window over the slice's labels is suspect from the tick after the breach to an hour after its end."""
    served = [p for p in of(broken, PREDICTIONS, "Prediction") if p["route"] == "champion"]
    marked = {p["event_id"] for p in served if p["status"] == "fallback"}
    vectors = {v["event_id"]: v for v in of(broken, FEATURES, "FeatureVector")}
    hours = {v["event_time"] // HOUR for key, v in vectors.items() if key in marked}
    assert hours == {6, 7, 8}
    assert {vectors[key]["values"]["mint"] for key in marked} == {"west"}
    scores = {p["event_id"]: p["scores"] for p in served}
    model = load(broken.artifacts.get(next(p["model_digest"] for p in served if p["event_id"] in marked)))
    for key in sorted(marked)[:5]:
        values = vectors[key]["values"]
        columns = pa.RecordBatch.from_pylist([values | {"rolled_1h": None}], schema=VALUES)
        assert scores[key] == dict(zip(model.names, model.scores(columns)[0].tolist(), strict=True))


def test_a_training_counts_suspect_inputs_as_missing(broken):
    tools = MemoryTools(broken.artifacts, broken.registry, broken.definition, broken.log)
    rows = Labelled().rows(tools, 1, 1_000, [("west", 5 * HOUR, 8 * HOUR)])
    held = rows.append_column(
        "hour", pc.floor(pc.divide(rows["event_time"].cast(pa.int64()), HOUR))
    ).to_pylist()
    west = {(r["hour"], r["rolled_1h"] is None) for r in held if r["mint"] == "west" and r["hour"] > 3}
    assert west == {(4, False), (8, True), (9, False), (10, False)}
    assert all(r["rolled_1h"] is not None for r in held if r["mint"] == "east" and r["hour"] > 3)


def test_quality_leaves_the_slice_out_and_says_so(broken):
    profiles = [p for p in of(broken, PROFILES, "Profile") if p["quality"]]
    told = {p["time"] // HOUR: p["quality"]["count"] for p in profiles if p["suspect"]}
    assert told == {6: 20, 7: 20, 8: 20}
    assert all(p["quality"]["count"] == 40 for p in profiles if not p["suspect"])


def test_the_quarantine_is_part_of_what_a_dataset_is(broken):
    tools = MemoryTools(broken.artifacts, broken.registry, broken.definition, broken.log)
    rows = Labelled().rows(tools, 1, 10)
    stretches = ([], [("west", 0, 1)])
    assert len({dataset.digest(dataset.manifest(broken.definition, rows, 0, s)) for s in stretches}) == 2


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
