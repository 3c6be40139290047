"""Drift folds profiles and looks at them once a block: the service on the in-memory log."""

import random
from typing import Any

import numpy as np
import pytest

from headrace.bus.engine import Engine, decode_plain
from headrace.bus.memory import MemoryLog, MemoryRunner, settle
from headrace.bus.rows import Overlays
from headrace.bus.schemas import MemoryRegistry
from headrace.contracts.topics import DRIFT, LEDGER, RETRAIN, Topic
from headrace.pipeline.definition import Definition
from headrace.stats import profiles
from headrace.testing.upstream import Counted, Upstream
from services.drift.service import SERVICE
from services.drift.state import load_bag

HOUR = 3_600_000_000
TIME = {"type": "long", "logicalType": "timestamp-micros"}
FIELDS = [("id", "string"), ("at", TIME), ("size", "double"), ("colour", "string"), ("late", "boolean")]
RECORD = {"type": "record", "name": "Parcel", "fields": [{"name": n, "type": t} for n, t in FIELDS]}


def definition(**changed: Any) -> Definition:
    drift = {"block": "1h", "reference_blocks": 12, "false_alarm_blocks": 12}
    return Definition.model_validate(
        {
            "name": "parcels",
            "task": "binary",
            "partitions": 2,
            "records": {
                "Parcel": {"contract": RECORD, "role": "event", "id": "id", "key": ["id"], "time": "at"},
                "Scan": {
                    "contract": RECORD, "role": "label", "id": "id", "key": ["id"], "time": "at", "joins": "id",
                },
            },
            "label": {"record": "Scan", "sql": "late", "classes": ["no", "yes"]},
            "features": {
                "rows": [{"name": "size", "sql": "size"}, {"name": "colour", "sql": "colour", "kind": "category"}]
            },
            "estimator": {"path": "sklearn.linear_model:LogisticRegression"},
            "prior": {"no": 0.5, "yes": 0.5},
            "drift": drift,
            **changed,
        }
    )  # fmt: skip


def hour(number: int, *, shift: float = 0.0, loss: float = 0.3, champion: str = "m1") -> list[Counted]:
    """Count one hour: each partition's inputs and scores, and the quality of what was labelled in it."""
    chance = np.random.default_rng(number)
    counted = []
    for partition in (0, 1):
        seen = [
            profiles.feature("size", "number", chance.normal(10 + shift, 2, 60)),
            profiles.feature("colour", "category", chance.choice(["red", "blue"], 60).tolist()),
        ]
        inputs = profiles.profile(seen, profiles.scores(chance.uniform(size=60)))
        counted.append(Counted("serving", champion, inputs, partition))
        losses, happened = chance.normal(loss, 0.05, 50), chance.uniform(size=50) < 0.5
        quality = profiles.quality(losses, np.full(50, 0.5), happened)
        counted.append(Counted("monitoring", champion, profiles.profile([], {}, quality), partition))
    return counted


class Driven:
    """The drift service on a log of its own."""

    def __init__(self, pipeline: Definition, *, max_batch: int = 1_000) -> None:
        self.log, self.registry, self.pipeline = MemoryLog(), MemoryRegistry(), pipeline
        self.upstream = Upstream(pipeline, self.registry)
        self.max_batch = max_batch
        self.restart()
        self.log.append(self.upstream.registered())

    def restart(self) -> None:
        self.runner = MemoryRunner(self.log, Engine(SERVICE, self.registry, None, max_batch=self.max_batch))

    def tick(self, n: int, counted: list[Counted], time: int | None = None) -> None:
        at = n * HOUR if time is None else time
        self.log.append([*self.upstream.tick(n, at), *self.upstream.profiles(n, at, counted)])
        self.log.append(self.upstream.entries(n, at, counted))
        settle([self.runner])

    def said(self, topic: Topic) -> list[dict[str, Any]]:
        held = self.log.read(topic.name(self.pipeline.name))
        return [
            fields
            for _, _, fields in decode_plain(held, self.registry)
            if fields.get("service", "drift") == "drift"
        ]

    def bodies(self) -> dict[str, list[bytes]]:
        topics = [t.name("parcels") for t in (DRIFT, RETRAIN)]
        return {t: [r.value for r in self.log.read(t)] for t in topics}


@pytest.fixture(scope="module")
def shifted() -> Driven:
    driven = Driven(definition())
    for n in range(1, 41):
        driven.tick(n, hour(n, shift=3.0 if n > 25 else 0.0))
    return driven


def test_every_tick_gets_one_entry_after_all_its_profiles(shifted: Driven) -> None:
    entries = shifted.said(LEDGER)
    assert [e["tick"] for e in entries] == list(range(1, 41))
    assert {e["records_in"] for e in entries} == {4}


