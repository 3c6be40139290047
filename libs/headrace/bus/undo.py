"""What open transactions did, so that each can be undone: one, or two where the next is worked on ahead."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Undo(Generic[T]):
    """A note for each open transaction, the oldest first; there is always one, be it of a transaction to come."""

    def __init__(self, blank: Callable[[], T]) -> None:
        """Begin with a note made by ``blank``, as every later one is."""
        self._blank = blank
        self._notes = deque([blank()])

    @property
    def oldest(self) -> T:
        """Return the note of the transaction that is kept first."""
        return self._notes[0]

    @property
    def newest(self) -> T:
        """Return the note of the transaction that is worked on."""
        return self._notes[-1]

    def begin(self) -> None:
        """Begin another transaction on top of those that are open."""
        self._notes.append(self._blank())

    def keep(self) -> T:
        """Forget the oldest transaction's note, and return it: nobody will undo it."""
        return self._ended(self._notes.popleft())

    def back(self) -> T:
        """Forget the newest transaction's note, and return it: it has been undone."""
        return self._ended(self._notes.pop())

    def _ended(self, note: T) -> T:
        if not self._notes:
            self.begin()
        return note
