"""Events in JSON, asked of a contract without a broker."""

import json
from pathlib import Path

import pytest

from headrace.errors import UsageError
from headrace.sources import pipelines
from headrace.sources.validation import rows_of, validate

FLIGHTS = pipelines.find("flights", Path("pipelines"))
GOOD = {
    "event_id": "e", "carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "distance": 1400, "hour": 5,
    "weekday": 2, "scheduled_at": "2013-01-01T10:15:00Z", "departed_at": "2013-01-01T05:17:00-05:00", "dep_delay": 2,
    "pushed_back_at": 1357035420000000,
}  # fmt: skip


def ask(**changes):
    return validate(FLIGHTS, "Departure", [GOOD | changes])


def test_a_good_event_is_accepted_under_its_key():
    (answer,) = ask()
    assert (answer.verdict, answer.event_id, answer.entity_key, answer.rule) == (
        "accepted",
        "e",
        "UA:1545",
        "",
    )


@pytest.mark.parametrize(
    ("changes", "rule", "path"),
    [
        ({"departed_at": None}, "departed", "departed_at"),
        ({"hour": 24}, "hour-of-day", "hour"),
        ({"origin": "SFO"}, "new-york", "origin"),
        ({"carrier": None}, "decode", "carrier"),
        ({"carrier": 7}, "decode", "carrier"),
        ({"flight": 1.5}, "decode", "flight"),
        ({"flight": True}, "decode", "flight"),
        ({"flight": 2**31}, "decode", "flight"),
        ({"scheduled_at": "2013-01-01T10:15:00"}, "decode", "scheduled_at"),
        ({"scheduled_at": "soon"}, "decode", "scheduled_at"),
    ],
)
def test_a_bad_event_is_told_rule_and_path(changes, rule, path):
    (answer,) = ask(**changes)
    assert (answer.verdict, answer.rule, answer.path) == ("rejected", rule, path)


def test_a_field_that_the_contract_does_not_know_is_a_warning():
    warning = next(a for a in ask(dep_delays=3) if a.rule)
    assert (warning.verdict, warning.severity, warning.path) == ("accepted", "warn", "dep_delays")


def test_one_bad_event_harms_no_neighbour():
    answers = validate(
        FLIGHTS, "Departure", [GOOD, {}, GOOD | {"event_id": "f", "hour": 99}, GOOD | {"event_id": "g"}]
    )
    assert [a.row for a in answers if a.verdict == "accepted"] == [0, 3]
    assert {a.row for a in answers if a.verdict == "rejected"} == {1, 2}
    assert next(a.event_id for a in answers if a.row == 2) == "f"


def test_an_object_an_array_and_lines_are_read():
    one = json.dumps(GOOD)
    assert rows_of(one) == rows_of(f"[{one}]") == rows_of(json.dumps(GOOD, indent=2)) == [GOOD]
    assert rows_of(f"{one}\n{one}\n") == [GOOD, GOOD]
    for text in ("", "3", "{", "[1]"):
        with pytest.raises(UsageError):
            rows_of(text)
