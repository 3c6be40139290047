"""The client of the schema registry, against one that refuses, and one that is not there."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from headrace.bus.registry import ConfluentRegistry
from headrace.errors import HeadraceError, UnreachableError
from headrace.testing.broker import free_ports

SCHEMA = {"type": "record", "name": "R", "fields": []}


@contextmanager
def refusing(*, held: bool):
    """Run a registry that takes every registration for incompatible; ``held``: it has the schema nevertheless."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.partition("?")[0].endswith("/versions"):
                self._say(409, {"error_code": 409, "message": "incompatible"})
            elif held:
                self._say(200, {"subject": "s", "id": 7, "version": 1, "schema": json.dumps(SCHEMA)})
            else:
                self._say(404, {"error_code": 40403, "message": "not found"})

        def _say(self, status, told):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_schema_that_is_there_is_no_conflict():
    with refusing(held=True) as url:
        assert ConfluentRegistry(url).register("s", SCHEMA) == 7


def test_a_schema_that_is_refused_is_told_as_incompatible():
    with refusing(held=False) as url, pytest.raises(HeadraceError, match="incompatible") as told:
        ConfluentRegistry(url).register("s", SCHEMA)
    assert told.value.exit_code == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.register("s", SCHEMA),
        lambda r: r.schema(1),
        lambda r: r.accepts("s", SCHEMA),
        lambda r: r.require("s", "FULL"),
    ],
)
def test_a_registry_that_is_not_there_is_unreachable(ask):
    registry = ConfluentRegistry(f"http://127.0.0.1:{free_ports(1)[0]}", retries=0)
    with pytest.raises(UnreachableError, match="failed on"):
        ask(registry)
