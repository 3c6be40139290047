"""What ``headrace init`` reads out of a file, and where it stops and names a flag."""

import io
import json
import zipfile
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigurationError, UsageError
from headrace.features.rows import compile_rows
from headrace.sources import columns, drafting, inference, instants, leaks, pipelines, reading, tabular
from headrace.sources.flights import package_file
from headrace.sources.inference import Wishes
from headrace.sources.instants import Form

CSV = "when,shop,amount,colour,bought\n" + "".join(
    f"2024-01-{day:02d}T{hour:02d}:00:00Z,s{hour % 3},{(day * 7 + hour * 3) % 11},{'red' if (day + hour) % 2 else 'blue'},"
    f"{'yes' if (day * hour) % 3 == 0 else 'no'}\n"
    for day in range(1, 29)
    for hour in range(24)
)
SHOP = Wishes(key=["shop"], time="when", label="bought")


def sheet(tmp_path, text, name="data.csv", **how):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return tabular.read(path, **how)


def draft(tmp_path, text=CSV, wishes=SHOP, **how):
    return inference.infer(sheet(tmp_path, text, **how), wishes)


def wishes(**changes):
    return Wishes(**{"key": ["shop"], "time": "when", "label": "bought"} | changes)


def line(found, column):
    return next(line for line in found.lines if line.column == column)


# -- the file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path, separator):
    found = sheet(tmp_path, CSV.replace(",", separator))
    assert found.separator == separator
    assert found.frame.columns == ["when", "shop", "amount", "colour", "bought"]


def test_a_quoted_separator_does_not_count(tmp_path):
    found = sheet(tmp_path, 'a;b\n"x,y,z";1\n"u,v,w";2\n')
    assert found.separator == ";"
    assert found.frame["a"].to_list() == ["x,y,z", "u,v,w"]


def test_a_file_without_a_header_is_refused_with_the_flag(tmp_path):
    body = CSV.split("\n", 1)[1]
    with pytest.raises(UsageError, match="no header") as told:
        sheet(tmp_path, body)
    assert told.value.next_command == "name the columns: --columns c1,c2,c3,c4,c5"
    assert (
        sheet(tmp_path, body, columns=["when", "shop", "amount", "colour", "bought"]).frame.height == 28 * 24
    )


def test_a_header_of_words_only_is_told_by_the_missing_column(tmp_path):
    with pytest.raises(UsageError, match="has no column shop") as told:
        draft(tmp_path, "anna,paris\nberta,rome\n")
    assert "--columns" in told.value.next_command


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n1,2,3\n", "not a table"),
        (b"a,a\n1,2\n", "twice"),
        ("a,b\n1,\xe9\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, why):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UsageError, match=why):
        tabular.read(tmp_path / "x.csv")


def test_the_whole_file_is_read_not_its_head(tmp_path):
    text = CSV + "2024-02-01T00:00:00Z,s1,a lot,red,yes\n"
    assert line(draft(tmp_path, text), "amount").kind == "string"


def test_parquet_keeps_its_types(tmp_path):
    frame = pl.read_csv(io.StringIO(CSV), try_parse_dates=True)
    frame.write_parquet(tmp_path / "data.parquet")
    found = inference.infer(tabular.read(tmp_path / "data.parquet"), SHOP)
    assert [(line.column, line.kind) for line in found.lines][:3] == [
        ("when", "timestamp"),
        ("shop", "string"),
        ("amount", "long"),
    ]


# -- columns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", None, "-3"], "long", [1, None, -3]),
        (["1", "2.5"], "double", [1.0, 2.5]),
        (["1e3", "nan"], "double", [1000.0, None]),
        (["true", "False"], "boolean", [True, False]),
        (["007", "123"], "string", ["007", "123"]),
        (["99999999999999999999", "1"], "string", ["99999999999999999999", "1"]),
        ([None, None], "string", [None, None]),
    ],
)
def test_a_column_is_the_narrowest_kind_that_all_values_fit(cells, kind, values):
    found = columns.infer(pl.Series("c", cells, pl.String))
    assert (found.kind, found.values.to_list()) == (kind, values)


def test_a_decimal_comma_counts_only_where_commas_do_not_separate(tmp_path):
    text = "when;shop;amount;bought\n2024-01-01T00:00Z;a;1,5;yes\n2024-01-02T00:00Z;a;2,25;no\n"
    found = draft(tmp_path, text)
    assert line(found, "amount").assumption == "decimal comma"
    assert drafting.reading(found).tables(drafting.definition(found, "x"), found.sheet)["Event"][
        "amount"
    ].to_pylist() == [1.5, 2.25]
    assert columns.infer(pl.Series("c", ["1,5"])).kind == "string"


