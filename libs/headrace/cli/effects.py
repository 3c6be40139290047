"""``headrace effects``: what services asked the world for."""

from typing import Annotated

import typer

app = typer.Typer(help="List what was asked of the world and is not answered.", no_args_is_help=True)


@app.callback()
def effects() -> None:
    """List what was asked of the world and is not answered."""


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one effect a line")] = False,
) -> None:
    """List the effects without an outcome, with their age in ticks."""
    import json
    from dataclasses import asdict

    from headrace.audit.unresolved import unresolved
    from headrace.cli.broker import broker

    with broker() as (_, log, registry):
        found = unresolved(log, registry)
    for one in found:
        age = "asked between ticks" if one.age is None else f"{one.age} ticks old"
        line = f"{one.effect_id} {one.pipeline} {one.kind} {one.topic}@{one.offset} {age}"
        typer.echo(json.dumps(asdict(one)) if as_json else line)
    if not found and not as_json:
        typer.echo("every effect has its outcome")
