"""Behind the re-key stage, everything is a function of what its topic recorded, and of the order there."""

import random
from collections import Counter, defaultdict
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import MOVED, PARTITIONS, STAGES, counted, folded
from shop import HOUR, timed
from test_laws import LAW

from headrace.audit.replay import Recording, replay
from headrace.bus.engine import decode_plain
from headrace.bus.partitions import partitions_of
from headrace.contracts.topics import FEATURES, LEDGER, OUTCOMES, PREDICTIONS, REKEYED, TICKS, VALIDATED
from headrace.testing.loop import MemoryLoop, Mischief
from headrace.testing.tampering import tampered
from services.clock.handler import Clock

SHOPS = st.sampled_from(["a", "b", "c", "dd", "eee"])
ORDERS = st.tuples(
    st.just("Order"),
    st.fixed_dictionaries(
        {
            "order_id": st.integers(0, 60).map(lambda n: f"o{n}"),
            "shop": SHOPS,
            "amount": st.one_of(st.none(), st.floats(-5, 100, width=32)),
            "at": st.integers(0, 6 * 60),
        }
    ),
)
RETURNS = st.tuples(
    st.just("Return"),
    st.fixed_dictionaries(
        {
            "return_id": st.integers(0, 60).map(lambda n: f"r{n}"),
            "order_id": st.integers(0, 60).map(lambda n: f"o{n}"),
            "shop": SHOPS,
            "kept": st.floats(0, 1, width=32),
            "at": st.integers(0, 6 * 60),
        }
    ),
)
STEPS = st.lists(st.lists(st.one_of(ORDERS, ORDERS, RETURNS), max_size=25), min_size=1, max_size=4)


def run(steps, *, mischief=None, max_batch=1_000):
    loop = MemoryLoop(MOVED, STAGES, Clock(), max_batch=max_batch, mischief=mischief)
    for number, events in enumerate(steps):
        loop.publish((number + 1) * HOUR, timed(number, events))
    loop.publish((len(steps) + 4) * HOUR, [], final=True)
    return loop


def right(loop):
    return counted(loop.records(FEATURES)) == folded(loop.records(REKEYED))


def check(loop):
    assert right(loop)
    assert sorted(counted(loop.records(FEATURES))) == sorted(
        r["event_id"] for n, r in loop.records(VALIDATED) if n == "Order"
    )
    moved = loop.bodies([REKEYED])[REKEYED.name("shop")]
    assert Counter(body for _, _, body in moved) == Counter(
        body for _, _, body in loop.bodies([VALIDATED])[VALIDATED.name("shop")]
    )
    check_order(loop, moved)
    check_ledger(loop)


def check_order(loop, moved):
    offsets, ticks = defaultdict(list), defaultdict(list)
    for (partition, key, _), (_, record) in zip(moved, loop.records(REKEYED), strict=True):
        assert key.decode() == record["data"]["shop"]
        assert partition == partitions_of(pa.array([key]), PARTITIONS)[0]
        offsets[partition, record["origin"]["partition"]].append(record["origin"]["offset"])
        ticks[partition].append(record["tick"])
    assert all(found == sorted(found) for found in (*offsets.values(), *ticks.values()))


def check_ledger(loop):
    entries = [e for _, e in loop.records(LEDGER)]
    name = REKEYED.name("shop")
    moved = {
        (e["tick"], p): e["records_out"].get(f"{name}/{p}", 0)
        for e in entries
        if e["service"] == "rekey"
        for p in range(PARTITIONS)
    }
    taken = {(e["tick"], e["partition"]): e["records_in"] for e in entries if e["service"] == "features"}
    assert taken == moved
    ends = Counter(o["event_id"] for _, o in loop.records(OUTCOMES) if o["status"] != "late")
    assert ends == Counter(r["event_id"] for _, r in loop.records(PREDICTIONS))


@settings(LAW, max_examples=4)
@given(steps=STEPS, seed=st.integers(1, 2**32), max_batch=st.integers(1, 9))
def test_everything_follows_the_order_that_was_recorded(steps, seed, max_batch):
    """Cut anywhere, aborted, taken over by another replica: exact over the re-keyed topic, once each, tick by tick."""
    check(run(steps, mischief=Mischief(seed, reads=40, abort=0.3, replace=0.1), max_batch=max_batch))


@pytest.mark.slow
@settings(LAW, max_examples=100)
@given(steps=STEPS, seed=st.integers(1, 2**32), max_batch=st.integers(1, 9), abort=st.floats(0, 0.6))
def test_everything_follows_the_order_that_was_recorded_a_hundred_times(steps, seed, max_batch, abort):
    check(run(steps, mischief=Mischief(seed, reads=30, abort=abort, replace=0.1), max_batch=max_batch))


