"""The overview: counts, lag and decisions as folds over the log."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts import catalogue
from headrace.telemetry.decisions import _TOLD, decision
from headrace.telemetry.overview import Overview, PipelineState

STAGES = ["ingestion/0", "ingestion/1", "serving/0"]


def entry(service: str, partition: int, tick: int, **changed: Any) -> dict[str, Any]:
    counts = {"records_in": 3, "rejected": 1, "absorbed": 0, "records_out": {}}
    return {"pipeline": "p", "service": service, "partition": partition, "tick": tick, **counts, **changed}


def state(ticks: int, entries: list[dict[str, Any]]) -> PipelineState:
    overview = Overview()
    overview.take("PipelineRegistered", {"pipeline": "p", "tick": -1, "stages": STAGES}, 0)
    for n in range(1, ticks + 1):
        overview.take("Tick", {"pipeline": "p", "n": n, "time": n}, n * 1_000)
    for e in entries:
        overview.take("LedgerEntry", e, e["tick"] * 1_000 + 10)
    return overview.pipelines["p"]


def test_a_second_entry_for_a_tick_counts_for_nothing() -> None:
    once = [entry("ingestion", 0, 1)]
    assert state(1, once * 2).report(0) == state(1, once).report(0)


def test_lag_is_told_in_ticks_and_in_seconds_since_the_first_open_one() -> None:
    seen = state(5, [entry("ingestion", p, n) for n in (1, 2) for p in (0, 1)] + [entry("ingestion", 0, 3)])
    assert seen.lag("ingestion", now=10_000) == (3, 7.0)
    assert seen.lag("serving", now=10_000) == (5, 9.0)


def test_a_service_that_closed_the_last_tick_does_not_lag_however_late_it_is() -> None:
    seen = state(2, [entry("serving", 0, n) for n in (1, 2)])
    assert seen.lag("serving", now=10_000_000) == (0, 0.0)


def test_times_of_ticks_are_forgotten_once_all_have_closed_them() -> None:
    entries = [
        entry(*stage.split("/"), n) | {"partition": int(stage[-1])} for n in (1, 2) for stage in STAGES
    ]
    assert sorted(state(3, entries).issued) == [3]


def test_events_are_those_refused_and_those_with_features() -> None:
    entries = [
        entry("ingestion", 0, 1, records_in=9, rejected=2, records_out={"p.validated.v1": 7}),
        entry("features", 0, 1, records_out={"p.features.v1": 4}),
        entry("serving", 0, 1, records_out={"p.predictions.v1": 4, "p.profiles.v1": 1}),
    ]
    told = state(1, entries).report(0)
    assert (told["events"], told["rejected"], told["predictions"], told["records"]) == (6, 2, 4, 9)


def test_the_rate_forgets_what_is_long_past() -> None:
    seen = state(1, [entry("ingestion", 0, 1, records_in=500)])
    assert seen.rate(now=2_000) == 50.0
    assert seen.rate(now=60_000) == 0.0


def test_the_champion_follows_promotions_and_rollbacks() -> None:
    overview = Overview()
    for record, version in (("Promoted", 1), ("ShadowStarted", 2), ("Promoted", 2), ("RolledBack", 1)):
        example = catalogue.example(record)
        overview.take(record, {**example, "pipeline": "p", "model_name": "departures", "version": version}, 0)
    (told,) = overview.report(0)
    assert (told["champion"], told["challenger"]) == ("departures v1", None)
    assert told["decisions"] == {"Promoted": 2, "ShadowStarted": 1, "RolledBack": 1}


def test_every_decision_has_a_sentence_made_of_its_contract() -> None:
    for record in _TOLD:
        found = decision(record, catalogue.example(record), 5)
        assert found is not None
        assert found.text
        assert found.appended == 5


def test_what_decides_nothing_is_no_decision() -> None:
    assert decision("AliasMoved", catalogue.example("AliasMoved"), 0) is None


@given(st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_of_lanes_does_not_matter(ticks: int, chance: random.Random) -> None:
    lanes = [("ingestion", 0), ("ingestion", 1), ("serving", 0)]
    todo = {lane: list(range(1, ticks + 1)) for lane in lanes}
    mixed = []
    while left := [lane for lane in lanes if todo[lane]]:
        lane = chance.choice(left)
        mixed.append(entry(*lane, todo[lane].pop(0)))
    straight = [entry(*lane, n) for n in range(1, ticks + 1) for lane in lanes]
    assert state(ticks, mixed).report(0) == state(ticks, straight).report(0)


def receipt(offset: int, severity: str, partition: int = 0) -> dict[str, Any]:
    return {"pipeline": "p", "severity": severity, "origin": {"partition": partition, "offset": offset}}


def test_an_event_counts_as_quarantined_once_however_many_rules_say_so() -> None:
    overview = Overview()
    for told in (
        receipt(1, "warn"),
        receipt(2, "quarantine"),
        receipt(2, "quarantine"),
        receipt(2, "quarantine", 1),
        receipt(3, "reject"),
        receipt(4, "quarantine"),
    ):
        overview.take("Receipt", told, 0)
    assert overview.pipelines["p"].report(0)["quarantined"] == 3
