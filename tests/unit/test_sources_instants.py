"""Times as people write them, and where a guess would be wrong."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UsageError
from headrace.sources import instants
from headrace.sources.instants import Form


def micros(cells, **how):
    series = pl.Series("when", cells)
    return instants.parse(series, instants.infer(series, **how)).cast(pl.Int64).to_list()


@pytest.mark.parametrize(
    ("cell", "how"),
    [
        ("2013-01-31T06:05:00Z", {}),
        ("2013-01-31 07:05+01:00", {}),
        ("2013-01-31T01:05:00.000-0500", {}),
        ("2013-01-31 01:05", {"tz": "America/New_York"}),
        ("2013/01/31 06:05:00", {"tz": "UTC"}),
        ("31/01/2013 06:05", {"tz": "UTC"}),
        ("01/31/2013 06:05", {"tz": "UTC"}),
        ("31.1.2013 06:05", {"tz": "UTC"}),
        ("31.01.13 06:05", {"tz": "UTC", "time_format": "%d.%m.%y %H:%M"}),
        ("31 Jan 2013 07:05 +0100", {"time_format": "%d %b %Y %H:%M %z"}),
        ("1359612300", {}),
        ("1359612300000", {}),
    ],
)
def test_many_ways_to_write_one_instant(cell, how):
    assert micros([cell], **how) == [1_359_612_300_000_000]


def test_a_day_and_month_that_could_be_swapped_stop():
    with pytest.raises(UsageError, match="day first or month first") as told:
        micros(["01/02/2013", "03/04/2013"], tz="UTC")
    assert "--time-format day-first" in told.value.next_command
    assert micros(["01/02/2013", "03/04/2013"], tz="UTC", time_format="month-first") == micros(
        ["2013-01-02", "2013-03-04"], tz="UTC"
    )
    assert micros(["01/02/2013", "13/04/2013"], tz="UTC") == micros(["2013-02-01", "2013-04-13"], tz="UTC")


def test_a_naive_time_stops():
    with pytest.raises(UsageError, match="no zone") as told:
        micros(["2013-01-01 06:00"])
    assert "--tz" in told.value.next_command


@pytest.mark.parametrize(
    ("cells", "row"), [(["2013-01-01Z", "soon"], "row 2: soon"), (["2013"], "row 1: 2013")]
)
def test_what_is_no_time_is_shown(cells, row):
    with pytest.raises(UsageError, match="no times") as told:
        micros(cells)
    assert row in told.value.why


def test_the_hour_that_summer_skips_is_refused_and_the_one_it_repeats_is_the_first():
    with pytest.raises(UsageError, match="do not exist"):
        micros(["2013-03-10 02:30"], tz="America/New_York")
    assert micros(["2013-11-03 01:30"], tz="America/New_York") == micros(["2013-11-03 01:30-04:00"])


@given(st.datetimes(min_value=datetime(1990, 1, 1)))  # noqa: DTZ001 - the zone is the text's
def test_iso_times_come_through_text_unchanged(moment):
    series = pl.Series("when", [moment.isoformat() + "Z"])
    assert instants.parse(series, Form("iso"))[0].replace(tzinfo=None) == moment
