"""What lanes write is encoded and hashed beside the handlers: the kernels that do it leave the interpreter free."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")
AT_ONCE = 500  # rows up to which another thread costs more than it gives


class Scribe:
    """Does one piece of work after the other, in the order in which they are told.

    It has a thread for what concerns more than ``at_once`` rows, and for what comes behind that; without that number
    it does everything at once.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once
        self._last: Future[Any] | None = None

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "scribe")

    def do(self, rows: int, work: Callable[[], T]) -> Future[T]:
        """Return what ``work`` gives or raises, once it has been its turn; it concerns so many ``rows``."""
        busy = self._last is not None and not self._last.done()
        if busy or (self._at_once is not None and rows > self._at_once):
            self._last = told = self._thread.submit(work)
            return told
        done: Future[T] = Future()
        done.set_result(work())
        return done
