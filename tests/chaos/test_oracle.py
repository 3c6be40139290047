"""The oracle says what is wrong with topics that somebody made up, and tells what is lost from what is waiting."""

import hashlib
import json
from collections import Counter, defaultdict
from types import SimpleNamespace

import pytest

from headrace.chaos.oracle import ENDS, Oracle, differences
from headrace.chaos.readers import HEADER, seen

EVENTS = 4


class Topics:
    """A reader of topics that hold what a test says, all in one partition."""

    def __init__(self, held, committed):
        self._held, self._committed = held, committed

    def name(self, stream):
        return f"chaos.{stream}.v1"

    def messages(self, stream):
        return [
            SimpleNamespace(
                topic=lambda: self.name(stream),
                partition=lambda: 0,
                offset=lambda at=offset: at,
                key=lambda: b"k",
                value=lambda told=record: bytes(HEADER) + json.dumps(told).encode(),
            )
            for offset, record in enumerate(self._held.get(stream, ()))
        ]

    def record(self, value):
        return json.loads(value[HEADER:])

    def committed(self, service, stream):
        del stream
        return {0: self._committed[service]}


def answer(offset):
    return {"origin": {"partition": 0, "offset": offset}, "tick": 1}


def ledger(service, taken, **out):
    told = {f"chaos.{stream}.v1": n for stream, n in out.items()}
    return {
        "service": service, "partition": 0, "tick": 1, "records_in": taken, "records_out": told,
        "raw_from": 0, "raw_to": taken, "rejected": 0, "absorbed": 0,
    }  # fmt: skip


def head(tick):
    return {"tick": tick, "root": f"root {tick}", "service_entries": 3}


def right():
    """Return the topics of a run of one tick in which all is right."""
    answers = [answer(offset) for offset in range(EVENTS)]
    return {
        "events": [{}] * EVENTS,
        **dict.fromkeys(("validated", "features", "predictions"), answers),
        "ledger": [
            ledger("ingestion", EVENTS, validated=EVENTS),
            ledger("features", EVENTS, features=EVENTS),
            ledger("serving", EVENTS, predictions=EVENTS),
        ],
        "ticks": [{"n": 1, "time": 0, "reason": "step", "step": 0, "raw": {"0": EVENTS}}],
        "control.audit": [head(1)],
        "training.effects": [{"effect_id": "e"}],
        "training.effect-results": [{"effect_id": "e"}],
    }


@pytest.fixture
def judged(tmp_path):
    def judge(topics, *, stuck=False, **committed):
        reader = Topics(topics, committed)
        follower = SimpleNamespace(seen=defaultdict(hashlib.sha256), counted=Counter())
        for message in (m for stream in ENDS for m in reader.messages(stream)):
            follower.seen[message.topic(), message.partition()].update(seen(message))
        acked = tmp_path / "acked"
        acked.write_text("".join(f"0 {offset} event e{offset}\n" for offset in range(EVENTS)))
        return Oracle(reader, follower, stuck=stuck).judge(acked, {})

    return judge


def test_a_right_run_is_judged_right(judged):
    told = judged(right())
    assert (told["events"], told["lost"], told["duplicated"], told["objections"]) == (EVENTS, 0, 0, [])


@pytest.mark.parametrize(
    ("changed", "objection"),
    [
        ({"training.effect-results": []}, "training: 1 of 1 effects have no outcome"),
        ({"ticks": right()["ticks"] * 2}, "tick 1 stands where tick 2 belongs"),
        ({"control.audit": [head(1), head(3)]}, "the head of tick 3 is signed behind that of tick 1"),
        ({"ledger": [*right()["ledger"], ledger("monitoring", 0, outcomes=1)]}, "says 1 on outcomes"),
    ],
)
def test_what_the_others_did_wrong_is_named(judged, changed, objection):
    assert objection in " ".join(judged(right() | changed)["objections"])


def stopped(features):
    """Return a run that stopped when features had said this much."""
    without = {"features": [answer(offset) for offset in features], "predictions": [], "ledger": []}
    return right() | without


def test_what_a_stuck_run_has_not_taken_is_waiting(judged):
    told = judged(stopped([0, 1]), stuck=True, ingestion=EVENTS, features=2, serving=-1001)
    assert (told["lost"], told["objections"]) == (0, [])


def test_what_a_stuck_run_has_passed_is_lost(judged):
    told = judged(stopped([0, 1]), stuck=True, ingestion=EVENTS, features=3, serving=-1001)
    assert told["lost"] == 1
    assert told["objections"] == ["features lacks 1 records, first raw 0@2"]


def test_runs_are_compared_but_for_heads_that_only_one_of_them_has():
    calm = {"ledger": "a", "head of tick 1": "x", "head of tick 2": "y"}
    assert differences({"ledger": "a", "head of tick 1": "x"}, calm) == []
    assert differences({"ledger": "b", "head of tick 1": "z"}, calm) == [
        "head of tick 1 differs from the undisturbed run",
        "ledger differs from the undisturbed run",
    ]
