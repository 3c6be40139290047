"""Windows answer what a plain walk over the log answers, however batches are cut and whatever is forgotten in between."""

from array import array

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from shop import HOUR, MINUTE, SHOP

from headrace.features.tiles import kept
from headrace.features.windows import additions, advance, compile_windows, nothing, number, questions
from headrace.pipeline.definition import WindowFeature

FEATURES = SHOP.features.model_copy(
    update={
        "windows": [
            WindowFeature(
                name=name, record="Return", group_by="shop", value=value, aggregate=aggregate, window=window, tile=tile
            )
            for name, value, aggregate, window, tile in (
                ("mean_1h", "kept", "mean", HOUR, 5 * MINUTE),
                ("sum_2h", "CASE WHEN kept > 2 THEN kept END", "sum", 2 * HOUR, 30 * MINUTE),
                ("count_1h", "1", "count", HOUR, HOUR),
            )
        ]
    }
)  # fmt: skip
DEFINITION = SHOP.model_copy(update={"features": FEATURES})
(GROUPING,) = compile_windows(DEFINITION)
WINDOWS = {number(w): (w.tile, w.window) for w in GROUPING.windows}
SHOPS = st.sampled_from(["a", "b", None])
OPERATION = st.tuples(
    st.sampled_from("?+"),
    SHOPS,
    st.integers(-HOUR, 8 * HOUR),
    st.floats(-9, 9) | st.just(float("nan")) | st.none(),
)
LOG = st.lists(OPERATION, max_size=24)


class Plain:
    """The same in the plainest way: all values that were ever added, in the order of the log."""

    def __init__(self):
        self.tiles = {}

    def answer(self, window, shop, at):
        own = self.tiles.get((window.name, shop or ""), {})
        n, span = at // window.tile, window.window // window.tile
        oldest = max(n - span, max(own, default=n) - 2 * span)
        found = [own[tile] for tile in own if oldest < tile <= n]
        total, count = sum(s for s, _ in found) / 10**window.decimals, sum(c for _, c in found)
        if window.aggregate == "mean":
            return total / count if count else None
        return float(count) if window.aggregate == "count" else total

    def add(self, window, shop, at, value):
        if shop is None or value is None or not np.isfinite(value):
            return
        own = self.tiles.setdefault((window.name, shop), {})
        total, count = own.get(at // window.tile, (0, 0))
        own[at // window.tile] = total + int(np.rint(value * 10**window.decimals)), count + 1

    def settle(self):
        """Forget by rule; a batch ends."""
        for (name, _), own in self.tiles.items():
            window = next(w for w in GROUPING.windows if w.name == name)
            for tile in [t for t in own if t <= max(own) - 2 * (window.window // window.tile)]:
                del own[tile]

    def forget(self, time):
        for (name, shop), own in list(self.tiles.items()):
            window = next(w for w in GROUPING.windows if w.name == name)
            if (max(own) + 1) * window.tile + 2 * window.window <= time:
                del self.tiles[name, shop]


def value_of(window, kept_):
    if kept_ is None or not np.isfinite(kept_):
        return 1.0 if window.value == "1" else None
    if window.name == "sum_2h":
        return kept_ if kept_ > 2 else None
    return 1.0 if window.value == "1" else kept_


def plainly(plain, log):
    answers = {w.name: [] for w in GROUPING.windows}
    for what, shop, at, kept_ in log:
        for window in GROUPING.windows:
            if what == "?":
                answers[window.name].append(plain.answer(window, shop, at))
            else:
                plain.add(window, shop, at, value_of(window, kept_))
    plain.settle()
    return answers


def operations(log):
    found = []
    for what, make in (("?", questions), ("+", additions)):
        rows = np.array([n for n, told in enumerate(log) if told[0] == what], np.int64)
        if not len(rows):
            found.append(nothing(GROUPING))
            continue
        own = [log[n] for n in rows]
        columns = pa.RecordBatch.from_pydict(
            {
                "return_id": pa.array(["r"] * len(own)),
                "order_id": pa.array(["o"] * len(own)),
                "shop": pa.array([shop for _, shop, _, _ in own], pa.string()),
                "kept": pa.array([kept_ for *_, kept_ in own], pa.float64()),
                "at": pa.array([at for _, _, at, _ in own], pa.timestamp("us", "UTC")),
            }
        )
        found.append(make(GROUPING, rows, columns, np.array([at for _, _, at, _ in own], np.int64)))
    return found


def answered(state, log):
    found = advance(GROUPING, *operations(log), lambda names: [state.get(name) for name in names])
    state.update(zip(found.groups, found.rows, strict=True))
    return {w.name: column.to_pylist() for w, column in zip(GROUPING.windows, found.answers, strict=True)}


@given(batches=st.lists(st.tuples(LOG, st.integers(-HOUR, 14 * HOUR)), max_size=5))
def test_windows_answer_what_a_plain_walk_answers(batches):
    state, plain = {}, Plain()
    for log, time in batches:
        assert answered(state, log) == plainly(plain, log)
        due = {name: kept(cells, WINDOWS, time) for name, (cells, due) in state.items() if due <= time}
        state |= due
        state = {name: row for name, row in state.items() if row}
        plain.forget(time)
        assert all(due > time for _, due in state.values())
    assert {shop for _, shop in plain.tiles} == state.keys()


@given(log=LOG, cut=st.integers(0, 24))
def test_a_batch_may_be_cut_anywhere(log, cut):
    whole, parts = {}, {}
    wanted, found = answered(whole, log), [answered(parts, log[:cut]), answered(parts, log[cut:])]
    assert {name: [*found[0][name], *found[1][name]] for name in wanted} == wanted
    assert whole == parts


def test_what_a_window_was_before_it_was_declared_otherwise_is_forgotten():
    cells = array("q", [1, 1, 0, 5, 1, number(GROUPING.windows[0]), 1, 7, 3, 1])
    left, due = kept(cells, WINDOWS, 0)
    assert list(left) == list(cells[5:])
    assert due == 8 * 5 * MINUTE + 2 * HOUR
    log = [("+", "a", 40 * MINUTE, 1.0)]
    with_it, without = (answered_from(cells, log) for cells in (cells, left))
    assert with_it == without


def test_a_window_keeps_its_tiles_while_they_mean_the_same():
    window = GROUPING.windows[0]
    others = [{"tile": 1}, {"window": 1}, {"decimals": 0}, {"value": "2"}, {"name": "other"}]
    numbers = {number(window.model_copy(update=changed)) for changed in ({}, *others)}
    assert len(numbers) == 1 + len(others)
    assert number(window.model_copy(update={"aggregate": "sum"})) == number(window)


def answered_from(cells, log):
    return advance(GROUPING, *operations(log), lambda _: [(cells, 0)])
