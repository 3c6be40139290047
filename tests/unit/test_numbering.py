"""Numbers of texts against a dict, and claims against the rule they follow, written out event by event."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.numbering import Numbering
from headrace.pipeline.claims import BODY, Claimed, Claims, blocks, claimed_in

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3), st.text(min_size=60, max_size=70)), max_size=40)
MEMORY = 80


@given(st.lists(TEXTS, max_size=12), st.integers(0, 2**32))
def test_numbers_are_those_of_a_dict(batches: list[list[str | None]], seed: int) -> None:
    numbering, wanted = Numbering(), dict[str, int]()
    chance = np.random.default_rng(seed)
    for batch in batches:
        texts = pa.array(["before", *batch], pa.string())[1:]
        told = [wanted.setdefault(t or "", len(wanted)) for t in batch]
        assert numbering.number(texts).tolist() == told
        if chance.random() < 0.3:
            kept = chance.random(len(wanted)) < 0.5
            numbering.keep(kept)
            wanted = {t: n for n, t in enumerate(t for t, k in zip(wanted, kept, strict=True) if k)}
    assert numbering.texts(np.arange(len(wanted))).to_pylist() == list(wanted)


def test_many_texts_find_their_numbers_after_every_growth() -> None:
    texts = pa.array([f"event-{n}" for n in range(20_000)])
    numbering = Numbering()
    for start in range(0, len(texts), 777):
        numbering.number(texts[start : start + 777])
    assert np.array_equal(numbering.number(texts), np.arange(len(texts)))
    assert len(numbering) == len(texts)


def _claimed(events: list[tuple[int, int]]) -> Claimed:
    ids = pa.array([f"e{event}" for event, _ in events], pa.string())
    bodies = np.array([[event % 256] * BODY for event, _ in events], np.uint8).reshape(-1, BODY)
    return Claimed(ids, bodies, np.array([due for _, due in events], np.int64))


def made_of(claimed: Claimed, first: int, tick: int) -> dict[str, tuple[Any, ...]]:
    return {key: block for key, block, _ in blocks(claimed, first, tick, MEMORY)}


STEPS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 12), min_size=1, max_size=6), st.integers(-200, 200), st.sampled_from("ktc")
    ),
    max_size=25,
)


@given(STEPS)
def test_claims_are_held_until_the_first_close_at_or_after_their_due_time(
    steps: list[tuple[set[int], int, str]],
) -> None:
    claims, wanted, held_blocks = Claims(), dict[int, int](), dict[str, tuple[bytes, ...]]()
    since, tick = None, 1
    everything = pa.array([f"e{n}" for n in range(13)])
    for n, (events, shift, what) in enumerate(steps):
        now = since or 0
        fresh = [(e, now + MEMORY + shift) for e in sorted(events) if e not in wanted]
        if fresh:
            claimed = _claimed(fresh)
            met = claims.meet(claimed.ids, since, tick)
            made = dict(claims.claim(claimed, met.numbers, n, tick, MEMORY))
            claims.change(made)
            if what == "k":
                held_blocks |= made
                wanted |= dict(fresh)
            else:  # the transaction was undone
                claims.change(dict.fromkeys(made))
        if what == "c":
            since, tick = now + 60, tick + 1
            wanted = {e: due for e, due in wanted.items() if due > since}
            gone = [key for key, block in held_blocks.items() if block[5] <= since]  # type: ignore[operator]
            claims.change(dict.fromkeys(gone))
            for key in gone:
                del held_blocks[key]
        restored = Claims()
        restored.change(held_blocks)
        for index in (claims, restored):
            held, bodies, _, _ = index.meet(everything, since, tick)
            assert set(np.flatnonzero(held).tolist()) == set(wanted)
            assert all((bodies[e] == e).all() for e in wanted)


def test_forgotten_claims_leave_the_index() -> None:
    claims = Claims()
    for n in range(12):
        events = [(n * 10_000 + e, n) for e in range(10_000)]
        claims.change(made_of(_claimed(events), n, 1))
        claims.change({f"{n - 2:020d}.0": None})
    assert len(claims._numbers) < 60_000
    held = claims.meet(pa.array([f"e{e}" for e in range(120_000)]), None, 1).held
    assert np.flatnonzero(held).tolist() == list(range(100_000, 120_000))


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=4))
def test_an_id_is_met_first_where_it_comes_first_in_its_batch(batches: list[list[int]]) -> None:
    claims = Claims()
    for batch in batches:
        met = claims.meet(pa.array(map(str, batch), pa.string()), None, 1)
        assert met.firsts.tolist() == [batch.index(n) for n in batch]
        assert not met.held.any()


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(-(10**15), 10**16)), min_size=1, max_size=30))
def test_blocks_hold_what_was_claimed(events: list[tuple[str, int]]) -> None:
    ids = pa.array([text for text, _ in events])
    bodies = np.arange(len(events) * BODY, dtype=np.int64).astype(np.uint8).reshape(-1, BODY)
    made = made_of(Claimed(ids, bodies, np.array([due for _, due in events])), 7, 3)
    parts = [claimed_in(block) for block in made.values()]
    found = sorted(
        (text, due, body.tobytes())
        for part in parts
        for text, due, body in zip(part.ids.to_pylist(), part.dues.tolist(), part.bodies, strict=True)
    )
    assert found == sorted((t, d, b.tobytes()) for (t, d), b in zip(events, bodies, strict=True))
    assert all(
        block[5] == part.dues.max() and block[4] == 3
        for block, part in zip(made.values(), parts, strict=True)
    )


def test_blocks_are_cut_before_they_grow_too_large_for_a_record() -> None:
    ids = pa.array([f"{n:0500d}" for n in range(2_000)])
    claimed = Claimed(ids, np.zeros((2_000, BODY), np.uint8), np.zeros(2_000, np.int64))
    sizes = [sum(map(len, block[:4])) for block in made_of(claimed, 0, 1).values()]
    assert len(sizes) == 5
    assert max(sizes) < 300_000
