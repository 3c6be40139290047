"""``headrace status``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.local.platform import Platform

ADDRESSES = ("bootstrap", "registry_url", "mlflow_uri", "database_url", "home")


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """Show what runs, how healthy it is, and every pipeline's counts. Exit 5 when something is not healthy."""
    from headrace.errors import CheckError
    from headrace.local.platform import Platform
    from headrace.local.settings import Settings

    told = report(Platform(Settings()))
    _print_json(told) if as_json else _print_tables(told)
    if not told["up"]:
        raise CheckError("nothing runs", next_command="headrace up")
    if ill := [program["name"] for program in told["programs"] if not program["healthy"]]:
        raise CheckError(f"not healthy: {', '.join(ill)}", next_command=f"headrace logs {ill[0]}")


def report(platform: "Platform") -> dict[str, Any]:
    """Return what ``--json`` prints: addresses, programs and, if the broker answers, pipelines."""
    from headrace.local.answers import kafka_answers

    reachable = kafka_answers(platform.settings)
    return {
        "up": bool(platform.states()),
        "broker": reachable,
        **{name: str(getattr(platform.settings, name)) for name in ADDRESSES},
        "programs": _programs(platform, kafka=reachable),
        "pipelines": _pipelines(platform) if reachable else [],
    }


def _programs(platform: "Platform", *, kafka: bool) -> list[dict[str, Any]]:
    from headrace.local.answers import registry_answers

    ill = platform.unhealthy()
    if not kafka:
        ill.add("kafka")
    if not registry_answers(platform.settings):
        ill.add("schema-registry")
    return [
        {
            "name": state.name,
            "state": state.state,
            "pid": state.pid,
            "seconds": state.seconds,
            "port": platform.ports.get(state.name),
            "healthy": state.name not in ill,
        }
        for state in platform.states()
    ]


def _pipelines(platform: "Platform") -> list[dict[str, Any]]:
    from headrace.telemetry.status import pipelines

    return list(pipelines(platform.settings))


def _print_json(told: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(told, indent=2))


def _print_tables(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name in ("programs", "pipelines"):
        rows = told[name]
        if rows:
            table = Table(*rows[0], title=name, title_justify="left", box=None)
            for row in rows:
                table.add_row(*("" if value is None else str(value) for value in row.values()))
            console.print(table)
