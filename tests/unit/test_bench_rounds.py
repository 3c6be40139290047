"""Every way of the bench runs once before any runs again."""

from bench.results import Kept
from bench.rounds import Job, rounds
from headrace.errors import HeadraceError
from headrace.local.settings import CHECKOUT


def jobs(ran, failing=()):
    def once(name):
        ran.append(name)
        if name in failing:
            raise HeadraceError("no", "such peer")
        return {"turn": len(ran)}

    return [Job(name, 7, lambda name=name: once(name)) for name in "abc"]


def test_ways_take_turns_and_one_that_fails_is_left_out(tmp_path):
    ran = []
    found = rounds(jobs(ran, failing="b"), 3, Kept(tmp_path / "runs.json", CHECKOUT))
    assert "".join(ran) == "abcacac"
    assert [r["turn"] for r in found["c"].runs] == [3, 5, 7]
    assert (found["b"].runs, found["b"].missing) == ([], "failed: no")


def test_an_interrupted_bench_goes_on(tmp_path):
    kept, ran = tmp_path / "runs.json", []
    rounds(jobs([])[:2], 2, Kept(kept, CHECKOUT))
    found = rounds(jobs(ran), 2, Kept(kept, CHECKOUT))
    assert ran == ["c", "c"]
    assert [len(found[name].runs) for name in "abc"] == [2, 2, 2]
