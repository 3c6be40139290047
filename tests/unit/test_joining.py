"""Joined texts are those of Arrow's own join."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.bus import joining
from headrace.bus.joining import joined

TEXTS = some.text(max_size=6)


@given(some.data(), some.integers(0, 7), some.sampled_from(["", "/", "::"]))
def test_columns_and_what_all_rows_share_are_joined_as_arrow_does(data, count, separator):
    column = some.lists(TEXTS, min_size=count + 2, max_size=count + 2).map(
        lambda told: pa.array(told, pa.string())[1 : count + 1]
    )
    parts = data.draw(some.lists(column | TEXTS, max_size=5))
    parts.insert(data.draw(some.integers(0, len(parts))), data.draw(column))
    assert joined(parts, separator).equals(pc.binary_join_element_wise(*parts, separator))


def test_more_than_a_column_can_hold_is_refused(monkeypatch):
    monkeypatch.setattr(joining, "MOST", 5)
    assert joined([pa.array(["x"]), "y"], "/").to_pylist() == ["x/y"]
    with pytest.raises(pa.ArrowCapacityError, match="2 GiB"):
        joined([pa.array(["x"] * 2), "y"], "/")
