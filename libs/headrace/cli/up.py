"""``headrace up``."""

from typing import Annotated

import typer


def command(
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for health")] = 60.0,
) -> None:
    """Start Kafka, the schema registry and every service; return when all are healthy."""
    import time

    from rich.console import Console

    from headrace.local.bringup import bring_up
    from headrace.local.platform import Platform
    from headrace.local.settings import Settings

    began = time.monotonic()
    platform = Platform(Settings())
    console = Console(stderr=True)
    with console.status("starting") as line:
        bring_up(platform, seconds, line.update)
    count = len(platform.services)
    console.print(
        f"[green]up[/] in {time.monotonic() - began:.1f} s: {count} services; next: headrace status"
    )
