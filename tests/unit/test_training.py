from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bus.service import Tick
from headrace.pipeline.definition import Definition, Training
from headrace.stats.guard import GuardState
from services.training.effects import HELD_OUT, fingerprint, holdout_from
from services.training.state import State
from services.training.triggers import View, ask, learn_due

DAY = 86_400_000_000
LAW = settings(deadline=None)
FIRST = datetime(1970, 1, 11, tzinfo=UTC)


def view(champion=None, **training):
    return View(Definition.model_construct(name="p", training=Training(**training)), champion)


def asks(state, now, looking):
    state, emitted = ask(state, Tick("p", 7, now), looking)
    records = [e.columns.to_pylist()[0] for emits in emitted.values() for e in emits]
    return state, records


@LAW
@given(labels=st.integers(0, 2_000), now=st.integers(0, 10**12))
def test_without_a_date_the_first_training_waits_for_labels(labels, now):
    _, records = asks(State(labels=labels), now, view(train_after=1_000))
    assert [r["trigger"] for r in records] == (["volume"] if labels >= 1_000 else [])


@LAW
@given(days=st.integers(0, 20))
def test_with_a_date_the_first_training_waits_for_it(days):
    _, records = asks(State(labels=5), days * DAY, view(first_at=FIRST))
    assert [r["trigger"] for r in records] == (["schedule"] if days >= 10 else [])


@LAW
@given(gap=st.integers(0, 30 * DAY))
def test_without_a_champion_the_next_attempt_waits_for_the_cooldown(gap):
    looking = view(train_after=10, cooldown="14d")
    asked, first = asks(State(labels=10), DAY, looking)
    _, second = asks(asked, DAY + gap, looking)
    assert len(first) == 1
    assert bool(second) == (gap >= 14 * DAY)


@LAW
@given(gap=st.integers(0, 60 * DAY))
def test_a_schedule_counts_from_the_last_training_whoever_asked_for_it(gap):
    state = State(labels=10).but(guard=GuardState(starts=(5 * DAY,)))
    _, records = asks(state, 5 * DAY + gap, view(champion="d", every="30d"))
    assert bool(records) == (gap >= 30 * DAY)


def test_a_settle_tick_at_the_same_time_asks_no_second_time():
    looking = view(train_after=10, cooldown="0s")
    asked, _ = asks(State(labels=10), DAY, looking)
    assert asks(asked, DAY, looking)[1] == []


@LAW
@given(fresh=st.integers(0, 400), learnt=st.sampled_from([None, "digest"]))
def test_an_online_model_learns_every_so_many_labels_after_its_first(fresh, learnt):
    training = Training(train_after=300, learn_every=100)
    state = State(labels=1_000 + fresh, learnt_labels=1_000, learnt=learnt)
    assert learn_due(state, training) == (fresh >= (100 if learnt else 300))


@LAW
@given(times=st.lists(st.integers(0, 100), min_size=1, max_size=60), declared=st.integers(-10, 110))
def test_the_hold_out_is_the_declared_one_or_the_last_fifth_of_a_young_or_ended_stream(times, declared):
    rows = pa.table({"event_time": pa.array(times, pa.timestamp("us", tz="UTC"))})
    found, before = holdout_from(rows, declared), sum(t < declared for t in times)
    if len(times) <= 2 * before < 2 * len(times):
        assert found == declared
    else:
        assert np.mean(np.array(times) < found) <= 1 - HELD_OUT
        assert found in times


def test_the_fingerprint_names_what_the_bits_depend_on():
    assert "numpy-" in fingerprint()
    assert fingerprint() == fingerprint()


def test_first_at_is_compared_to_the_microsecond():
    exact = view(first_at=FIRST + timedelta(microseconds=1))
    assert asks(State(labels=5), 10 * DAY, exact)[1] == []
    assert asks(State(labels=5), 10 * DAY + 1, exact)[1]
