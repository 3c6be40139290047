"""What falls due, against looking at every row: through put-offs, re-arming, aborts of one or two transactions, restores."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.rows import State
from headrace.bus.service import Table

TABLE = Table("timers", pa.schema([("due", pa.int64()), ("value", pa.int64())]), due="due")
KEYS = st.sampled_from("abcd")
ROW = st.none() | st.tuples(st.none() | st.integers(0, 20), st.integers(0, 3))
CHANGES = st.dictionaries(KEYS, ROW, max_size=4)
STEPS = st.lists(
    st.tuples(st.just("apply"), CHANGES)
    | st.tuples(st.just("restore"), CHANGES)
    | st.tuples(st.just("close"), st.integers(0, 20), CHANGES)
    | st.tuples(st.just("fail"), st.integers(0, 20))
    | st.tuples(st.sampled_from(["begin", "commit", "rollback"])),
    max_size=30,
)


def due(rows, time):
    found = [(row[0], key, row) for key, row in rows.items() if row[0] is not None and row[0] <= time]
    return [(key, row) for _, key, row in sorted(found, key=lambda f: f[:2])]


def change(rows, changes):
    return {k: r for k, r in (rows | changes).items() if r is not None}


@given(STEPS)
def test_what_falls_due_is_what_a_look_at_every_row_finds(steps):
    state, rows, kept = State(TABLE), {}, [{}]  # kept: what was there before each open transaction
    for name, *given_ in steps:
        match name:
            case "apply":
                state.apply(given_[0])
                rows = change(rows, given_[0])
            case "restore":  # outside any transaction
                for _ in kept:
                    state.commit()
                state.restore(given_[0])
                rows = change(rows, given_[0])
                kept = [rows]
            case "close":  # rows that are due go, unless they are armed again
                found = state.due(given_[0])
                assert found == due(rows, given_[0])
                step = dict.fromkeys([key for key, _ in found]) | given_[1]
                state.apply(step)
                rows = change(rows, step)
            case "fail":  # the step breaks before it changes anything
                assert state.due(given_[0]) == due(rows, given_[0])
                state.rollback()
                rows = kept.pop()
            case "begin":
                state.begin()
                kept.append(rows)
            case "commit":
                state.commit()
                kept.pop(0)
            case "rollback":
                state.rollback()
                rows = kept.pop()
        kept = kept or [rows]
    assert dict(state.all()) == rows
    assert state.due(20) == due(rows, 20)


def test_a_row_that_is_put_off_again_and_again_waits_in_one_place():
    state = State(TABLE)
    for time in range(1_000):
        state.apply({"a": (time, 0)})
        state.commit()
    assert len(state._queue) == 1
    assert state.due(999) == [("a", (999, 0))]