def test_a_literal_na_is_kept_and_the_flag_is_named(tmp_path):
    text = CSV.replace(",3,", ",NA,")
    assert "--null NA, then it is long" in line(draft(tmp_path, text), "amount").assumption
    found = draft(tmp_path, text, nulls=["NA"])
    assert line(found, "amount").kind == "long"
    assert line(found, "amount").nulls > 0


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1))
def test_whole_numbers_come_through_text_unchanged(numbers):
    cells = pl.Series("c", [None if n is None else str(n) for n in numbers], pl.String)
    assert columns.parse(cells, "long").to_list() == numbers


# -- times ------------------------------------------------------------------------------------------


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


# -- task and roles ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "task"),
    [
        (["yes", "no"], "binary"),
        (["0", "1"], "binary"),
        (["true", "false"], "binary"),
        (["a", "b", "c"], "multiclass"),
        (["1", "2", "3"], "multiclass"),
        (["1.5", "2.5", "3.5"], "regression"),
        ([str(n) for n in range(40)], "regression"),
    ],
)
def test_the_task_is_inferred(tmp_path, label, task):
    rows = "".join(
        f"2024-01-01T{n // 60:02d}:{n % 60:02d}Z,a,{label[n * 7 % len(label)]},{n * n % 11}\n"
        for n in range(200)
    )
    assert draft(tmp_path, "when,shop,bought,x\n" + rows).task == task


@pytest.mark.parametrize(
    ("label", "asked", "why"),
    [
        (["x"], None, "1 different values"),
        ([f"w{n}" for n in range(99)], None, "99 different texts"),
        (["a", "b", "c"], "binary", "3 classes"),
        (["a", "b"], "regression", "not a number"),
    ],
)
def test_a_label_that_does_not_fit_the_task_is_refused(tmp_path, label, asked, why):
    rows = "".join(f"2024-01-01T{n // 60:02d}:{n % 60:02d}Z,a,{label[n % len(label)]}\n" for n in range(200))
    with pytest.raises(UsageError, match=why):
        draft(tmp_path, "when,shop,bought\n" + rows, wishes(task=asked))


def test_every_column_has_a_role(tmp_path):
    found = draft(tmp_path)
    assert {line.column: line.role for line in found.lines} == {
        "when": "time", "shop": "key", "amount": "feature", "colour": "feature", "bought": "label",
    }  # fmt: skip
    assert line(draft(tmp_path, wishes=wishes(exclude=["colour"])), "colour").role == "left out"


def test_names_that_avro_does_not_know_are_mapped_and_shown(tmp_path):
    found = draft(tmp_path, CSV.replace("amount", "amount (€)").replace("colour", "1st colour"))
    assert line(found, "amount (€)").field == "amount"
    assert line(found, "1st colour").assumption == "a category; called _1st_colour"


@given(st.lists(st.text(), unique=True))
def test_mapped_names_are_legal_and_unique(names):
    mapped = inference.avro_names(names, {"event_id"})
    assert len(set(mapped.values())) == len(names)
    assert all(name.isascii() and name.isidentifier() and name != "event_id" for name in mapped.values())


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


# -- the files --------------------------------------------------------------------------------------


def test_what_is_written_is_a_pipeline(tmp_path):
    found = draft(tmp_path)
    written = drafting.write(found, "shops", tmp_path / "pipelines")
    definition = pipelines.find("shops", tmp_path / "pipelines")
    assert (definition.task, definition.event, definition.label.classes) == ("binary", "Event", ["no", "yes"])
    assert definition.digest == drafting.definition(found, "shops").digest
    assert sum(definition.prior.values()) == pytest.approx(1)
    assert all(path.exists() for path in written)
    example = json.loads((tmp_path / "pipelines/shops/Event.example.json").read_text())
    assert example["when"] == "2024-01-01T00:00:00+00:00"
    assert "bought" not in example
    with pytest.raises(UsageError, match="already"):
        drafting.write(found, "shops", tmp_path / "pipelines")
    with pytest.raises(UsageError, match="no pipeline"):
        drafting.write(found, "My Shops", tmp_path / "pipelines")


