"""The scribe: one piece of work after the other, whoever does it."""

from threading import Event, Thread, get_ident

import pytest

from headrace.bus.scribe import Scribe

HERE = get_ident()


def test_little_is_done_by_who_asks_and_much_beside():
    scribe = Scribe(10)
    assert scribe.do(10, get_ident).result() == HERE
    assert scribe.do(11, get_ident).result() != HERE
    assert scribe.do(10, get_ident).result() == HERE


def test_without_a_number_all_is_done_by_who_asks():
    assert Scribe().do(1_000_000, get_ident).result() == HERE


def test_little_does_not_overtake_much():
    scribe, done, go = Scribe(10), [], Event()
    scribe.do(11, lambda: (go.wait(), done.append("much")))
    behind = scribe.do(1, lambda: done.append("little"))
    assert not done
    go.set()
    behind.result()
    assert done == ["much", "little"]


def test_what_nobody_asks_for_is_not_done_and_nothing_twice():
    done = []
    told = Scribe().do(1, lambda: done.append(1))
    assert not done
    told.result()
    told.result()
    assert done == [1]


def test_two_who_ask_at_once_have_it_made_once():
    done, asked, go = [], Event(), Event()
    told = Scribe().do(1, lambda: (asked.set(), go.wait(), done.append(1)))
    asking = [Thread(target=told.result) for _ in range(2)]
    asking[0].start()
    asked.wait()
    asking[1].start()
    go.set()
    for thread in asking:
        thread.join()
    assert done == [1]


def test_what_goes_wrong_beside_is_raised_by_who_asks():
    def wrong():
        raise ValueError("does not fit")

    told = Scribe(0).do(1, wrong)
    with pytest.raises(ValueError, match="does not fit"):
        told.result()
