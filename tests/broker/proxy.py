"""A proxy that understands just enough of Kafka to hold back the end of a transaction."""

import asyncio
import struct
import threading
from contextlib import contextmanager

END_TXN = 26
HOST = "127.0.0.1"


class Proxy:
    """Forwards everything between clients and one broker; holds the first EndTxn it sees until told otherwise."""

    def __init__(self, broker_port):
        self._broker_port = broker_port
        self.port = 0
        self.held = threading.Event()
        self.answered = threading.Event()
        self._release, self._stop = asyncio.Event(), asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._until_stopped()), daemon=True)

    def start(self):
        self._thread.start()
        assert self._listens.wait(10)

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def release(self):
        """Let the broker have what was held, and wait for its answer."""
        self._loop.call_soon_threadsafe(self._release.set)
        assert self.answered.wait(10)

    async def _until_stopped(self):
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader, writer):
        broker_reader, broker_writer = await asyncio.open_connection(HOST, self._broker_port)
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

    async def _hold(self, frame, broker_writer, answers):
        """Send a frame late, on its own connection, whether or not its client still waits."""
        await self._release.wait()
        broker_writer.write(frame)
        await asyncio.wait([answers], timeout=1)
        self.answered.set()

    async def _answers(self, reader, writer):
        """Pass answers on, with the proxy's port wherever the broker names its own."""
        own = HOST.encode() + struct.pack(">i", self._broker_port)
        ours = HOST.encode() + struct.pack(">i", self.port)
        try:
            while True:
                writer.write((await _frame(reader)).replace(own, ours))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _frame(reader):
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">i", size)[0])


@contextmanager
def proxied(broker_port):
    """Run a proxy in front of a broker on this machine."""
    proxy = Proxy(broker_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
