import json
from types import SimpleNamespace

import pytest

from headrace.stats.guard import GuardState, Request, decide

DAY = 86_400_000_000
POLICY = SimpleNamespace(cooldown=14 * DAY, budget=3)


def ask(state, at, request_id, trigger="drift"):
    return decide(state, Request(request_id, trigger), at, POLICY)


def trained(state, at, request_id):
    state, decision = ask(state, at, request_id)
    assert decision.action == "train"
    return state.finished(request_id)


def test_a_thousand_requests_in_a_minute_make_one_training():
    state, trainings = GuardState(), 0
    for n in range(1000):
        state, decision = ask(state, n * 60_000, f"r{n}")
        trainings += decision.action == "train"
        state = state.finished(f"r{n - 3}")
    assert trainings == 1


@pytest.mark.parametrize("paused", [False, True])
def test_a_request_is_answered_once(paused):
    state, first = ask(GuardState(paused=paused), 0, "r")
    assert first.action == ("refuse" if paused else "train")
    _, again = ask(state.finished("r").pausing(paused=False), 100 * DAY, "r")
    assert again.reason.startswith("duplicate")


def test_one_training_runs_at_a_time_even_for_an_operator():
    state, _ = ask(GuardState(), 0, "a")
    assert ask(state.finished("other"), 20 * DAY, "b", "operator")[1].reason.startswith(
        "in flight: the training for request a"
    )
    assert ask(state.finished("a"), 20 * DAY, "b")[1].action == "train"


def test_the_cooldown_binds_all_but_the_operator():
    state = trained(GuardState(), 0, "a")
    assert (
        ask(state, 14 * DAY - 1, "b")[1].reason
        == "cooldown: the next training may start at 1970-01-15T00:00:00+00:00"
    )
    assert ask(state, DAY, "b", "operator")[1].action == "train"
    assert ask(state, 14 * DAY, "b")[1].action == "train"


def test_the_budget_is_per_365_days():
    state = GuardState()
    for n in range(3):
        state = trained(state, n * 20 * DAY, f"r{n}")
    assert ask(state, 364 * DAY, "x", "operator")[1].reason.startswith("budget: 3 trainings")
    assert ask(state, 365 * DAY, "x")[1].action == "train"


def test_a_pause_refuses_until_resumed():
    state = GuardState().pausing(paused=True)
    state, decision = ask(state, 0, "a", "operator")
    assert decision.reason.startswith("paused")
    assert ask(state.pausing(paused=False), 0, "b")[1].action == "train"


def test_the_state_is_plain_json():
    state, _ = ask(trained(GuardState(), 0, "a"), 20 * DAY, "b")
    assert GuardState.restore(json.loads(json.dumps(state.state()))) == state
