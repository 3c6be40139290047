"""``headrace demo``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

_WIDTH = 110


def command(
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="End before this day of 2013")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end")] = False,
    max_batch: Annotated[int | None, typer.Option(min=1, help="Rows a handler gets at once, at most")] = None,
    incident: Annotated[
        str | None, typer.Option(help="Plant broken labels in July: labels-zero or units")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file")] = None,
) -> None:
    """Run a year of real flights through the whole loop on a real broker, and verify it.

    Exit code 0 only if nothing was lost, duplicated or reordered, the counts add up and the replay matches.
    """
    from rich.console import Console

    from headrace.demo.run import Options, require_sound, run, write
    from headrace.errors import UsageError
    from headrace.local.settings import Settings
    from headrace.sources.incidents import NAMES

    if incident is not None and incident not in NAMES:
        raise UsageError(
            f"there is no incident {incident}", f"known are: {', '.join(NAMES)}", "headrace demo --help"
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)  # a pipe has no width, and the tables need theirs
    settings = Settings(**({"max_batch": max_batch} if max_batch else {}))
    end = int((until.replace(tzinfo=UTC).timestamp() + 5 * 3_600) * 1_000_000) if until else None
    report = run(settings, Options(end, keep, incident), console)
    if json_file:
        write(report, json_file)
    if keep:
        console.print(
            "everything is still running: http://127.0.0.1:8900 shows it, `./headrace down` stops it"
        )
    require_sound(report)
