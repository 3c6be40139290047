"""Rates of the rollout test by simulation: day differences of loss, independent and AR(1)."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.stats.eprocess import RolloutTest

MARGIN, ALPHA, BOUND = 0.01, 0.05, 0.03
FRESH = RolloutTest(MARGIN, ALPHA, BOUND)


def ar1(rng, *, runs, rho, blocks=45):
    noise = rng.standard_normal((runs, blocks))
    for t in range(1, blocks):
        noise[:, t] = rho * noise[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return noise


def rollout(differences):
    test = FRESH
    for difference in differences:
        test = test.update(difference)
        if (verdict := test.verdict(3, len(differences))) != "continue":
            return verdict, test.blocks, test
    raise AssertionError("undecided after the last block")


def rollouts(mean, sd, rho, runs=600):
    return [rollout(path) for path in mean + sd * ar1(np.random.default_rng(7), runs=runs, rho=rho)]


def share(found, wanted):
    return sum(verdict == wanted for verdict, *_ in found) / len(found)


@pytest.mark.parametrize(
    ("mean", "sd"), [(0.001, 0.006), (0.001, 0.003), (0.0025, 0.0045), (0.004, 0.003), (0.004, 0.006)]
)
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_a_slightly_better_challenger_is_promoted_in_about_a_week(mean, sd, rho):
    found = rollouts(mean, sd, rho)
    assert share(found, "promote") >= 0.99
    assert np.median([blocks for _, blocks, _ in found]) <= 8


@pytest.mark.parametrize("sd", [0.003, 0.006])
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_a_challenger_worse_by_the_margin_is_seldom_promoted(sd, rho):
    assert share(rollouts(-MARGIN, sd, rho), "promote") <= ALPHA


@pytest.mark.parametrize("sd", [0.003, 0.006])
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_an_equal_challenger_is_seldom_refused(sd, rho):
    assert share(rollouts(0.0, sd, rho), "refuse") <= ALPHA


@pytest.mark.parametrize("gain", [0.0025, 0.01, 0.03])
def test_the_worst_case_of_rare_bad_days_stays_under_alpha(gain):
    bad = (gain + MARGIN) / (gain + BOUND)  # share of days at -bound that makes the mean exactly -margin
    days = np.random.default_rng(3).random((2000, 45))
    found = [rollout(np.where(run < bad, -BOUND, gain)) for run in days]
    assert share(found, "promote") <= ALPHA


@given(st.floats(-MARGIN, BOUND), st.lists(st.floats(-BOUND, BOUND), max_size=5))
def test_a_bet_is_fair_at_the_edge_of_the_hypothesis(gain, past):
    test = FRESH
    for difference in past:
        test = test.update(difference)
    bad = (gain + MARGIN) / (gain + BOUND)
    expected = bad * test.update(-BOUND).promote_e + (1 - bad) * test.update(gain).promote_e
    assert expected == pytest.approx(test.promote_e)
    assert min(test.update(-BOUND).not_worse) >= 0
    assert min(test.update(BOUND).worse) >= 0


def test_a_clearly_worse_challenger_is_refused_soon():
    found = rollouts(-0.02, 0.006, 0.3, runs=100)
    assert share(found, "refuse") == 1
    assert np.median([blocks for _, blocks, _ in found]) <= 8


def test_nothing_is_decided_before_the_fewest_blocks_and_all_is_at_the_most():
    eager = RolloutTest(MARGIN, 0.9, BOUND).update(BOUND)
    assert (eager.verdict(2, 9), eager.verdict(1, 9)) == ("continue", "promote")
    dull = FRESH.update(-MARGIN)
    assert (dull.verdict(1, 2), dull.update(-MARGIN).verdict(1, 2)) == ("continue", "refuse")


def test_extreme_blocks_count_as_the_bound():
    assert FRESH.update(-1e9) == FRESH.update(-BOUND)
    with pytest.raises(ValueError, match="not finite"):
        FRESH.update(float("nan"))
    with pytest.raises(ValueError, match="margin < bound"):
        RolloutTest(margin=0.05, alpha=ALPHA, bound=0.03)


@given(st.lists(st.floats(-0.1, 0.1), max_size=20))
def test_the_state_survives_a_table_to_the_bit(differences):
    test = FRESH
    for difference in differences:
        test = test.update(difference)
    assert FRESH.restore(json.loads(json.dumps(test.state()))) == test
