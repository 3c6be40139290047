"""What is said of an open transaction, by its coordinator's records."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.decisions import GOING, Status, Step, step
from headrace.bus.markers import Writer
from headrace.bus.torn import State, judged

HERE, THERE = ("shop.validated.v1", 1), ("shop.validated.v1", 0)
OPEN = Writer(HERE, 7, 3, 10, 0, 100)
STEPS = st.builds(
    Step,
    st.just("headrace.ingestion.0"),
    st.just(7),
    st.integers(1, 5),
    st.sampled_from(Status),
    st.frozensets(st.sampled_from([HERE, THERE])),
    st.just(0),
)


def made(epoch, status, *places):
    return Step("headrace.ingestion.0", 7, epoch, status, frozenset(places), 0)


@given(st.lists(STEPS))
def test_what_its_coordinator_still_works_on_is_never_torn(history):
    said = judged(OPEN, history)
    if history and history[-1].status in GOING and HERE in history[-1].places:
        assert said.state is State.OPEN


@given(st.lists(STEPS))
def test_a_torn_one_has_the_last_decision_that_names_its_partition(history):
    said = judged(OPEN, history)
    named = [s for s in history if s.status in {2, 3} and HERE in s.places and s.epoch >= OPEN.epoch]
    assert (said.state is State.TORN) <= (said.decision is not None and said.decision is named[-1])
    assert (said.decision is None) == (said.state is not State.TORN)


def test_an_abort_that_fenced_its_owner_is_the_decision():
    history = [
        made(3, Status.ONGOING, HERE), made(4, Status.PREPARE_ABORT, HERE), made(4, Status.COMPLETE_ABORT),
        made(5, Status.EMPTY),
    ]  # fmt: skip
    said = judged(OPEN, history)
    assert (said.state, said.marker) == (State.TORN, (HERE, 7, 4, 0, False))


def test_a_decision_of_an_older_epoch_says_nothing():
    history = [made(2, Status.PREPARE_COMMIT, HERE), made(2, Status.COMPLETE_COMMIT), made(3, Status.EMPTY)]
    assert judged(OPEN, history).state is State.UNEXPLAINED


def test_records_of_both_versions_are_read():
    key = b"\x00\x00\x00\x03own"
    plain = "000000000000000000070003000027100200000001000174000000020000000000000001"
    compact = "000100000000000000070003000027100202027403000000000000000100"
    times = "000000000000000a0000000000000009"
    expected = Step("own", 7, 3, Status.PREPARE_COMMIT, frozenset({("t", 0), ("t", 1)}), 10)
    assert step(key, bytes.fromhex(plain + times)) == expected
    assert step(key, bytes.fromhex(compact + times + "00")) == expected
