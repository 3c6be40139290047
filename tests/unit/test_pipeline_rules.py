"""Rules, labels and row features: what a contract says of columns."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.arrow import arrow_schema
from headrace.errors import ConfigurationError
from headrace.features.rows import compile_rows
from headrace.pipeline.expressions import NUMBER, TEXT, TRUTH, compile_sql
from headrace.pipeline.labels import compile_label
from headrace.pipeline.rules import checker
from headrace.pipeline.schemas import raw_schema
from headrace.sources import pipelines

FLIGHTS = pipelines.find("flights", Path("pipelines"))
SCHEMA = pa.schema({"x": pa.float64(), "n": pa.int32(), "word": pa.string()})
GOOD = {
    "event_id": "e", "carrier": "UA", "flight": 1, "origin": "EWR", "dest": "IAH", "tailnum": None, "distance": 1400,
    "hour": 5, "weekday": 2, "scheduled_at": 0, "departed_at": 0, "dep_delay": 2.0, "pushed_back_at": 0,
}  # fmt: skip
ARRIVAL = {
    "event_id": "e:arrival", "departure_id": "e", "carrier": "UA", "flight": 1, "origin": "EWR", "dest": "IAH",
    "landed_at": 0, "arr_delay": 11.0, "dep_delay": 2.0,
}  # fmt: skip


def departures(*changes):
    return pa.RecordBatch.from_pylist(
        [GOOD | c for c in changes], schema=arrow_schema(raw_schema(FLIGHTS, "Departure"))
    )


def arrivals(*changes):
    return pa.RecordBatch.from_pylist(
        [ARRIVAL | c for c in changes], schema=arrow_schema(raw_schema(FLIGHTS, "Arrival"))
    )


def with_rules(*rules):
    written = [{"name": f"r{n}", "record": "Departure", **rule} for n, rule in enumerate(rules)]
    return type(FLIGHTS).model_validate(FLIGHTS.model_dump() | {"rules": written})


def broken(definition, batch):
    return [(v.rule, v.rows.tolist(), v.severity) for v in checker(definition, "Departure")(batch)]


def test_a_cancelled_flight_is_turned_down_with_a_reason():
    (violation,) = checker(FLIGHTS, "Departure")(departures({}, {"departed_at": None, "dep_delay": None}, {}))
    assert (violation.rule, violation.rows.tolist(), violation.actual) == ("departed", [1], ["null"])
    assert (violation.path, violation.expected) == ("departed_at", "a value")
    assert "cancelled" in violation.hint


def test_a_row_counts_for_the_first_rule_it_breaks():
    bad = {"departed_at": None, "hour": 99, "origin": "SFO"}
    found = checker(FLIGHTS, "Departure")(departures(bad, {"hour": 99, "origin": "SFO"}, {"origin": "SFO"}))
    assert [(v.rule, v.rows.tolist()) for v in found] == [
        ("departed", [0]),
        ("hour-of-day", [1]),
        ("new-york", [2]),
    ]
    assert [v.actual for v in found] == [["null"], ["99"], ["SFO"]]


def test_a_warning_tells_only_of_rows_that_stay():
    definition = with_rules(
        {"column": "hour", "kind": "range", "maximum": 20, "severity": "warn"},
        {"column": "hour", "kind": "range", "maximum": 22},
    )
    batch = departures({"hour": 21}, {"hour": 23}, {"hour": 20})
    assert broken(definition, batch) == [("r1", [1], "reject"), ("r0", [0], "warn")]


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        ({"column": "dep_delay", "kind": "range", "minimum": 0}, [-1.0, float("nan")], [0.0, None]),
        ({"column": "flight", "kind": "enum", "values": ["1", "2"]}, [3], [1, 2]),
        ({"column": "tailnum", "kind": "regex", "pattern": "^N[0-9]"}, ["X1", ""], ["N1", None]),
        ({"column": "tailnum", "kind": "required"}, [None], [""]),
        ({"column": "dep_delay", "kind": "expression", "sql": "dep_delay < distance"}, [1400.0], [1.0, None]),
    ],
)
def test_each_kind_of_rule(rule, bad, good):
    values = [{rule["column"]: v} for v in [*bad, *good]]
    found = broken(with_rules(rule), departures(*values))
    assert found == [("r0", list(range(len(bad))), "reject")]


@given(st.lists(st.tuples(st.none() | st.floats(), st.integers(-5, 30)), max_size=20), st.integers(0, 20))
def test_where_a_batch_is_cut_changes_no_verdict(values, cut):
    check = checker(FLIGHTS, "Departure")
    batch = departures(*({"dep_delay": delay, "hour": hour} for delay, hour in values))
    whole = verdicts(check(batch), 0)
    parts = verdicts(check(batch.slice(0, cut)), 0) | verdicts(check(batch.slice(cut)), cut)
    assert whole == parts


def verdicts(violations, start):
    return {int(r) + start: (v.rule, a) for v in violations for r, a in zip(v.rows, v.actual, strict=True)}


def test_a_label_is_its_class():
    label = compile_label(FLIGHTS)
    assert label(arrivals({"arr_delay": 15.0}, {"arr_delay": 15.5})).to_pylist() == ["on_time", "late"]


def test_a_label_outside_the_classes_is_turned_down():
    changed = FLIGHTS.model_dump()
    changed["label"]["sql"] = "dest"
    changed["label"]["classes"] = ["IAH", "MIA"]
    check = checker(type(FLIGHTS).model_validate(changed), "Arrival")
    (violation,) = check(arrivals({}, {"dest": "XXX"}))
    assert (violation.rule, violation.rows.tolist(), violation.actual) == ("label", [1], ["XXX"])


def test_row_features_come_in_order_and_in_type():
    out = compile_rows(FLIGHTS)(departures({}, {"dep_delay": None}))
    assert out.schema.names == [f.name for f in FLIGHTS.features.rows]
    assert out.to_pylist()[0] | {"dep_delay": 2.0, "carrier": "UA", "hour": 5.0} == out.to_pylist()[0]
    assert out["dep_delay"].to_pylist() == [2.0, None]
    assert {str(t) for t in out.schema.types} == {"double", "string"}


def test_expressions_give_the_type_asked_for():
    batch = pa.RecordBatch.from_pylist(
        [{"x": 1.5, "n": 2, "word": "a"}, {"x": None, "n": 3, "word": None}], schema=SCHEMA
    )
    ask = {
        "half": ("n / 2", NUMBER),
        "one": ("1", NUMBER),
        "up": ("UPPER(word)", TEXT),
        "big": ("x > 1", TRUTH),
    }
    out = compile_sql(ask, SCHEMA)(batch)
    assert out.to_pydict() == {"half": [1.0, 1.5], "one": [1.0, 1.0], "up": ["A", None], "big": [True, None]}
    assert compile_sql(ask, SCHEMA)(batch.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize(
    ("sql", "kind", "why"),
    [
        ("x - AVG(x)", NUMBER, "beyond its own row"),
        ("SUM(x) OVER (PARTITION BY word)", NUMBER, "beyond its own row"),
        ("RANK() OVER (ORDER BY x)", NUMBER, "beyond its own row"),
        ("COUNT(*)", NUMBER, "beyond its own row"),
        ("x > EXTRACT(hour FROM NOW())", TRUTH, "asks the clock"),
        ("word", NUMBER, "kind: category"),
        ("x", TRUTH, "comparison"),
        ("nope + 1", NUMBER, "nope"),
        ("x +", NUMBER, "does not work"),
    ],
)
def test_what_an_expression_may_not_do(sql, kind, why):
    with pytest.raises(ConfigurationError, match=why):
        compile_sql({"f": (sql, kind)}, SCHEMA)


@given(
    st.lists(st.tuples(st.none() | st.floats(allow_nan=False), st.integers(-9, 9)), min_size=1, max_size=12)
)
def test_an_expression_says_the_same_of_a_row_alone(values):
    apply = compile_sql({"f": ("CASE WHEN x > n THEN x * 2 ELSE n END", NUMBER)}, SCHEMA)
    batch = pa.RecordBatch.from_pylist([{"x": x, "n": n, "word": ""} for x, n in values], schema=SCHEMA)
    alone = [apply(batch.slice(i, 1)).column(0)[0].as_py() for i in range(len(values))]
    assert np.array_equal(
        np.array(apply(batch).column(0).to_pylist(), float), np.array(alone, float), equal_nan=True
    )


def test_a_time_is_fresh_between_its_bounds_and_without_a_tick_nobody_asks():
    rule = {"column": "pushed_back_at", "kind": "freshness", "within": "2s", "ahead": "1s"}
    batch = departures(*({"pushed_back_at": second * 1_000_000} for second in (7, 8, 10, 11, 12)))
    check = checker(with_rules(rule), "Departure")
    ((rows, expected),) = [(v.rows.tolist(), v.expected) for v in check(batch, 10_000_000)]
    assert (rows, expected) == ([0, 4], "a time at most 2s behind and 1s ahead of the tick before the event")
    assert check(batch) == []


@pytest.mark.parametrize("rule", [{"column": "hour", "within": "2s"}, {"column": "pushed_back_at"}])
def test_freshness_needs_a_time_and_a_bound(rule):
    with pytest.raises(ConfigurationError, match="needs a column of times"):
        checker(with_rules(rule | {"kind": "freshness"}), "Departure")


def test_a_reference_set_is_a_list_beside_the_pipeline_file(tmp_path):
    text = Path("pipelines/flights.yaml").read_text().replace("kind: enum", "kind: reference")
    (tmp_path / "flights.yaml").write_text(text.replace("[EWR, JFK, LGA]", "airports.txt"))
    (tmp_path / "airports.txt").write_text("EWR\nJFK\n\n")
    (tmp_path / "flights").symlink_to(Path("pipelines/flights").absolute())
    definition = pipelines.find("flights", tmp_path)
    (violation,) = checker(definition, "Departure")(departures({}, {"origin": "LGA"}))
    assert (violation.rows.tolist(), violation.expected) == ([1], "one of the 2 values of the reference set")
