"""Replay from the ledger's cuts gives the predictions again, byte by byte; a changed one is found."""

from hypothesis import given
from hypothesis import strategies as st
from shop import HOUR, SHOP, STEPS, timed
from test_laws import DATA_PLANE, LAW, run

from headrace.audit.replay import Recording, replay
from headrace.contracts.topics import EVENTS, PREDICTIONS, TICKS
from headrace.testing.loop import MemoryLoop
from headrace.testing.tampering import tampered
from services.clock.handler import Clock

SCORING = [s for s in DATA_PLANE if s.name != "monitoring"]


def again(loop, from_tick, to_tick):
    recording = Recording("shop", dict(loop.log.partitions))
    return replay(recording, SCORING, loop.registry, loop.artifacts, from_tick=from_tick, to_tick=to_tick)


@LAW
@given(steps=STEPS, data=st.data())
def test_a_replay_matches(steps, data):
    loop = run(steps)
    last = len(loop.log.read(TICKS.name("shop")))
    first = data.draw(st.integers(1, last))
    verdicts = again(loop, first, last)
    assert (verdicts.mismatch, verdicts.checked) == (0, verdicts.match)
    if first == 1:
        assert verdicts.checked == len(loop.log.read(PREDICTIONS.name("shop")))


def test_a_replay_begins_where_the_window_of_a_late_event_does():
    early, late = (
        ("Order", {"order_id": name, "shop": "a", "amount": 1.0, "at": 3 * minutes})
        for name, minutes in (("early", 55), ("late", -15))
    )
    loop = run([[], [early], [], [], [late]])
    verdicts = again(loop, 5, 5)
    assert (verdicts.checked, verdicts.mismatch) == (1, 0)


def orders(count):
    return [("Order", {"order_id": f"o{n}", "shop": "a", "amount": float(n), "at": n}) for n in range(count)]


def test_a_tampered_prediction_is_a_mismatch():
    loop = run([orders(5)])
    with tampered(loop.log, PREDICTIONS.name("shop")) as held:
        held[2] = held[2]._replace(value=held[2].value.replace(b"kept", b"kepd"))
    verdicts = again(loop, 1, 1)
    assert (verdicts.checked, verdicts.mismatch, verdicts.examples) == (5, 1, ["o2"])


def test_a_lost_raw_record_is_a_mismatch():
    loop = run([orders(5)])
    with tampered(loop.log, EVENTS.name("shop")) as held:
        del held[2]
    assert again(loop, 1, 1).missing == 1


def test_the_recorded_cut_decides_the_race_of_ticks_and_records():
    """A wall clock names an end that ingestion has already passed; the ledger's cut, not the tick's, is replayed."""
    wall = SHOP.model_copy(update={"clock": SHOP.clock.model_copy(update={"kind": "wall"})})
    loop = MemoryLoop(wall, DATA_PLANE, Late())
    loop.append_raw(timed(0, orders(9)))
    loop.run()
    verdicts = again(loop, 1, 2)
    assert (verdicts.checked, verdicts.mismatch) == (9, 0)


class Late(Clock):
    """A wall clock that saw 4 records at tick 1 and all at tick 2, while ingestion had read all before tick 1."""

    def decide(self, now, ends):
        del now
        done = 0 if not self._paces else (next(iter(self._paces.values())).tick or {"n": 0})["n"]
        seen = {0: {0: 4}, 1: ends(EVENTS.name("shop"), 1)}
        if done not in seen:
            return []
        return super().decide((done + 1) * HOUR, lambda *_: seen[done])
