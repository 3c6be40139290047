"""Logs on stdout, one line a message in logfmt (``key=value``), so that people and machines read the same."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.errors import HeadraceError

LOG = logging.getLogger("headrace.run")
_TALKATIVE = ("httpx", "httpx2", "faust", "mode", "aiokafka", "uvicorn.access")


class Logfmt(logging.Formatter):
    """``time=… level=… service=… logger=… msg="…"``; a traceback becomes the field ``error``."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; times are UTC with milliseconds."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def configure(service: str, level: str = "INFO") -> None:
    """Send the process's logs to stdout as logfmt, in place of whatever was configured before."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Logfmt(service))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


@contextmanager
def last_words() -> Iterator[None]:
    """End the process on a HeadraceError: one line says what failed, why and the next command.

    The exit code is the error's. A traceback comes only with exit code 1, where the fault may be ours and not the
    operator's; any other exception passes, with its own.
    """
    try:
        yield
    except HeadraceError as error:
        told = [error.what, error.why, error.next_command and f"next: {error.next_command}"]
        ours = error.exit_code == HeadraceError.exit_code
        LOG.critical("%s", "; ".join(filter(None, told)), exc_info=error if ours else None)
        sys.exit(error.exit_code)


def _quoted(value: str) -> str:
    """Return a value as it is when it needs no quotes, else as a JSON text."""
    plain = value and value.isprintable() and not set(value) & set(' ="\\')
    return value if plain else json.dumps(value)
