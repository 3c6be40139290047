"""``/health`` and ``/metrics`` of a service, answered by a thread while the service works."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from threading import Thread
from typing import Any, Literal
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from headrace.errors import ConfigurationError
from headrace.telemetry import metrics

LOOPBACK = "127.0.0.1"
State = Literal["starting", "healthy", "failed"]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Health:
    """What a service says about itself: its state, and the open tick of each of its lanes.

    One thread writes, the server's threads read; every write is a single assignment.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.state: State = "starting"
        self.error: str | None = None
        self.port: int | None = None
        self._open: dict[tuple[str, int], int] = {}
        self._server: ThreadingWSGIServer | None = None
        metrics.HEALTHY.labels(service).set(0)

    def serve(self, port: int) -> None:
        """Answer on the loopback ``port`` (0: any free one, see ``port``) until :meth:`close`.

        Raises:
            ConfigurationError: when the port is taken.

        """
        try:
            self._server = make_server(LOOPBACK, port, self._answer, ThreadingWSGIServer, _Quiet)
        except OSError as error:
            raise ConfigurationError(
                f"{self.service} cannot serve its health on port {port}",
                str(error),
                "set HEADRACE_METRICS_PORT",
            ) from error
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def ready(self) -> None:
        """Say that the service has started and works; a failed service stays failed."""
        if self.state == "starting":
            self.state = "healthy"
            metrics.HEALTHY.labels(self.service).set(1)

    def failed(self, error: BaseException | str) -> None:
        """Say that the service cannot go on, and why."""
        self.state, self.error = "failed", str(error) or type(error).__name__
        metrics.HEALTHY.labels(self.service).set(0)

    def recovered(self) -> None:
        """Say that a failed service works again."""
        self.state, self.error = "healthy", None
        metrics.HEALTHY.labels(self.service).set(1)

    def tick(self, pipeline: str, partition: int, n: int, newest: int | None = None) -> None:
        """Say that a lane works on tick ``n``; ``newest`` is the last tick the clock issued, when that is known."""
        self._open[pipeline, partition] = n
        lane = (self.service, pipeline, str(partition))
        metrics.OPEN_TICK.labels(*lane).set(n)
        if newest is not None:
            metrics.LAG_TICKS.labels(*lane).set(max(newest + 1 - n, 0))

    def keep(self, lanes: Collection[tuple[str, int]]) -> None:
        """Forget the lanes (pipeline, partition) that are not among these: other replicas have them now."""
        for gone in self._open.keys() - lanes:
            del self._open[gone]
            for gauge in (metrics.OPEN_TICK, metrics.LAG_TICKS):
                gauge.remove(self.service, gone[0], str(gone[1]))

    def report(self) -> dict[str, Any]:
        """Return the body of ``/health``: service, state, error, and the open tick by pipeline and partition."""
        pipelines: dict[str, dict[str, int]] = {}
        for (pipeline, partition), n in sorted(self._open.copy().items()):
            pipelines.setdefault(pipeline, {})[str(partition)] = n
        return {
            "service": self.service,
            "state": self.state,
            "error": self.error,
            "pipelines": sorted(pipelines),
            "open_ticks": pipelines,
        }

    def _answer(self, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            scraped: Iterable[bytes] = _METRICS(environ, start)
            return scraped
        if path not in ("/health", "/"):
            return _json(start, "404 Not Found", {"error": "there are /health and /metrics"})
        status = "200 OK" if self.state == "healthy" else "503 Service Unavailable"
        return _json(start, status, self.report())


_METRICS = make_wsgi_app()


class _Quiet(WSGIRequestHandler):
    """A request handler that does not log each scrape."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""
        del format, args


def _json(start: StartResponse, status: str, body: Mapping[str, Any]) -> list[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]
