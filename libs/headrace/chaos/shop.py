"""The synthetic keyed pipeline of the chaos runs, and its events as a function of seed and step."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headrace.pipeline.definition import Definition

STEP = 3_600_000_000
"""Microseconds of event time between two ticks."""
SHOPS = 500
_BAD, _TWICE, _ANSWERS = 0.01, 0.005, 0.1
_RECENT = 50
_TIME = {"type": "long", "logicalType": "timestamp-micros"}


@dataclass(frozen=True, slots=True)
class Event:
    """One raw record; ``kind`` is its right end: event, label, bad or duplicate. Without a row it is rubbish."""

    kind: str
    record: str
    id: str
    shop: str
    row: dict[str, Any] | None


_LEARNS: dict[str, Any] = {
    "training": {"train_after": 100, "every": "3h", "cooldown": "2h", "holdout": "1h"},
    "gates": {"min_rows": 10, "max_worse": 1.0},
    "rollout": {"mode": "direct"},
}
_LEARNS_NOT: dict[str, Any] = {"training": {"train_after": 100_000_000}}


def definition(partitions: int, *, learns: bool = False) -> Definition:
    """Return the pipeline: orders, answers to them, windows over both, one rule; and trainings, when it learns."""
    order = [("order_id", "string"), ("shop", "string"), ("amount", "double"), ("at", _TIME)]
    answer = [
        ("answer_id", "string"), ("order_id", "string"), ("shop", "string"), ("kept", "double"), ("at", _TIME),
    ]  # fmt: skip
    return Definition.model_validate(
        {
            "name": "chaos",
            "task": "binary",
            "partitions": partitions,
            "clock": {"kind": "source", "step": "1h"},
            "records": {
                "Order": _record("Order", order, role="event", id="order_id"),
                "Answer": _record("Answer", answer, role="label", id="answer_id", joins="order_id"),
            },
            "dedupe": "3h",
            "rules": [
                {"name": "amount-positive", "record": "Order", "column": "amount", "kind": "range", "minimum": 0},
            ],
            "label": {
                "record": "Answer", "sql": "CASE WHEN kept > 0.5 THEN 'kept' ELSE 'returned' END",
                "classes": ["returned", "kept"], "maturity": "2h",
            },
            "features": {
                "rows": [{"name": "amount", "sql": "amount"}],
                "windows": [
                    {"name": "kept_1h", "record": "Answer", "group_by": "shop", "value": "kept", "window": "1h", "tile": "10m"},
                    {"name": "orders_2h", "record": "Order", "group_by": "shop", "aggregate": "count", "window": "2h", "tile": "30m"},
                ],
            },
            "estimator": {"path": "sklearn.linear_model:LogisticRegression"},
            "prior": {"returned": 0.3, "kept": 0.7},
            "drift": {"retrain": False},
        }
        | (_LEARNS if learns else _LEARNS_NOT)
    )  # fmt: skip


def _record(name: str, fields: list[tuple[str, Any]], **more: str) -> dict[str, Any]:
    contract = {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}
    return {"contract": contract, "key": ["shop"], "time": "at", **more}


def events(seed: int, step: int, size: int) -> Iterator[Event]:
    """Yield the events of a step in the order of the log; about one in a hundred is bad, one in 200 comes twice."""
    chance = random.Random(seed * 1_000_003 + step)  # noqa: S311 -- a schedule, not a secret
    recent: list[Event] = []
    for n in range(size):
        at = step * STEP + n * STEP // size
        drawn = chance.random()
        if recent and drawn < _TWICE:
            again = chance.choice(recent)
            yield Event("duplicate", again.record, again.id, again.shop, again.row)
            continue
        event = _bad(chance, step, n, at) if drawn < _TWICE + _BAD else _good(chance, step, n, at, recent)
        if event.kind != "bad":
            recent = [*recent[1 - _RECENT :], event]
        yield event


def _bad(chance: random.Random, step: int, n: int, at: int) -> Event:
    shop, name = f"s{chance.randrange(SHOPS)}", f"b{step}-{n}"
    row = {"order_id": name, "shop": shop, "amount": -1.0, "at": at} if chance.random() < 0.5 else None  # noqa: PLR2004
    return Event("bad", "Order", name, shop, row)


def _good(chance: random.Random, step: int, n: int, at: int, recent: list[Event]) -> Event:
    asked = chance.choice(recent) if recent and chance.random() < _ANSWERS else None
    if asked is not None and asked.kind == "event":
        name, kept = f"a{step}-{n}", float(chance.random() < 0.7)  # noqa: PLR2004
        row = {"answer_id": name, "order_id": asked.id, "shop": asked.shop, "kept": kept, "at": at}
        return Event("label", "Answer", name, asked.shop, row)
    name, shop = f"o{step}-{n}", f"s{chance.randrange(SHOPS)}"
    amount = chance.randrange(10_000) / 100
    return Event("event", "Order", name, shop, {"order_id": name, "shop": shop, "amount": amount, "at": at})
