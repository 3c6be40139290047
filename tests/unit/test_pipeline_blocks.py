"""Rules about blocks: what is said of them does not depend on when one looks."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.pipeline.blocks import Counted, Watch, counted
from headrace.pipeline.definition import Rule

HOUR = 3_600_000_000
VOLUME = {
    "name": "v", "record": "R", "column": "c", "kind": "volume", "minimum": 2, "maximum": 4, "block": "1h",
    "severity": "quarantine",
}  # fmt: skip
NULLS = {**VOLUME, "kind": "null_rate", "minimum": None, "maximum": 0.5}
SEEN = st.dictionaries(
    st.integers(0, 12).map(lambda n: n * HOUR),
    st.integers(1, 6).flatmap(lambda n: st.integers(0, n).map(lambda m: Counted(n, m))),
)


def turns(rule, blocks, ticks):
    """Return where verdicts change, as (begin of the block, conforms), when the blocks are judged at these ticks."""
    watch, good, found = Watch(), True, []
    for before, now in zip([0, *ticks], ticks, strict=False):
        ended = {s: c for s, c in blocks.items() if before < s + HOUR <= now}
        watch, verdicts = watch.judge(rule, ended, now)
        for verdict in verdicts:
            if verdict.good != good:
                good = verdict.good
                found.append((verdict.start, good))
    return found


@given(SEEN, st.sets(st.integers(1, 15)), st.sampled_from([VOLUME, NULLS]))
def test_it_does_not_matter_when_blocks_are_judged(blocks, ticks, said):
    rule = Rule.model_validate(said)
    every = [n * HOUR for n in range(1, 17)]
    assert turns(rule, blocks, [*sorted(n * HOUR for n in ticks), 16 * HOUR]) == turns(rule, blocks, every)


def test_the_first_block_may_be_a_part_and_the_silent_one_counts():
    blocks = {0: Counted(1, 0), HOUR: Counted(3, 0), 3 * HOUR: Counted(2, 0), 4 * HOUR: Counted(9, 0)}
    assert turns(Rule.model_validate(VOLUME), blocks, [5 * HOUR]) == [
        (2 * HOUR, False),
        (3 * HOUR, True),
        (4 * HOUR, False),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 5 * HOUR), st.sampled_from([None, 1.0, float("nan")]))),
    st.integers(0, 9),
)
def test_counts_add_up_however_the_batch_is_cut(rows, cut):
    def count(part):
        times = np.array([t for t, _ in part], np.int64)
        return counted(
            Rule.model_validate(NULLS), pa.array([v for _, v in part], pa.float64()), times, HOUR // 2
        )

    parts = [count(rows[:cut]), count(rows[cut:])]
    sums = {}
    for start, seen in (item for part in parts for item in part.items()):
        held = sums.get(start, Counted())
        sums[start] = Counted(held.records + seen.records, held.nulls + seen.nulls)
    assert sums == count(rows)
    assert sum(seen.nulls for seen in sums.values()) == sum(v is None or v != v for _, v in rows)  # noqa: PLR0124


@pytest.mark.parametrize(
    "changed",
    [{"severity": "reject"}, {"minimum": None, "maximum": None}, {"kind": "null_rate", "maximum": None}],
)
def test_a_rule_that_cannot_work_is_refused(changed):
    with pytest.raises(ValidationError):
        Rule.model_validate(VOLUME | changed)
