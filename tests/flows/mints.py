"""A pipeline with a label contract: coins of two mints are tossed, and each answer says its side and how long it rolled."""

import random

import coins
from coins import HOUR, MINUTE, TIME, record, tossed

MINTS = ("east", "west")
TOSS = record("Toss", ("toss_id", "string"), ("mint", "string"), ("at", TIME), ("bias", "double"))
SIDE = record(
    "Side",
    ("side_id", "string"),
    ("toss_id", "string"),
    ("mint", "string"),
    ("at", TIME),
    ("rolled", "double"),
)


def pipeline(**changes):
    """Return the definition, with hour-long steps and blocks; a coin that rolls more than 15 seconds is a head."""
    return coins.pipeline(
        **{
            "name": "mints",
            "records": tossed(TOSS, SIDE),
            "label": {
                "record": "Side", "sql": "CASE WHEN rolled > 15 THEN 'head' ELSE 'tail' END",
                "classes": ["tail", "head"], "maturity": "2h",
                "contract": {
                    "slice": "mint", "value": "rolled", "block": "1h", "min_reference": 3, "reference_blocks": 5,
                    "min_labels": 10,
                },
            },
            "features": {
                "rows": [{"name": "bias", "sql": "bias"}, {"name": "mint", "sql": "mint", "kind": "category"}],
                "windows": [
                    {"name": "rolled_1h", "record": "Side", "group_by": "mint", "value": "rolled",
                     "aggregate": "mean", "window": "1h", "tile": "10m"},
                ],
            },
            "rollout": {"mode": "direct", "block": "1h"},
        }
        | changes
    )  # fmt: skip


def hour(number, *, broken=None, tosses=40):
    """Return an hour's tosses with their answers; those of the mint ``broken`` tell 60 times too much."""
    chance = random.Random(number)
    events = []
    for n in range(tosses):
        at, bias, mint = number * HOUR + n * MINUTE, chance.uniform(-3, 3), MINTS[n % 2]
        rolled = max(0.5, 15 + 4 * bias + chance.gauss(0, 2)) * (60 if mint == broken else 1)
        name = f"{number}-{n}"
        events.append(("Toss", {"toss_id": name, "mint": mint, "at": at, "bias": bias}))
        answer = {"side_id": f"s{name}", "toss_id": name, "mint": mint, "at": at + MINUTE, "rolled": rolled}
        events.append(("Side", answer))
    return sorted(events, key=lambda event: event[1]["at"])
