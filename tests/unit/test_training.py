import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.service import Batch, Tick
from headrace.contracts.topics import MODELS, QUARANTINE, TRAINING_RESULTS
from headrace.pipeline.definition import Definition, Estimator, Training
from headrace.stats.guard import GuardState
from services.training.effects import HELD_OUT, fingerprint, holdout_from
from services.training.handler import handle
from services.training.state import Running, State, load, save
from services.training.triggers import View, ask, learn_due

DAY = 86_400_000_000
FIRST = datetime(1970, 1, 11, tzinfo=UTC)


def view(champion=None, **training):
    return View(
        Definition.model_construct(name="p", training=Training(**training), estimator=Estimator(path="a:b")),
        champion,
    )


def asks(state, now, looking):
    state, emitted = ask(state, Tick("p", 7, now), looking)
    records = [e.columns.to_pylist()[0] for emits in emitted.values() for e in emits]
    return state, records


@given(labels=st.integers(0, 2_000), now=st.integers(0, 10**12))
def test_without_a_date_the_first_training_waits_for_labels(labels, now):
    _, records = asks(State(labels=labels), now, view(train_after=1_000))
    assert [r["trigger"] for r in records] == (["volume"] if labels >= 1_000 else [])


@given(days=st.integers(0, 20))
def test_with_a_date_the_first_training_waits_for_it(days):
    _, records = asks(State(labels=5), days * DAY, view(first_at=FIRST))
    assert [r["trigger"] for r in records] == (["schedule"] if days >= 10 else [])


@given(gap=st.integers(0, 30 * DAY))
def test_without_a_champion_the_next_attempt_waits_for_the_cooldown(gap):
    looking = view(train_after=10, cooldown="14d")
    asked, first = asks(State(labels=10), DAY, looking)
    _, second = asks(asked, DAY + gap, looking)
    assert len(first) == 1
    assert bool(second) == (gap >= 14 * DAY)


@given(gap=st.integers(0, 60 * DAY))
def test_a_schedule_counts_from_the_last_training_whoever_asked_for_it(gap):
    state = State(labels=10).but(guard=GuardState(starts=(5 * DAY,)))
    _, records = asks(state, 5 * DAY + gap, view(champion="d", every="30d"))
    assert bool(records) == (gap >= 30 * DAY)


def test_a_settle_tick_at_the_same_time_asks_no_second_time():
    looking = view(train_after=10, cooldown="0s")
    asked, _ = asks(State(labels=10), DAY, looking)
    assert asks(asked, DAY, looking)[1] == []


@given(fresh=st.integers(0, 400), learnt=st.sampled_from([None, "digest"]))
def test_an_online_model_learns_every_so_many_labels_after_its_first(fresh, learnt):
    training = Training(train_after=300, learn_every=100)
    state = State(labels=1_000 + fresh, learnt_labels=1_000, learnt=learnt)
    assert learn_due(state, training) == (fresh >= (100 if learnt else 300))


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


class Held:
    """A table of one row."""

    def __init__(self):
        self.row = None

    def get(self, _keys):
        return [self.row]

    def put(self, _keys, rows):
        (self.row,) = rows


@pytest.mark.parametrize(
    ("since", "left_out", "ended"),
    [
        (4 * DAY, (), "TrainingFailed"),
        (6 * DAY, (), "ModelCandidate"),  # after what the training read
        (4 * DAY, (("west", 4 * DAY),), "ModelCandidate"),  # the training knew
    ],
)
def test_labels_quarantined_while_a_training_runs_end_it_without_a_candidate(since, left_out, ended):
    rows = {"training": Held()}
    running = Running(
        effect_id="e", training_id="t", request_id="r", to_tick=5, until=5 * DAY, quarantine=left_out
    )
    save(rows, State(), State(running=running))
    begun = {"quarantine_id": "q", "slice": "west", "since": since}
    result = {"model_digest": "d", "champion_digest": None, "champion_loss": None, "metrics": {}} | dict.fromkeys(
        ("dataset_digest", "fingerprint"), "x"
    ) | dict.fromkeys(("rows", "holdout_rows", "seed", "artifact_bytes"), 1) | {"loss": 0.5}  # fmt: skip
    answer = {"effect_id": "e", "tick": 6, "result": json.dumps(result)}
    step = None
    for topic, name, record in (
        (QUARANTINE, "LabelsQuarantined", begun),
        (TRAINING_RESULTS, "EffectCompleted", answer),
    ):
        step = handle(Batch(topic, 0, 7, None, {}, controls=[(name, record)]), rows, view())
    assert [emit.record for emit in step.emitted[MODELS]] == [ended]
    assert load(rows).running is None


def test_an_online_model_that_learnt_quarantined_labels_learns_from_the_start():
    rows = {"training": Held()}
    save(rows, State(), State(learnt="d", learnt_tick=9))
    begun = {"quarantine_id": "q", "slice": "west", "since": DAY}
    handle(Batch(QUARANTINE, 0, 10, None, {}, controls=[("LabelsQuarantined", begun)]), rows, view())
    assert (load(rows).learnt, load(rows).learnt_tick) == (None, 0)
