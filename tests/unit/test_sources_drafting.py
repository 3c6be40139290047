"""What ``headrace init`` writes is a pipeline, and reads other files the same way."""

import json

import polars as pl
import pytest
from sheets import CSV, draft, sheet, wishes

from headrace.errors import ConfigurationError, UsageError
from headrace.features.rows import compile_rows
from headrace.sources import drafting, pipelines, reading


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
