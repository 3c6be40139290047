"""A proxy that understands just enough of Kafka to hold back the end of a transaction."""

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.local.settings import LOOPBACK

END_TXN = 26
PATIENCE = 10.0
"""Seconds for which the proxy's own threads are waited for."""


class Proxy:
    """Forwards everything between clients and one broker; holds the first EndTxn it sees until told otherwise."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self.port = 0
        self.held = threading.Event()
        self.answered = threading.Event()
        self._release, self._stop = asyncio.Event(), asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._until_stopped()), daemon=True)

    def start(self) -> None:
        """Listen on a free port.

        Raises:
            TimeoutError: when the proxy's thread does not come up.
        """
        self._thread.start()
        _within(self._listens, "the proxy does not listen")

    def stop(self) -> None:
        """Forward nothing more."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)

    def release(self) -> None:
        """Let the broker have what was held, and wait for its answer.

        Raises:
            TimeoutError: when the broker gives none.
        """
        self._loop.call_soon_threadsafe(self._release.set)
        _within(self.answered, "nothing was held, or the broker does not answer")

    async def _until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(LOOPBACK, self._broker_port)
        answers = asyncio.ensure_future(self._answers(broker_reader, writer))
        try:
            while True:
                frame = await _frame(reader)
                if struct.unpack_from(">h", frame, 4)[0] == END_TXN and not self.held.is_set():
                    self.held.set()
                    await self._hold(frame, broker_writer, answers)
                    return
                broker_writer.write(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            broker_writer.close()
            writer.close()

    async def _hold(
        self, frame: bytes, broker_writer: asyncio.StreamWriter, answers: "asyncio.Future[None]"
    ) -> None:
        """Send a frame late, on its own connection, whether or not its client still waits."""
        await self._release.wait()
        broker_writer.write(frame)
        await asyncio.wait([answers], timeout=1)
        self.answered.set()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass answers on, with the proxy's port wherever the broker names its own."""
        own = LOOPBACK.encode() + struct.pack(">i", self._broker_port)
        ours = LOOPBACK.encode() + struct.pack(">i", self.port)
        try:
            while True:
                writer.write((await _frame(reader)).replace(own, ours))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(int.from_bytes(size, "big"))


def _within(event: threading.Event, failure: str) -> None:
    if not event.wait(PATIENCE):
        raise TimeoutError(failure)


@contextmanager
def proxied(broker_port: int) -> Iterator[Proxy]:
    """Run a proxy in front of a broker on this machine."""
    proxy = Proxy(broker_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
