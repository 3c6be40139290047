"""A clock that starts again reads its topics in whatever order the broker answers, and says the same."""

from itertools import permutations

import pytest

from headrace.contracts.topics import (
    LEDGER,
    PIPELINES,
    STEPS,
    TICKS,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from services.clock.handler import Clock
from tests.laws.shop import HOUR, SHOP

COMMON = {"pipeline": "shop", "tick": 1}
REGISTERED = COMMON | {"tick": -1, "definition": SHOP.model_dump_json(), "stages": ["training/0"]}
ENTRY = COMMON | {"service": "training", "partition": 0, "records_out": {TRAINING_EFFECTS.name(): 1}}
HELD = (
    (PIPELINES.name(), "PipelineRegistered", REGISTERED),
    (STEPS.name("shop"), "StepRequested", {"pipeline": "shop", "step": 0, "time": HOUR, "raw": {"0": 0}, "final": False}),
    (TICKS.name("shop"), "Tick", {"pipeline": "shop", "n": 1, "time": HOUR, "step": 0, "raw": {"0": 0}, "controls": {}}),
    (LEDGER.name("shop"), "LedgerEntry", ENTRY),
    (TRAINING_EFFECTS.name(), "EffectRequested", COMMON | {"effect_id": "fit"}),
)  # fmt: skip
ANSWER = (TRAINING_RESULTS.name(), "EffectCompleted", COMMON | {"effect_id": "fit"})


def said(records):
    clock = Clock()
    for topic, record, fields in records:
        clock.observe(topic, 0, record, fields)
    return [(s.record, s.fields.get("reason")) for s in clock.decide(0, lambda *_: {})]


@pytest.mark.parametrize("answered", [False, True])
def test_what_a_clock_says_does_not_depend_on_which_topic_it_reads_first(answered):
    held = (*HELD, ANSWER) if answered else HELD
    found = {tuple(said(order)) for order in permutations(held)}
    assert found == ({(("Tick", "settle"),)} if answered else {()})
