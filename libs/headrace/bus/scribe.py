"""What lanes write is encoded and hashed beside the handlers: the kernels that do it leave the interpreter free."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
Given_co = TypeVar("Given_co", covariant=True)
AT_ONCE = 500  # rows up to which another thread costs more than it gives


class Coming(Protocol[Given_co]):
    """What will have been made when it is asked for."""

    def result(self) -> Given_co:
        """Return it, or raise what its making raised."""


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """What is there by now."""

    value: T

    def result(self) -> T:
        """Return it."""
        return self.value


class Later(Generic[T]):
    """What is made by who first asks for it; others wait."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._made: Any = None
        self._lock = Lock()

    def result(self) -> T:
        """Return what the work gives."""
        with self._lock:
            if self._work is not None:
                self._made, self._work = self._work(), None
        made: T = self._made
        return made


class Scribe:
    """Does one piece of work after the other, in the order in which they are told.

    It has a thread for what concerns more than ``at_once`` rows, and for what comes behind that; without that number
    all is done by who asks for it.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once
        self._last: Future[Any] | None = None

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "scribe")

    def do(self, rows: int, work: Callable[[], T]) -> Coming[T]:
        """Return what ``work`` will give or raise; it concerns so many ``rows``."""
        busy = self._last is not None and not self._last.done()
        if not busy and (self._at_once is None or rows <= self._at_once):
            return Later(work)
        self._last = told = self._thread.submit(work)
        return told
