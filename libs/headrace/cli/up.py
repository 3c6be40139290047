"""``headrace up``."""

from typing import Annotated

import typer


def command(
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for health")] = 60.0,
) -> None:
    """Start Kafka, the schema registry and every service; return when all are healthy."""
    import time  # noqa: PLC0415  (--help does without all of these)

    from rich.console import Console  # noqa: PLC0415

    from headrace.local.bringup import bring_up  # noqa: PLC0415
    from headrace.local.platform import Platform  # noqa: PLC0415
    from headrace.local.settings import Settings  # noqa: PLC0415

    began = time.monotonic()
    platform = Platform(Settings())
    console = Console(stderr=True)
    with console.status("starting") as line:
        bring_up(platform, seconds, line.update)
    count = len(platform.services)
    console.print(
        f"[green]up[/] in {time.monotonic() - began:.1f} s: {count} services; next: headrace status"
    )