def test_ids_are_the_digest_and_the_row_unless_a_column_has_them(tmp_path):
    head, *rows = CSV.strip().split("\n")
    text = "\n".join([head + ",event_id", *(f"{row},n{n}" for n, row in enumerate(rows))]) + "\n"
    for asked, first in ((wishes(id="event_id"), "n0"), (wishes(exclude=["event_id"]), None)):
        found = draft(tmp_path, text, asked)
        tables = drafting.reading(found).tables(drafting.definition(found, "x"), found.sheet)
        assert tables["Event"]["event_id"][0].as_py() == (first or f"{found.sheet.digest[:12]}:1")
        assert tables["Answer"]["event_id"].to_pylist() == tables["Event"]["event_id"].to_pylist()
    with pytest.raises(UsageError, match="occurs twice"):
        draft(tmp_path, CSV, wishes(id="colour"))


def test_the_key_may_be_the_id(tmp_path):
    rows = "".join(f"2024-01-01T{n // 60:02d}:{n % 60:02d}Z,{n},{n % 2},{n % 5}\n" for n in range(200))
    found = draft(tmp_path, "when,trip,bought,x\n" + rows, wishes(key=["trip"], id="trip"))
    tables = drafting.reading(found).tables(drafting.definition(found, "trips"), found.sheet)
    assert tables["Answer"].schema.names == ["answer_id", "event_id", "trip", "answered_at", "bought"]
    assert tables["Event"]["trip"][7].as_py() == "7"


def test_an_event_without_a_label_has_no_answer(tmp_path):
    text = CSV.replace(",yes", ",", 3)
    found = draft(tmp_path, text)
    tables = drafting.reading(found).tables(drafting.definition(found, "x"), found.sheet)
    assert tables["Event"].num_rows - tables["Answer"].num_rows == 3


@pytest.mark.parametrize("delay", ["90s", "2d"])
def test_a_label_comes_after_its_delay(tmp_path, delay):
    found = draft(tmp_path, wishes=wishes(label_time=delay))
    definition = drafting.definition(found, "x")
    tables = drafting.reading(found).tables(definition, found.sheet)
    waits = pl.Series(tables["Answer"]["answered_at"]) - pl.Series(tables["Event"]["when"])
    assert set(waits.cast(pl.Int64)) == {found.label_delay}
    assert definition.label.maturity > found.label_delay


def test_a_label_time_before_the_event_is_refused(tmp_path):
    head, *rows = CSV.strip().split("\n")
    text = "\n".join([head + ",paid", *(f"{row},2024-01-20T00:00:00Z" for row in rows)]) + "\n"
    with pytest.raises(UsageError, match="paid lies before when"):
        draft(tmp_path, text, wishes(label_time="paid"))


@pytest.mark.parametrize(("rows", "minutes"), [(3_000, 1), (3_000, 60), (40_000, 15), (200, 1440)])
def test_the_step_makes_a_sensible_number_of_ticks(tmp_path, rows, minutes):
    start = 1_700_000_000
    body = "".join(f"{start + n * minutes * 60},a,{n % 2},{n * 7 % 11}\n" for n in range(rows))
    found = draft(tmp_path, "when,shop,bought,x\n" + body)
    ticks = (found.times.cast(pl.Int64) // drafting.step(found)).n_unique()
    assert 1 <= ticks <= 400
    assert rows / ticks >= 10


def test_another_file_is_read_the_same_way(tmp_path):
    found = draft(tmp_path)
    drafting.write(found, "shops", tmp_path / "p")
    definition, how = pipelines.find("shops", tmp_path / "p"), reading.load(tmp_path / "p", "shops")
    text = "when,shop,amount,colour,bought\n2025-01-01T00:00:00Z,s9,,green,no\n"
    tables = how.tables(definition, sheet(tmp_path, text, "more.csv"))
    assert (
        tables["Event"].to_pylist()[0] | {"amount": None, "colour": "green"} == tables["Event"].to_pylist()[0]
    )
    with pytest.raises(UsageError, match="do not fit") as told:
        how.tables(definition, sheet(tmp_path, text.replace(",,", ",many,"), "bad.csv"))
    assert told.value.why == "row 1: many"
    with pytest.raises(UsageError, match="has no column colour"):
        how.tables(definition, sheet(tmp_path, text.replace("colour", "color"), "bad.csv"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        reading.load(tmp_path / "p", "others")


@pytest.mark.parametrize("word", ["order", "select", "null", "group", "case", "amount"])
def test_a_column_may_be_called_like_a_word_of_sql(tmp_path, word):
    found = draft(tmp_path, CSV.replace("amount", word))
    definition = drafting.definition(found, "x")
    batch = drafting.reading(found).tables(definition, found.sheet)["Event"].to_batches()[0]
    assert compile_rows(definition)(batch)[word].to_pylist() == [float(v) for v in batch[word].to_pylist()]
