import math

import numpy as np
import polars as pl
import pytest

from headrace.sources import flights, incidents
from headrace.stats.label_rules import Breach, Counted, Limits, Summary, Watch, breaches, counted

DAY = 86_400_000_000
LIMITS = Limits(rate=4.5, volume=8.0, delay=8.0, unit=8.0, reference=28, at_least=7, labels=30, confirm=2)
USUAL = Summary(300, -1.4, 5.0, 2.8)


def told(blocks):
    """Return (block, rule) of what a watch makes of a list of summaries."""
    watch, found = Watch(), []
    for at, seen in enumerate(blocks):
        watch = watch.judge(at, seen, LIMITS)
        if watch.breach:
            found.append((at, watch.since, watch.breach.rule))
    return found


@pytest.mark.parametrize(
    ("odd", "rule"),
    [
        (USUAL._replace(constant=True), "constant"),
        (USUAL._replace(unit=2.8 + math.log(60)), "unit"),
        (USUAL._replace(rate=-6.4), "rate"),
        (USUAL._replace(delay=5.0 + math.log(24)), "delay"),
        (Summary(0), "volume"),
    ],
)
def test_each_rule_finds_its_fault_and_where_it_began(odd, rule):
    found = told([USUAL] * 10 + [odd] * 3 + [USUAL] * 3)
    assert {name for _, _, name in found} == {rule}
    assert {since for _, since, _ in found} == {10}
    assert [at for at, _, _ in found] == ([10, 11, 12] if rule in ("constant", "unit") else [11, 12])


def test_one_odd_day_is_weather_and_no_day_is_judged_without_a_reference():
    odd = USUAL._replace(rate=-6.4)
    assert told([USUAL] * 10 + [odd] + [USUAL] * 3) == []
    assert told([USUAL] * 6 + [odd] * 2) == []


def test_a_value_that_is_not_finite_is_counted_as_a_label_but_not_measured():
    values = np.array([1.0, np.nan, np.inf, -np.inf, 3.0])
    found = counted(np.zeros(5, np.bool_), values, np.full(5, np.nan))
    assert (found.labels, found.low, found.high, dict(found.delays)) == (5, 1.0, 3.0, {})
    assert sum(found.sizes.values()) == 2


def test_counts_add_up_in_any_order():
    chance = np.random.default_rng(1)
    values = chance.normal(0, 40, 600)
    whole = counted(values > 15, values, np.abs(values))
    parts = [counted(v > 15, v, np.abs(v)) for v in np.split(values, [7, 300, 301])]
    for order in (parts, parts[::-1]):
        merged = Counted()
        for part in order:
            merged = merged.plus(part)
        assert merged == whole


def test_dependent_days_break_a_contract_at_most_once_in_3650():
    """Days like flights' own: log odds with sd 0.9, log volume 0.25, log size 0.35, each with day-to-day correlation."""
    chance = np.random.default_rng(7)
    days, runs, kept = 365, 60, 0.6
    noise = chance.standard_normal((runs, days, 4))
    walk = np.empty_like(noise)
    walk[:, 0] = noise[:, 0]
    for day in range(1, days):
        walk[:, day] = kept * walk[:, day - 1] + math.sqrt(1 - kept**2) * noise[:, day]
    false = 0
    for run in walk:
        blocks = [
            Summary(int(300 * math.exp(0.25 * v)), -1.4 + 0.9 * r, 5 + 0.3 * d, 2.8 + 0.35 * u)
            for r, v, d, u in run.tolist()
        ]
        false += len({since for _, since, _ in told(blocks)})
    assert false <= runs * days / 3650
    shifted = [b._replace(unit=b.unit + math.log(60)) for b in blocks[-7:]]
    assert told([*blocks[:-7], *shifted])[0][1:] == (days - 7, "unit")


def stretches(arrivals):
    """Return origin and rule to (first day, last day) that a year of arrivals breaks its contract on."""
    seconds = (pl.col("landed_at") - pl.col("at")).dt.total_seconds()
    left = pl.DataFrame(flights.tables()["Departure"]).select(departure_id="event_id", at="pushed_back_at")
    rows = (
        pl.DataFrame(arrivals)
        .filter(pl.col("arr_delay").is_between(-240, 2880))
        .join(left, on="departure_id")
        .with_columns(day=(pl.col("landed_at").dt.epoch("us") - incidents.SINCE) // DAY, minutes=seconds / 60)
    )
    watches, found = {name: Watch() for name in ("EWR", "JFK", "LGA")}, {}
    days = dict(rows.group_by("day", "origin"))
    for day in range(rows["day"].min(), rows["day"].max() + 1):
        for name, before in watches.items():
            part = days.get((day, name))
            seen = Counted()
            if part is not None:
                delay = part["arr_delay"].to_numpy()
                seen = counted(delay > 15, delay, part["minutes"].to_numpy())
            watch = watches[name] = before.judge(day, seen.summary(LIMITS, classes=True), LIMITS)
            if watch.breach:
                found.setdefault((name, watch.breach.rule), []).append(day)
    return {key: (days[0], days[-1]) for key, days in found.items()}


def test_a_year_of_flights_breaks_no_contract_and_both_incidents_break_theirs_at_once():
    arrivals = flights.tables()["Arrival"]
    assert stretches(arrivals) == {}
    assert stretches(incidents.plant("labels-zero", arrivals)) == {("EWR", "constant"): (0, 9)}
    assert stretches(incidents.plant("units", arrivals)) == {("JFK", "unit"): (0, 6)}


def test_the_watch_comes_back_as_it_was():
    watch = Watch((USUAL,), 3, 2, "id", Breach("unit", 2.8, 6.9))
    assert Watch.restore(watch.state()) == watch
    assert breaches(USUAL, [], LIMITS) == []
