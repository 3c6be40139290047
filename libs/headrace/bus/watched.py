"""Calls of the Kafka client that are waited for no longer than agreed, whatever their own timeout says.

Measured on librdkafka 2.16: a request that is handed to a connection while its broker restarts can stay in a queue
that nobody serves. ``send_offsets_to_transaction(..., 3)`` was still waiting after five minutes, signals with it.
"""

import queue
import threading
from collections.abc import Callable


class StuckError(Exception):
    """A call of the client did not return; its producer has to be left behind."""


class Watched:
    """Carries out one call after the other on a thread of its own, which can be left behind with its call."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(
        self,
        work: Callable[[], object],
        patience: float | None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Do ``work``, and ``meanwhile`` something else here; the errors of both are raised here.

        Raises:
            StuckError: after ``patience`` seconds, if there is an end to it; this object is then of no more use.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="kafka-calls", daemon=True)
            self._thread.start()
        self._calls.put(work)
        try:
            if meanwhile is not None:
                meanwhile()
        finally:
            self._end(patience)

    def _end(self, patience: float | None) -> None:
        try:
            error = self._ends.get(timeout=patience)
        except queue.Empty:
            raise StuckError(f"a call of the Kafka client has not returned for {patience} s") from None
        if error is not None:
            raise error

    def _serve(self) -> None:
        while True:
            work = self._calls.get()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 -- whatever it is, it is raised by who asked
                self._ends.put(error)
            else:
                self._ends.put(None)
