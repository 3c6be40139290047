"""What a file is taken for, and where it stops and names a flag."""

import io

import polars as pl
import pytest
from sheets import CSV, SHOP, draft, line, sheet

from headrace.errors import UsageError
from headrace.sources import inference, tabular


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
