"""``headrace up``."""

from typing import Annotated

import typer


def command(
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for health")] = 60.0,
    replicas: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE=N", help="Share a service's partitions among N processes; repeatable"),
    ] = None,
    fused: Annotated[
        bool, typer.Option("--fused", help="Run ingestion, features and serving as one process")
    ] = False,
    lean: Annotated[
        bool, typer.Option("--lean", help="With --fused: do not write the topics between them")
    ] = False,
) -> None:
    """Start Kafka, the schema registry and every service; return when all are healthy.

    With the platform running, --fused or a plain start changes from one way to the other; Kafka stays.
    """
    import time

    from rich.console import Console

    from headrace.errors import UsageError
    from headrace.local.bringup import bring_up, counts
    from headrace.local.platform import Platform
    from headrace.local.settings import Settings

    if lean and not fused:
        raise UsageError(
            "--lean goes with --fused", "services of their own need the topics", "headrace up --fused --lean"
        )
    began = time.monotonic()
    settings = Settings()
    platform = Platform(
        settings,
        replicas=counts(replicas, settings) if replicas else None,
        mode="lean" if lean else "fused" if fused else "apart",
    )
    console = Console(stderr=True)
    with console.status("starting") as line:
        bring_up(platform, seconds, line.update)
    count, processes = len(platform.services), len(platform.ports)
    more = f" in {processes} processes" if processes != count else ""
    console.print(
        f"[green]up[/] in {time.monotonic() - began:.1f} s: {count} services{more}; next: headrace status"
    )
