import math
from dataclasses import replace

import pytest

from headrace.pipeline.definition import Gates
from headrace.stats.gates import Evidence, judge, passed

GOOD = Evidence(loss=0.25, champion_loss=0.25, holdout_rows=200, artifact_bytes=1000)


def failed(evidence):
    return [gate.name for gate in judge(evidence, Gates()) if not gate.passed]


def test_an_equal_candidate_passes_every_gate():
    assert passed(judge(GOOD, Gates()))
    assert [gate.name for gate in judge(GOOD, Gates())] == [
        "loss_is_finite",
        "min_rows",
        "max_bytes",
        "loss_vs_champion",
    ]


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        ({"loss": 0.2501}, ["loss_vs_champion"]),
        ({"loss": math.nan}, ["loss_is_finite", "loss_vs_champion"]),
        ({"loss": math.inf, "champion_loss": None}, ["loss_is_finite"]),
        ({"holdout_rows": 199}, ["min_rows"]),
        ({"artifact_bytes": 50_000_001}, ["max_bytes"]),
        ({"batch_invariant": False}, ["batch_invariance"]),
        ({"batch_invariant": True}, []),
        ({"champion_loss": None}, []),
    ],
)
def test_a_fault_fails_its_gate_alone(change, gates):
    assert failed(replace(GOOD, **change)) == gates


def test_a_gate_shows_the_value_and_its_bound():
    gate = judge(replace(GOOD, loss=0.26), Gates(max_worse=0.02))[-1]
    assert (gate.passed, gate.value, gate.bound) == (True, pytest.approx(0.01), 0.02)
