"""A column that knows the label is told from one that helps to guess it."""

import zipfile

import polars as pl
import pytest
from sheets import CSV, draft, line, wishes

from headrace.errors import UsageError
from headrace.sources import leaks
from headrace.sources.flights import package_file


def test_a_column_that_knows_the_label_is_left_out_until_it_is_named(tmp_path):
    head, *rows = CSV.strip().split("\n")
    text = (
        "\n".join([head + ",invoice", *(f"{row},{17 if row.endswith('yes') else 3}" for row in rows)]) + "\n"
    )
    assert draft(tmp_path, text).leaks == {"invoice": "explains 100% of the label by itself"}
    kept = draft(tmp_path, text, wishes(include=["invoice"]))
    assert (kept.leaks, line(kept, "invoice").role) == ({}, "feature")


def test_flights_show_their_leaks():
    with zipfile.ZipFile(package_file("flights.csv.zip")) as archive:
        raw = pl.read_csv(archive.read("flights.csv"), null_values="NA")
    late = (raw["arr_delay"] > 15).cast(pl.String)
    asked = ["arr_delay", "arr_time", "air_time", "dep_delay", "dep_time", "carrier", "hour"]
    suspicious = {name for name in asked if leaks.suspicion(raw[name], late)}
    assert suspicious == {"arr_delay", "arr_time", "air_time"}


def test_a_file_of_leaks_only_is_refused_with_the_flag(tmp_path):
    rows = "".join(f"2024-01-01T{n // 60:02d}:{n % 60:02d}Z,a,{n % 7 * 2.5},{n % 7}\n" for n in range(200))
    with pytest.raises(UsageError, match="no column is left") as told:
        draft(tmp_path, "when,shop,bought,copy\n" + rows)
    assert "--include copy" in told.value.why


def test_chance_is_no_leak():
    rows = pl.int_range(5_000, eager=True)
    label = (rows.hash(1) % 2).cast(pl.String)
    for column in (rows, rows.hash(2), rows.cast(pl.String), (rows % 7).cast(pl.String)):
        assert leaks.suspicion(column, label) == ""


def test_a_copy_with_a_long_tail_is_a_leak():
    label = pl.Series([float(n % 10 + 1000 * (n % 997 == 0) * n) for n in range(3_000)])
    assert "explains" in leaks.suspicion(label * 2 + 1, label)
