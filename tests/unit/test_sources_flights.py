from pathlib import Path

import polars as pl
import pytest

from headrace.sources import flights, pipelines, source

DEFINITION = pipelines.find("flights", Path("pipelines"))
KNOWN_ONLY_LATER = {"arr_delay", "arr_time", "air_time", "landed_at"}


@pytest.fixture(scope="module")
def tables():
    return flights.tables()


@pytest.fixture(scope="module")
def steps(tables):
    return list(source.steps(DEFINITION, tables))


def test_the_year_has_the_counts_of_the_issue(tables):
    departures = pl.DataFrame(tables["Departure"])
    assert len(departures) == departures["event_id"].n_unique() == 336_776
    assert departures["departed_at"].null_count() == 8_255
    assert len(tables["Arrival"]) == 327_346
    accepted = set(departures.filter(pl.col("departed_at").is_not_null())["event_id"])
    answered = set(tables["Arrival"]["departure_id"].to_pylist())
    assert answered <= accepted
    assert len(accepted - answered) == 1_175


def test_a_departure_knows_nothing_of_its_landing(tables):
    assert not KNOWN_ONLY_LATER & set(tables["Departure"].schema.names)


def test_a_flight_after_midnight_lands_on_the_right_day(tables):
    # Scheduled 23:59 local on 1 February, pushed back 00:08 on the second (dep_time 8), 214 minutes in the air.
    departure = (
        pl.DataFrame(tables["Departure"]).filter(event_id="2013-02-01:B6:739:JFK:2359").row(0, named=True)
    )
    arrival = (
        pl.DataFrame(tables["Arrival"]).filter(departure_id="2013-02-01:B6:739:JFK:2359").row(0, named=True)
    )
    assert departure["scheduled_at"].isoformat() == "2013-02-02T04:59:00+00:00"
    assert (departure["departed_at"] - departure["scheduled_at"]).total_seconds() == departure[
        "dep_delay"
    ] * 60
    assert arrival["landed_at"] > departure["departed_at"]


def test_steps_hold_every_record_once_in_order(steps, tables):
    assert sum(map(len, steps)) == sum(map(len, tables.values()))
    assert [s.number for s in steps] == list(range(366))
    previous = (0, "")
    for step in steps:
        for place in _places(step):
            assert previous <= place
            previous = place
        assert previous[0] < step.time <= previous[0] + DEFINITION.clock.step


def _places(step):
    columns = {
        name: list(
            zip(_micros(batch[DEFINITION.records[name].time]), batch["event_id"].to_pylist(), strict=True)
        )
        for name, batch in step.batches.items()
    }
    return [columns[step.names[t]][r] for t, r in zip(step.types.tolist(), step.rows.tolist(), strict=True)]


def _micros(column):
    return column.cast("int64").to_pylist()


def test_a_shorter_year_is_a_prefix(steps, tables):
    until = steps[30].time
    short = list(source.steps(DEFINITION, tables, until=until))
    assert [len(s) for s in short] == [len(s) for s in steps[:31]]
    assert all(a.batches == b.batches for a, b in zip(short, steps, strict=False))


def test_a_step_begins_at_midnight_in_new_york(steps):
    assert {s.time % DEFINITION.clock.step for s in steps} == {5 * 3_600_000_000}
