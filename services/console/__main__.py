"""Run the console: ``python -m services.console``."""

import logging
import socket
import sys

import uvicorn

from headrace.bus.kafka import consumer, wait_for_topics
from headrace.errors import ConfigurationError
from headrace.local.settings import LOOPBACK, Settings
from headrace.telemetry.health import Health
from headrace.telemetry.logs import configure, last_words
from headrace.telemetry.overview import CONTROLS
from services.console.api import console
from services.console.service import Live
from services.console.settings import ConsoleSettings

LOG = logging.getLogger("headrace.console")


@last_words()
def main() -> int:
    """Serve until a signal; return 1 when the log could not be followed any more."""
    configure("console")
    settings, health = Settings(), Health("console")
    health.serve(settings.metrics_port)
    listening = listen(ConsoleSettings())
    waiting = consumer(settings.bootstrap, "headrace.console")
    wait_for_topics(waiting, [t.name() for t in CONTROLS], 60)
    waiting.close()
    live = Live(settings)
    server = uvicorn.Server(_config(live))
    live.start(lambda: setattr(server, "should_exit", True))  # better no page than one that stands still
    health.ready()
    LOG.info("the console is at http://%s:%d", *listening.getsockname())
    server.run(sockets=[listening])
    followed = live.alive
    live.close()
    return 0 if followed else 1


def _config(live: Live) -> uvicorn.Config:
    return uvicorn.Config(
        console(live),
        log_config=None,
        access_log=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=2,
    )


def listen(wanted: ConsoleSettings) -> socket.socket:
    """Return a socket bound to the console's port on the loopback.

    When nobody asked for that port and it is taken (by another home's console), any free one will do.

    Raises:
        ConfigurationError: when the port that was asked for is taken.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, wanted.port))
    except OSError as error:
        if "port" in wanted.model_fields_set:
            raise ConfigurationError(
                f"the console cannot serve on port {wanted.port}", str(error), "set HEADRACE_CONSOLE_PORT"
            ) from error
        LOG.warning("port %d is taken, the console takes another", wanted.port)
        listening.bind((LOOPBACK, 0))
    return listening


if __name__ == "__main__":
    sys.exit(main())
