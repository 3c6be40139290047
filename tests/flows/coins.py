"""A pipeline that can be learnt: a toss with a bias it shows, and its side an hour's part later."""

import random

from headrace.pipeline.definition import Definition

MINUTE = 60_000_000
HOUR = 60 * MINUTE
TIME = {"type": "long", "logicalType": "timestamp-micros"}


def record(name, *fields):
    """Return an Avro record schema."""
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


TOSS = record("Toss", ("toss_id", "string"), ("at", TIME), ("bias", "double"))
SIDE = record("Side", ("side_id", "string"), ("toss_id", "string"), ("at", TIME), ("side", "string"))


def tossed(toss, side):
    """Return the two record types of a coin's pipeline, by their contracts."""
    return {
        "Toss": {"contract": toss, "role": "event", "id": "toss_id", "key": ["toss_id"], "time": "at"},
        "Side": {
            "contract": side, "role": "label", "id": "side_id", "key": ["toss_id"], "time": "at", "joins": "toss_id",
        },
    }  # fmt: skip


def pipeline(**changes):
    """Return the definition, with hour-long steps and blocks."""
    return Definition.model_validate(
        {
            "name": "coins",
            "task": "binary",
            "clock": {"kind": "source", "step": "1h"},
            "records": tossed(TOSS, SIDE),
            "label": {"record": "Side", "sql": "side", "classes": ["tail", "head"], "maturity": "2h"},
            "features": {"rows": [{"name": "bias", "sql": "bias"}]},
            "estimator": {"path": "sklearn.linear_model:LogisticRegression"},
            "prior": {"tail": 0.5, "head": 0.5},
            "training": {"train_after": 100, "cooldown": "2h", "holdout": "1h"},
            "gates": {"min_rows": 10, "max_worse": 1.0},
            "rollout": {"mode": "direct"},
        }
        | changes
    )  # fmt: skip


def hour(number, tosses=60):
    """Return an hour's tosses; nine in ten are answered within it, the others in the next."""
    chance = random.Random(number)
    events = []
    for n in range(tosses):
        at, bias = number * HOUR + n * MINUTE // 2, chance.uniform(-3, 3)
        side = "head" if bias + chance.gauss(0, 1) > 0 else "tail"
        name = f"{number}-{n}"
        events.append(("Toss", {"toss_id": name, "at": at, "bias": bias}))
        late = 0 if n % 10 else HOUR
        answer = {"side_id": f"s{name}", "toss_id": name, "at": at + MINUTE + late, "side": side}
        events.append(("Side", answer))
    return events


def hours(count):
    """Return the events of each hour, in the order of their times."""
    everything = [event for number in range(count) for event in hour(number)]
    everything.sort(key=lambda event: event[1]["at"])
    return [[e for e in everything if e[1]["at"] // HOUR == number] for number in range(count)]
