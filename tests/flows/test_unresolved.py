"""Effects without an outcome are found, with their age in ticks."""

import pytest

from headrace.audit.unresolved import EFFECTS, unresolved
from headrace.bus.observer import Said
from headrace.contracts.topics import TICKS
from headrace.testing.loop import MemoryLoop
from headrace.testing.reading import HeldLog
from services.clock.handler import Clock
from tests.laws.shop import HOUR, SHOP


@pytest.fixture
def loop():
    """Return a loop whose last tick is the third, where nothing carries effects out."""
    made = MemoryLoop(SHOP, [], Clock())
    for step in range(3):
        made.publish((step + 1) * HOUR, [])
    return made


def ask(loop, effect_id, *, tick, topic=0):
    asked = {"effect_id": effect_id, "pipeline": "shop", "tick": tick, "kind": "fit", "payload": "{}"}
    loop.say(Said(EFFECTS[topic][0], "EffectRequested", asked))


def answer(loop, effect_id, record, *, topic=0, **told):
    common = {"effect_id": effect_id, "pipeline": "shop", "tick": 1, "kind": "fit"}
    loop.say(Said(EFFECTS[topic][1], record, common | told))


def found(loop):
    return [(e.effect_id, e.offset, e.age) for e in unresolved(HeldLog(loop.log), loop.registry)]


def test_an_effect_is_resolved_by_any_outcome(loop):
    for name in ("a", "b", "c"):
        ask(loop, name, tick=1)
    answer(loop, "a", "EffectCompleted", result="{}")
    answer(loop, "b", "EffectFailed", error="no room")
    assert [effect_id for effect_id, _, _ in found(loop)] == ["c"]


def test_age_is_in_ticks_and_unknown_between_them(loop):
    newest = max(fields["n"] for _, fields in loop.records(TICKS))
    ask(loop, "a", tick=1)
    ask(loop, "b", tick=-1, topic=1)
    assert found(loop) == [("a", 0, newest - 1), ("b", 0, None)]


def test_a_repeated_request_is_one_effect(loop):
    ask(loop, "a", tick=1)
    ask(loop, "a", tick=1)
    assert len(found(loop)) == 1
