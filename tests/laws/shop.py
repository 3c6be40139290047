"""A small pipeline for laws: orders ask, returns answer; windows over returns, rules, and every kind of bad row."""

from typing import Any

from hypothesis import strategies as st

from headrace.pipeline.definition import Definition

MINUTE = 60_000_000
HOUR = 60 * MINUTE


def _record(name: str, fields: list[tuple[str, object]]) -> dict[str, object]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


TIME = {"type": "long", "logicalType": "timestamp-micros"}
ORDER = _record(
    "Order",
    [("order_id", "string"), ("shop", "string"), ("amount", ["null", "double"]), ("at", TIME)],
)
RETURN = _record(
    "Return",
    [("return_id", "string"), ("order_id", "string"), ("shop", "string"), ("kept", "double"), ("at", TIME)],
)

SHOP = Definition.model_validate(
    {
        "name": "shop",
        "task": "binary",
        "clock": {"kind": "source", "step": "1h"},
        "records": {
            "Order": {"contract": ORDER, "role": "event", "id": "order_id", "key": ["shop"], "time": "at"},
            "Return": {
                "contract": RETURN, "role": "label", "id": "return_id", "key": ["shop"], "time": "at", "joins": "order_id",
            },
        },
        "dedupe": "3h",
        "rules": [
            {"name": "amount-given", "record": "Order", "column": "amount", "kind": "required"},
            {"name": "amount-positive", "record": "Order", "column": "amount", "kind": "range", "minimum": 0},
            {"name": "big", "record": "Order", "column": "amount", "kind": "range", "maximum": 90, "severity": "warn"},
        ],
        "label": {
            "record": "Return", "sql": "CASE WHEN kept > 0.5 THEN 'kept' ELSE 'returned' END",
            "classes": ["returned", "kept"], "maturity": "2h",
        },
        "features": {
            "rows": [{"name": "amount", "sql": "amount"}, {"name": "shop", "sql": "shop", "kind": "category"}],
            "windows": [
                {"name": "kept_1h", "record": "Return", "group_by": "shop", "value": "kept", "window": "1h", "tile": "5m"},
                {"name": "orders_2h", "record": "Order", "group_by": "shop", "aggregate": "count", "window": "2h", "tile": "10m"},
            ],
        },
        "estimator": {"path": "sklearn.linear_model:LogisticRegression"},
        "prior": {"returned": 0.3, "kept": 0.7},
        "training": {"train_after": 1_000_000},
        "drift": {"retrain": False},
    }
)  # fmt: skip

_SHOPS = st.sampled_from(["a", "b", "c"])
_IDS = st.integers(0, 40).map(lambda n: f"o{n}")
_ORDERS = st.tuples(
    st.just("Order"),
    st.fixed_dictionaries(
        {
            "order_id": _IDS,
            "shop": _SHOPS,
            "amount": st.one_of(st.none(), st.floats(-5, 100, width=32)),
            "at": st.integers(0, 6 * 60),
        }
    ),
)
_RETURNS = st.tuples(
    st.just("Return"),
    st.fixed_dictionaries(
        {
            "return_id": st.integers(0, 40).map(lambda n: f"r{n}"),
            "order_id": _IDS,
            "shop": _SHOPS,
            "kept": st.floats(0, 1, width=32),
            "at": st.integers(0, 6 * 60),
        }
    ),
)
_BROKEN = st.tuples(st.just("!"), st.fixed_dictionaries({"bytes": st.binary(max_size=12)}))
_EVENT = st.one_of(_ORDERS, _ORDERS, _RETURNS, _BROKEN)
STEPS = st.lists(st.lists(_EVENT, max_size=25), min_size=1, max_size=4)


def timed(step: int, events: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Place a step's minutes in its hour, so that event time mostly follows the log but not always."""
    base = step * HOUR
    return [
        (name, row | {"at": base + row["at"] * MINUTE // 3} if name != "!" else row) for name, row in events
    ]
