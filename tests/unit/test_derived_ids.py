"""Ids of many rows at once are those of their parts one by one."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as some

from headrace.bus.refusals import derived_id, derived_ids

ROWS = some.lists(
    some.tuples(some.sampled_from(["a", "b/c", ""]), some.integers(0, 1), some.text(max_size=5))
)


@given(rows=ROWS, begin=some.lists(some.text(max_size=5), max_size=2))
def test_the_ids_of_columns_are_those_of_their_rows(rows, begin):
    texts, numbers, names = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [pa.array(texts, pa.string()), pa.array(numbers, pa.int32()), pa.array(names, pa.string())]
    found = derived_ids([*begin, *columns, "0"]).to_pylist()
    assert found == [derived_id(*begin, *row, "0") for row in rows]


@given(
    row=some.tuples(some.text(max_size=5), some.integers(-9, 9)),
    alike=some.tuples(some.booleans(), some.booleans()),
)
def test_it_does_not_matter_whether_many_rows_are_alike(row, alike):
    kinds = (pa.string(), pa.int64())
    columns = [[v] * 300 if same else [v, *[v * 2] * 299] for v, same in zip(row, alike, strict=True)]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    found = derived_ids([*arrays, "0"]).to_pylist()
    assert found == [derived_id(*parts, "0") for parts in zip(*columns, strict=True)]
