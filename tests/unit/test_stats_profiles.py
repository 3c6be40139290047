import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.stats import profiles

NUMBERS = st.lists(st.floats(allow_infinity=True) | st.integers(-50, 50).map(float), max_size=30)
CATEGORIES = st.lists(st.none() | st.sampled_from([*"abcdefgh", "~other", "~a", ""]), max_size=30)
LABELLED = st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1), st.booleans()), max_size=20)
ROWS = st.tuples(NUMBERS, CATEGORIES, LABELLED)


@pytest.fixture(autouse=True)
def few_categories(monkeypatch):
    monkeypatch.setattr(profiles, "DISTINCT", 4)


def profiled(rows):
    numbers, categories, labelled = rows
    losses, predicted, happened = zip(*labelled, strict=True) if labelled else ((), (), ())
    seen = [profiles.feature("x", "number", numbers), profiles.feature("c", "category", categories)]
    return profiles.profile(seen, profiles.scores(predicted), profiles.quality(losses, predicted, happened))


def both(left, right):
    return tuple(a + b for a, b in zip(left, right, strict=True))


@given(ROWS, ROWS)
def test_a_cut_anywhere_merges_to_the_profile_of_the_whole(left, right):
    assert profiles.merge(profiled(left), profiled(right)) == profiled(both(left, right))


@given(ROWS, ROWS, ROWS)
def test_merging_is_commutative_and_associative(a, b, c):
    pa, pb, pc = profiled(a), profiled(b), profiled(c)
    assert profiles.merge(pa, pb) == profiles.merge(pb, pa)
    assert profiles.merge(profiles.merge(pa, pb), pc) == profiles.merge(pa, profiles.merge(pb, pc))


@given(ROWS)
def test_every_row_is_counted_once(rows):
    for feature in profiled(rows)["features"]:
        assert feature["count"] == feature["nulls"] + sum(feature["buckets"].values())
        assert feature["count"] == len(rows[0] if feature["name"] == "x" else rows[1])


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: abs(x) >= 2.0**-30))
def test_a_number_lies_in_its_bucket(x):
    edge = float(next(iter(profiles.buckets([x], "number"))))
    assert math.copysign(1, edge) == math.copysign(1, x)
    assert abs(edge) <= abs(x) < abs(edge) * 1.125 or math.isinf(abs(edge) * 1.125)


def test_buckets_are_in_the_order_of_their_values():
    found = profiles.buckets([8.9, -3, math.inf, 0.0, -0.0, 1e-300, math.nan, -math.inf, 100, 8], "number")
    assert found == {"-3.0": 1, "0.0": 3, "8.0": 2, "96.0": 1}
    assert list(found) == ["-3.0", "0.0", "8.0", "96.0"]


def test_small_whole_numbers_have_buckets_of_their_own():
    assert len(profiles.buckets(np.arange(-15, 16), "number")) == 31


def test_a_category_named_like_the_rest_is_not_taken_for_it():
    assert profiles.buckets(["~other", None, "b", float("nan")], "category") == {"b": 1, "~~other": 1}


def test_too_many_categories_leave_the_rest_to_other():
    found = profiles.buckets([str(i % 10) for i in range(100)], "category")
    assert len(found) == 5
    assert found[profiles.OTHER] == 60


def test_scores_fall_into_twentieths():
    assert profiles.scores([0, 0.049, 0.05, 0.999, 1.0]) == {"0.00": 2, "0.05": 1, "0.95": 2}
    assert profiles.scores([100.0, -3.0], probability=False) == {"-3.0": 1, "96.0": 1}


def test_quality_adds_whole_micro_nats():
    found = profiles.quality([0.1, 0.2], [0.15, 1.0], [False, True])
    assert (found["count"], found["loss_sum"]) == (2, 300_000)
    assert found["calibration"][1] == {"count": 1, "predicted_sum": 150_000, "positives": 0}
    assert found["calibration"][9] == {"count": 1, "predicted_sum": 1_000_000, "positives": 1}
    assert profiles.quality([4.0])["calibration"] == []


def test_profiles_of_unlike_kinds_do_not_merge():
    number = profiles.profile([profiles.feature("x", "number", [1.0])], {})
    category = profiles.profile([profiles.feature("x", "category", ["1"])], {})
    with pytest.raises(ValueError, match="feature x is a number"):
        profiles.merge(number, category)


@given(
    st.integers(0, 30).flatmap(lambda n: st.lists(st.lists(st.floats(), min_size=n, max_size=n), max_size=4))
)
def test_features_counted_together_are_as_each_alone(columns):
    names = [f"x{n}" for n in range(len(columns))]
    together = profiles.numbers(names, [np.array(column, np.float64) for column in columns])
    alone = [profiles.feature(name, "number", column) for name, column in zip(names, columns, strict=True)]
    assert together == alone
    for whole, column in zip(together, columns, strict=True):
        kept = [x for x in column if math.isfinite(x)]
        counted = Counter(float(next(iter(profiles.buckets([x], "number")))) for x in kept)
        assert list(whole["buckets"].items()) == [(repr(edge), counted[edge]) for edge in sorted(counted)]
