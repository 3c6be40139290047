"""The console over HTTP: JSON for programs, one page for people; nothing is fetched from anywhere else."""

from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, HTTPException, Query
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from headrace.telemetry.decisions import Decision
from services.console import handler

PAGE = Path(__file__).parent / "page"
Limit = Annotated[int, Query(ge=1, le=200)]


class Source(Protocol):
    """Where the console's knowledge comes from."""

    def report(self) -> list[dict[str, Any]]:
        """Return all pipelines as plain values."""

    def decisions(self, pipeline: str) -> list[Decision]:
        """Return a pipeline's decisions, oldest first."""

    def events(self, pipeline: str, limit: int) -> list[dict[str, Any]]:
        """Return a pipeline's last answers, newest first, ``limit`` of each record type."""

    def healthy(self) -> dict[str, bool]:
        """Return whether each service that can be asked calls itself healthy."""


def console(source: Source) -> FastAPI:
    """Return the application: read only, for browsers on this machine (another host name is refused)."""
    app = FastAPI(title="Headrace console", docs_url=None, redoc_url=None)  # their pages need a CDN
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])

    @app.get("/api/status")
    def status() -> dict[str, Any]:
        """Tell every pipeline's services, tick, champion and counts."""
        return handler.status(source.report(), source.healthy())

    @app.get("/api/pipelines")
    def pipelines() -> list[dict[str, Any]]:
        """Tell every pipeline's tick, champion and counts."""
        return source.report()

    @app.get("/api/pipelines/{name}/decisions")
    def decisions(name: str, limit: Limit = 50) -> list[dict[str, Any]]:
        """Tell a pipeline's last decisions, newest first."""
        _require(source, name)
        return handler.told(source.decisions(name), limit)

    @app.get("/api/pipelines/{name}/events")
    def events(name: str, limit: Limit = 10) -> list[dict[str, Any]]:
        """Tell a pipeline's last predictions, outcomes and receipts, ``limit`` of each, newest first."""
        _require(source, name)
        return source.events(name, limit)

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _require(source: Source, name: str) -> None:
    if name not in {report["name"] for report in source.report()}:
        raise HTTPException(404, f"there is no pipeline {name}")