@settings(LAW, max_examples=3)
@given(steps=STEPS, seed=st.integers(1, 2**32))
def test_a_fused_chain_reads_on_behind_the_re_key(steps, seed):
    chain = [s for name in ("ingestion", "features", "serving") for s in STAGES if s.name == name]
    loop = MemoryLoop(
        MOVED,
        STAGES,
        Clock(),
        fused=chain,
        max_batch=5,
        mischief=Mischief(seed, reads=40, abort=0.3, replace=0.1),
    )
    for number, events in enumerate(steps):
        loop.publish((number + 1) * HOUR, timed(number, events))
        loop.switch(STAGES, () if number % 2 else chain)
    loop.publish((len(steps) + 4) * HOUR, [], final=True)
    check(loop)


def test_without_a_re_key_a_window_by_another_column_would_be_wrong():
    """The check has teeth: the same events, features straight from the partitions of the key."""
    events = [("Order", {"order_id": f"o{n}", "shop": "a", "amount": 1.0, "at": n}) for n in range(30)]
    unmoved = MOVED.model_copy(update={"rekey": None})
    loop = MemoryLoop(unmoved, [s for s in STAGES if s.name != "rekey"], Clock())
    loop.publish(HOUR, timed(0, events))
    assert sum(v["orders_2h"] for v in counted(loop.records(FEATURES)).values()) < sum(range(30))
    moved = run([events]).records(FEATURES)
    assert sum(v["orders_2h"] for v in counted(moved).values()) == sum(range(30))


def test_labels_meet_their_predictions_behind_the_re_key():
    order = {"order_id": "o1", "shop": "eee", "amount": 5.0, "at": 5}
    label = {"return_id": "r1", "order_id": "o1", "shop": "eee", "kept": 1.0, "at": 50}
    loop = run([[("Order", order), ("Return", label)]])
    (outcome,) = (o for _, o in loop.records(OUTCOMES))
    assert (outcome["event_id"], outcome["status"], outcome["label"]) == ("o1", "labelled", "kept")


# -- replay -----------------------------------------------------------------------------------------------------


def again(loop):
    last = len(loop.log.read(TICKS.name("shop")))
    recording = Recording("shop", dict(loop.log.partitions))
    scoring = [s for s in STAGES if s.name != "monitoring"]
    return replay(recording, scoring, loop.registry, loop.artifacts, from_tick=1, to_tick=last)


def busy(seed):
    chance = random.Random(seed)
    return [
        [
            (
                "Order",
                {"order_id": f"o{step}-{n}", "shop": chance.choice("ab"), "amount": 1.0, "at": 3 * n},
            )
            for n in range(30)
        ]
        for step in range(2)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_replay_obeys_the_order_that_was_recorded(seed):
    loop = run(busy(seed), mischief=Mischief(seed, reads=3, abort=0.2), max_batch=2)
    verdicts = again(loop)
    assert (verdicts.checked, verdicts.match) == (60, 60)


def fullest(loop):
    """Return the number of the fullest partition of the re-keyed topic."""
    return max(range(PARTITIONS), key=lambda p: len(loop.log.partitions[REKEYED.name("shop"), p]))


def test_another_order_than_the_recorded_one_gives_other_features():
    """What a replay that made its own order would do: the check above has teeth."""
    loop = run(busy(1), mischief=Mischief(1, reads=3), max_batch=2)
    first = loop.records(REKEYED)[0][1]
    with tampered(loop.log, REKEYED.name("shop"), fullest(loop)) as held:
        places = [n for n, r in enumerate(held) if f"o{0}-".encode() in (r.value or b"")]
        told = [decode_plain([held[n]], loop.registry)[0][2]["origin"]["partition"] for n in places]
        one, two = next(
            (a, b) for (a, p), (b, q) in pairwise(zip(places, told, strict=True)) if p != q and b == a + 1
        )
        held[one], held[two] = held[two], held[one]
    verdicts = again(loop)
    assert first["tick"] == 1
    assert verdicts.mismatch > 0


def lost(_, held):
    del held[3]


def changed(_, held):
    held[3] = held[3]._replace(value=held[3].value.replace(b"o0-", b"o1-", 1))


def moved(loop, held):
    other = next(p for p in range(PARTITIONS) if p != held[3].partition)
    with tampered(loop.log, REKEYED.name("shop"), other) as elsewhere:
        elsewhere.insert(0, held.pop(3)._replace(partition=other))


def swapped(loop, held):
    records = [decode_plain([r], loop.registry)[0][2] for r in held]
    sources = [(r["tick"], r["origin"]["partition"]) for r in records]
    one = next(n for n, s in enumerate(sources) if s in sources[n + 1 :])
    two = sources.index(sources[one], one + 1)
    held[one], held[two] = held[two], held[one]


@pytest.mark.parametrize("damage", [lost, changed, moved, swapped])
def test_what_was_done_to_the_re_keyed_topic_is_found(damage):
    loop = run(busy(1), mischief=Mischief(1, reads=3), max_batch=2)
    with tampered(loop.log, REKEYED.name("shop"), fullest(loop)) as held:
        damage(loop, held)
    assert again(loop).mismatch > 0