def test_a_tick_stays_open_until_the_counted_profiles_are_there() -> None:
    driven = Driven(definition())
    counted = hour(1)
    driven.log.append([*driven.upstream.tick(1, HOUR), *driven.upstream.entries(1, HOUR, counted)])
    driven.log.append(driven.upstream.profiles(1, HOUR, counted[:-1]))
    settle([driven.runner])
    assert driven.said(LEDGER) == []
    driven.log.append(driven.upstream.profiles(1, HOUR, counted[-1:]))
    settle([driven.runner])
    assert [e["tick"] for e in driven.said(LEDGER)] == [1]


def test_a_shifted_input_is_named_with_the_block_it_began_in(shifted: Driven) -> None:
    alarms = [d for d in shifted.said(DRIFT) if d["level"] == "alarm"]
    assert {(a["detector"], a["feature"]) for a in alarms} == {("distribution", "size")}
    assert 24 * HOUR <= alarms[0]["first_block"] <= 26 * HOUR
    assert alarms[0]["tick"] > 26


@pytest.mark.parametrize("distrusted", [False, True])
def test_a_block_of_quarantined_inputs_is_not_judged_nor_compared_with(*, distrusted: bool) -> None:
    rule = {
        "name": "v",
        "record": "Parcel",
        "column": "id",
        "kind": "volume",
        "minimum": 1,
        "severity": "quarantine",
    }
    driven = Driven(definition(rules=[rule]))
    for n in range(1, 36):
        odd = 25 < n <= 30
        counted = hour(n, shift=3.0 if odd else 0.0)
        if odd and distrusted:
            last = counted.pop()
            counted.append(last._replace(profile={**last.profile, "quality": None, "distrusted": True}))
        driven.tick(n, counted)
    alarms = [d for d in driven.said(DRIFT) if d["level"] == "alarm"]
    assert bool(alarms) is not distrusted


def test_an_alarm_asks_for_a_training_and_names_its_cause(shifted: Driven) -> None:
    alarms = [d["signal_id"] for d in shifted.said(DRIFT) if d["level"] == "alarm"]
    requests = shifted.said(RETRAIN)
    assert [r["cause_id"] for r in requests] == alarms
    assert {(r["trigger"], r["requested_by"]) for r in requests} == {("drift", "drift")}


def test_the_ledger_counts_what_was_said(shifted: Driven) -> None:
    for topic in (DRIFT, RETRAIN):
        counted = sum(e["records_out"].get(topic.name("parcels"), 0) for e in shifted.said(LEDGER))
        assert counted == len(shifted.said(topic)) > 0


def test_a_pipeline_that_wants_no_retraining_only_hears_of_it() -> None:
    quiet = {"block": "1h", "reference_blocks": 12, "false_alarm_blocks": 12, "retrain": False}
    driven = Driven(definition(drift=quiet))
    for n in range(1, 41):
        driven.tick(n, hour(n, shift=3.0 if n > 25 else 0.0))
    assert driven.said(DRIFT)
    assert not driven.said(RETRAIN)


def test_nothing_is_said_while_nothing_changes() -> None:
    driven = Driven(definition())
    for n in range(1, 31):
        driven.tick(n, hour(n))
    assert [d for d in driven.said(DRIFT) if d["level"] == "alarm"] == []


def test_a_new_champion_is_not_drift_of_its_scores_or_its_loss() -> None:
    driven = Driven(definition())
    for n in range(1, 41):
        new = n > 20
        driven.tick(n, hour(n, loss=0.9 if new else 0.3, champion="m2" if new else "m1"))
    assert not {d["detector"] for d in driven.said(DRIFT)} & {"scores", "loss", "adwin"}


def test_a_loss_that_rises_is_seen_by_both_opinions() -> None:
    patient = {"block": "1h", "reference_blocks": 24, "false_alarm_blocks": 12}
    driven = Driven(definition(drift=patient))
    for n in range(1, 81):
        driven.tick(n, hour(n, loss=0.9 if n > 40 else 0.3))
    seen = {(d["detector"], d["level"]) for d in driven.said(DRIFT)}
    assert ("adwin", "warning") in seen
    assert ("loss", "alarm") in seen
    assert ("adwin", "alarm") not in seen


def test_settle_ticks_at_a_blocks_end_belong_to_the_next_block() -> None:
    driven = Driven(definition())
    driven.tick(1, hour(1))
    driven.tick(2, hour(2)[:1], time=HOUR)
    driven.tick(3, hour(3)[1:], time=2 * HOUR)
    lane = driven.runner.engine.lanes["parcels", 0]
    assert [block.at for block in load_bag(Overlays(lane.states))] == [0, HOUR]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_profiles_cuts_and_restarts_change_nothing(shifted: Driven, seed: int) -> None:
    chance = random.Random(seed)
    driven = Driven(definition(), max_batch=chance.choice([1, 3]))
    for n in range(1, 41):
        driven.tick(n, chance.sample(shuffled := hour(n, shift=3.0 if n > 25 else 0.0), len(shuffled)))
        if chance.random() < 0.2:
            driven.restart()
    assert driven.bodies() == shifted.bodies()
