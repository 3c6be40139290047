"""Fused or not, lean or not: the same bits, also when the mode changes while a pipeline runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import HOUR, SHOP, STEPS, timed
from test_laws import DATA_PLANE, LAW, PUBLIC, run, story

from headrace.contracts.topics import FEATURES, LEDGER, VALIDATED
from headrace.errors import ConfigurationError
from headrace.testing.loop import MemoryLoop, Mischief
from services.clock.handler import Clock

BY_NAME = {s.name: s for s in DATA_PLANE}
CHAIN = [BY_NAME[name] for name in ("ingestion", "features", "serving")]
MODES = st.lists(
    st.sampled_from([(), tuple(CHAIN), tuple(CHAIN[:2]), tuple(CHAIN[1:])]), min_size=8, max_size=8
)


def fused(steps, services, *, lean=False, mischief=None, modes=(), max_batch=1_000):
    loop = MemoryLoop(SHOP, services, Clock(), fused=CHAIN, lean=lean, mischief=mischief, max_batch=max_batch)
    for number, events in enumerate(steps):
        if number < len(modes):
            loop.switch(services, modes[number])
        loop.publish((number + 1) * HOUR, timed(number, events))
    loop.publish((len(steps) + 4) * HOUR, [], final=True)
    return loop


@LAW
@given(steps=STEPS, reads=st.integers(1, 9), max_batch=st.integers(1, 9))
def test_a_fused_chain_writes_what_its_members_write(steps, reads, max_batch):
    together = fused(steps, DATA_PLANE, mischief=Mischief(0, reads=reads), max_batch=max_batch)
    assert story(together) == story(run(steps))


@LAW
@given(steps=STEPS, seed=st.integers(1, 2**32))
def test_trouble_in_a_fused_chain_leaves_no_trace(steps, seed):
    troubled = fused(steps, DATA_PLANE, mischief=Mischief(seed, reads=7, abort=0.3, replace=0.2), max_batch=4)
    assert story(troubled) == story(run(steps))


@LAW
@given(steps=STEPS, seed=st.integers(1, 2**32), modes=MODES)
def test_a_pipeline_can_be_switched_between_modes_while_it_runs(steps, seed, modes):
    switched = fused(steps, DATA_PLANE, mischief=Mischief(seed, reads=5, abort=0.2), modes=modes, max_batch=4)
    assert story(switched) == story(run(steps))


@LAW
@given(steps=STEPS, seed=st.integers(1, 2**32))
def test_a_lean_chain_leaves_out_what_lies_between_and_nothing_else(steps, seed):
    whole = fused(steps, CHAIN)
    lean = fused(
        steps, CHAIN, lean=True, mischief=Mischief(seed, reads=7, abort=0.2, replace=0.1), max_batch=5
    )
    left_out = (VALIDATED, FEATURES)
    kept = [topic for topic in PUBLIC if topic not in left_out]
    assert lean.bodies(kept) == whole.bodies(kept)
    assert sorted(lean.bodies([LEDGER])[LEDGER.name("shop")]) == sorted(
        whole.bodies([LEDGER])[LEDGER.name("shop")]
    )
    assert not any(lean.bodies(left_out).values())


def test_a_topic_that_others_read_cannot_be_left_out():
    with pytest.raises(ConfigurationError, match=r"shop\.validated\.v1 cannot be left out; monitoring"):
        fused([[]], DATA_PLANE, lean=True)


def test_services_that_do_not_follow_each_other_cannot_be_fused():
    with pytest.raises(ConfigurationError, match="serving cannot be fused in this place"):
        MemoryLoop(SHOP, DATA_PLANE, Clock(), fused=[BY_NAME["ingestion"], BY_NAME["serving"]])
