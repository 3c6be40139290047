"""The oracle of the bench against the plainest way to compute the same, and against planted faults."""

import numpy as np
import pytest

from bench.job import events
from bench.oracle import Verdict, answered, check, expected, features

EVENTS = events(3_000, keys=7)


def plain(rows):
    """Look at every earlier row of the device for every row."""
    found = []
    for n, row in enumerate(rows):
        earlier = [r for r in rows[:n] if r["device"] == row["device"]]
        seen = {
            (hours, tile): [
                round(r["amount"] * 100)
                for r in earlier
                if r["at"].timestamp() // tile > row["at"].timestamp() // tile - hours * 3600 // tile
            ]
            for hours, tile in ((1, 300), (6, 1800))
        }
        hour, six = seen[1, 300], seen[6, 1800]
        found.append([len(hour), sum(hour) / 100, sum(six) / 100])
    return np.array(found)


def test_windows_are_those_of_the_plain_way():
    rows = answered(EVENTS)[::4]
    assert np.array_equal(features(EVENTS, rows)[:, 5:], plain(EVENTS.columns.take(rows).to_pylist()))


def test_the_events_hold_what_the_job_says():
    rows = answered(EVENTS)
    ids = EVENTS.columns["id"].to_pylist()
    assert len(ids) - len(set(ids)) == 3
    assert 10 < len(ids) - 3 - len(rows) < 60


@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        (lambda scored, refused: (scored, refused), Verdict(0, 0, 0)),
        (lambda scored, refused: (scored[1:], refused), Verdict(1, 0, 0)),
        (lambda scored, refused: (scored, refused[1:]), Verdict(1, 0, 0)),
        (lambda scored, refused: ([*scored, scored[0]], refused), Verdict(0, 1, 0)),
        (lambda scored, refused: ([(scored[0][0], scored[0][1] + 1e-8), *scored[1:]], refused), Verdict(0, 0, 1)),
        (lambda scored, refused: ([*scored, (refused[0], 0.5)], refused), Verdict(0, 0, 1)),
    ],
)  # fmt: skip
def test_each_fault_is_counted(planted, seen):
    wanted = expected(EVENTS, lambda matrix: matrix[:, 1] / 100)
    scored, refused = planted(list(wanted.scores.items()), sorted(wanted.refused))
    assert check(wanted, scored, refused) == seen
