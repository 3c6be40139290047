from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.rows import Overlays, State
from headrace.bus.service import Batch, Selection
from headrace.contracts.topics import OUTCOMES
from headrace.pipeline.definition import Definition
from headrace.pipeline.quarantine import OPEN_END, Quarantine
from services.deployment import state as kept
from services.deployment.blocks import block_start, collect, sums
from services.deployment.service import BLOCKS, DEPLOYMENT

DAY = 86_400_000_000
CHAMPION = kept.Model(name="m", version=1, digest="champion")
CHALLENGER = kept.Model(name="m", version=2, digest="challenger")
POLICY = Definition.model_construct(
    clock=Definition.model_fields["clock"].annotation(kind="source", offset="5h"),
    rollout=Definition.model_fields["rollout"].annotation(),
    label=Definition.model_fields["label"].annotation(record="Answer", sql="x"),
)
OUTCOME = st.fixed_dictionaries(
    {
        "event_time": st.integers(0, 4 * DAY),
        "status": st.sampled_from(["labelled", "late"]),
        "model_digest": st.sampled_from(["champion", "other"]),
        "challenger_digest": st.sampled_from(["challenger", "other", None]),
        "loss": st.floats(0, 10),
        "challenger_loss": st.floats(0, 10),
        "slice": st.sampled_from(["EWR", "JFK"]),
        "labelled_at": st.integers(0, 4 * DAY),
        "quarantined_by": st.sampled_from([None, None, "too-big"]),
    }
)
TYPES = pa.schema(
    [
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("status", pa.string()),
        ("model_digest", pa.string()),
        ("challenger_digest", pa.string()),
        ("loss", pa.float64()),
        ("challenger_loss", pa.float64()),
        ("slice", pa.string()),
        ("labelled_at", pa.timestamp("us", tz="UTC")),
        ("quarantined_by", pa.string()),
    ]
)


def in_shadow(since=0):
    rollout = kept.Rollout(rollout_id="r", challenger=CHALLENGER, champion=CHAMPION, since=since, evidence={})
    states = {t.name: State(t) for t in (DEPLOYMENT, BLOCKS)}
    overlays = Overlays(states)
    kept.save(overlays, kept.State(), kept.State(champion=CHAMPION, rollout=rollout))
    overlays.apply()
    return states


def blocks_after(outcomes, cuts=(), since=0):
    states = in_shadow(since)
    edges = [0, *sorted(c % (len(outcomes) + 1) for c in cuts), len(outcomes)]
    for start, stop in pairwise(edges):
        part = pa.RecordBatch.from_pylist(outcomes[start:stop], schema=TYPES)
        selection = Selection(np.arange(stop - start), part)
        batch = Batch(OUTCOMES, 0, 1, part, {"Outcome": selection})
        overlays = Overlays(states)
        assert len(collect(batch, overlays, POLICY).absorbed) == stop - start
        overlays.apply()
    return states["blocks"].all()


@given(outcomes=st.lists(OUTCOME, max_size=40), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_block_sums_are_the_same_bits_however_the_batch_is_cut(outcomes, cuts):
    assert blocks_after(outcomes, cuts) == blocks_after(outcomes)


@given(outcomes=st.lists(OUTCOME, max_size=40), since=st.integers(0, 4 * DAY))
def test_only_sound_labelled_pairs_of_the_rollout_count_and_only_in_open_blocks(outcomes, since):
    counted = [
        o
        for o in outcomes
        if (o["status"], o["model_digest"], o["challenger_digest"]) == ("labelled", "champion", "challenger")
        and o["event_time"] >= since
        and o["quarantined_by"] is None
    ]
    found = blocks_after(outcomes, since=since)
    assert sum(count for _, (count, *_) in found) == len(counted)
    assert sum(row[1] for _, row in found) == pytest.approx(sum(o["loss"] for o in counted))


@given(time=st.integers(-3 * DAY, 3 * DAY))
def test_a_block_begins_with_the_day_of_the_clock(time):
    start = block_start(time, POLICY)
    assert start <= time < start + DAY
    assert (start - 5 * 3_600_000_000) % DAY == 0


def test_the_state_comes_back_as_it_was():
    overlays = Overlays(in_shadow())
    held = kept.load(overlays)
    assert held.rollout
    changed = held.model_copy(
        update={
            "rollout": held.rollout.model_copy(update={"evidence": {"a": 0.1 + 0.2, "b": 1 / 3, "c": 1e-300}})
        }
    )
    kept.save(overlays, held, changed)
    assert kept.load(overlays) == changed


@pytest.mark.parametrize(
    ("name", "since", "left"),
    [
        ("EWR", DAY, ["JFK"]),
        ("records/Answer", DAY, []),
        ("records/Ask", 0, []),
        ("records/Ask", 2 * DAY, ["EWR", "JFK"]),
        ("records/Fact", 0, ["EWR", "JFK"]),
    ],
)
def test_quarantined_labels_and_the_answers_to_quarantined_events_leave_the_sums(name, since, left):
    view = POLICY.model_copy(
        update={
            "records": {
                n: Definition.model_fields["records"].annotation.__args__[1].model_construct(role=role)
                for n, role in (("Ask", "event"), ("Answer", "label"), ("Fact", "fact"))
            }
        }
    )
    states = in_shadow()
    start, labelled = 5 * 3_600_000_000, 5 * 3_600_000_000 + DAY
    overlays = Overlays(states)
    for n, told in enumerate(("EWR", "JFK")):
        overlays["blocks"].put([f"{start:020d}|{labelled}|{told}"], [(1, 10.0**n, 0.0)])
    found = sums(overlays, Quarantine({"q": (name, since, OPEN_END)}), view)
    expected = sum(10.0 ** ["EWR", "JFK"].index(told) for told in left)
    assert sum(champion for _, champion, _ in found.values()) == expected
