"""The kind of a column, and the values that its cells stand for."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sheets import CSV, draft, line

from headrace.sources import columns, drafting


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
