"""Audit on the ledger that the real services wrote: every tick signed once, in any life, and no entry can change."""

import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from scripted import DAY, MONITORING, SERVING, Trainer, day, pipeline

from headrace.audit.heads import verify
from headrace.bus.engine import decode_plain
from headrace.bus.observer import Said, encoded
from headrace.contracts.topics import (
    AUDIT,
    LEDGER,
    PIPELINES,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    TICKS,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.testing.loop import MemoryLoop
from headrace.testing.reading import HeldLog
from headrace.testing.tampering import tampered
from services.audit.handler import Audit, LedgerChangedError
from services.clock.handler import Clock
from services.deployment.service import SERVICE as DEPLOYMENT
from services.ingestion.service import SERVICE as INGESTION
from services.registry.service import SERVICE as REGISTRY
from services.training.service import SERVICE as TRAINING

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Life:
    """One process of audit: it reads the log on from where it was, and speaks."""

    def __init__(self, loop):
        self._loop, self._audit, self._read, self._now = loop, Audit(KEY), {}, 0

    def turn(self, chance=None, topics=(PIPELINES, AUDIT, TICKS, LEDGER)):
        """Read everything new, topic by topic in the order of chance, and say what is to be said."""
        for topic in chance.sample(topics, len(topics)) if chance else topics:
            held = self._loop.log.partitions[topic.name("bets"), 0]
            new = held[self._read.get(topic, 0) :]
            self._read[topic] = len(held)
            for offset, record, fields in decode_plain(new, self._loop.registry):
                self._audit.observe(topic.name("bets"), offset, record, fields)
        self._now += 1_000_000
        said = list(self._audit.decide(self._now, lambda _topic, _partitions: {}))
        for item in said:
            self._loop.say(item)
        return [item.fields["tick"] for item in said]


@pytest.fixture
def loop():
    effects = {
        TRAINING_EFFECTS: (TRAINING_RESULTS, {"fit": Trainer().fit}),
        REGISTRY_EFFECTS: (
            REGISTRY_RESULTS,
            dict.fromkeys(("record-version", "move-alias"), lambda *_: {}),
        ),
    }
    services = (INGESTION, SERVING, MONITORING, TRAINING, REGISTRY, DEPLOYMENT)
    loop = MemoryLoop(pipeline(), services, Clock(), effects)
    live(loop, 3)
    return loop


def live(loop, days, first=0):
    for number in range(first, first + days):
        loop.publish((number + 1) * DAY, day(number))


def ticks(loop, topic=TICKS, name="n"):
    return [fields[name] for _, fields in loop.records(topic)]


def flaws(loop, key=KEY):
    return verify(HeldLog(loop.log), loop.registry, "bets", key.public_key())


def tamper(loop, topic, place, **changes):
    """Write a record anew, as someone with the broker's disk could."""
    record, fields = loop.records(topic)[place]
    (out,) = encoded(loop._encoder, Said(topic, record, {**fields, **changes}), loop.definition)
    with tampered(loop.log, topic.name("bets")) as held:
        held[place] = held[place]._replace(value=out.value)


def test_every_tick_gets_one_head_over_all_entries(loop):
    assert Life(loop).turn() == ticks(loop)
    heads = [fields for _, fields in loop.records(AUDIT)]
    assert heads[-1]["service_entries"] == len(loop.records(LEDGER))
    assert flaws(loop) == []


@pytest.mark.parametrize("seed", range(8))
def test_no_head_is_said_twice_or_left_out_whatever_is_read_first_and_whoever_dies(loop, seed):
    chance = random.Random(seed)
    life = Life(loop)
    for number in range(3, 9):
        life.turn(chance, topics=chance.sample((PIPELINES, TICKS, LEDGER), 2) if seed % 2 else (TICKS,))
        live(loop, 1, number)
        if chance.random() < 0.5:
            life = Life(loop)
            life.turn()
    life.turn(chance)
    assert ticks(loop, AUDIT, "tick") == ticks(loop)
    assert flaws(loop) == []


def test_a_tick_that_a_stage_has_not_closed_gets_no_head(loop):
    with tampered(loop.log, LEDGER.name("bets")) as held:
        late = held.pop()
    assert Life(loop).turn() == ticks(loop)[:-1]
    with tampered(loop.log, LEDGER.name("bets")) as held:
        held.append(late)
    assert Life(loop).turn() == ticks(loop)[-1:]


@pytest.mark.parametrize(
    "change",
    [
        {"records_in": 999},
        {"rejected": 1},
        {"digest": "0" * 64},
        {"records_out": [("bets.validated.v1", 9)]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_entry_is_caught_at_its_tick_and_stops_the_next_audit(loop, change):
    Life(loop).turn()
    place = len(loop.records(LEDGER)) // 2
    tamper(loop, LEDGER, place, **change)
    assert flaws(loop)[0].tick == loop.records(LEDGER)[place][1]["tick"]
    with pytest.raises(LedgerChangedError):
        Life(loop).turn()


def test_an_entry_taken_away_or_added_is_caught(loop):
    Life(loop).turn()
    with tampered(loop.log, LEDGER.name("bets")) as held:
        gone = held.pop(4)
    assert flaws(loop)
    with tampered(loop.log, LEDGER.name("bets")) as held:
        held.insert(4, gone)
    assert flaws(loop) == []
    with tampered(loop.log, LEDGER.name("bets")) as held:
        held.append(gone)
    tamper(loop, LEDGER, len(held) - 1, absorbed=77)
    assert "two entries that differ" in flaws(loop)[0].what


def test_a_head_under_another_key_or_left_out_is_caught(loop):
    Life(loop).turn()
    assert {f.what for f in flaws(loop, Ed25519PrivateKey.generate())} == {
        "the head was not signed by this key"
    }
    with tampered(loop.log, AUDIT.name()) as held:
        del held[1]
    assert flaws(loop) == [(2, "the next head is that of tick 3")]


def test_a_head_with_another_tree_behind_it_is_caught(loop):
    Life(loop).turn()
    tamper(loop, AUDIT, 0, root="ab" * 32)
    assert [f.what for f in flaws(loop)] == [
        "the head was not signed by this key",
        "the ledger gives another head than was signed",
    ]


def test_a_stage_that_was_taken_out_holds_nothing_up(loop):
    stages = loop.records(PIPELINES)[0][1]["stages"]
    last = ticks(loop)[-1]
    names = [(f["service"], f["tick"]) for _, f in loop.records(LEDGER)]
    with tampered(loop.log, LEDGER.name("bets")) as held:
        del held[names.index(("registry", last))]
    assert Life(loop).turn() == ticks(loop)[:-1]
    registered = {**loop.records(PIPELINES)[0][1], "stages": [s for s in stages if s != "registry/0"]}
    loop.log.append(
        encoded(loop._encoder, Said(PIPELINES, "PipelineRegistered", registered), loop.definition)
    )
    assert Life(loop).turn() == [last]
    assert flaws(loop) == []
