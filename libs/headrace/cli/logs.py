"""``headrace logs``."""

from typing import Annotated

import typer


def command(
    name: Annotated[str, typer.Argument(help="kafka, registry, supervisord or a service")],
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written")] = False,
) -> None:
    """Show the end of a program's log."""
    from headrace.errors import UsageError
    from headrace.local.logs import known, tail
    from headrace.local.settings import Settings

    folder = Settings().log_folder
    if name not in known(folder):
        raise UsageError(
            f"there is no log of {name}",
            f"there are: {', '.join(known(folder)) or 'none, nothing was started yet'}",
            "headrace up",
        )
    for line in tail(folder / f"{name}.log", lines, follow=follow):
        typer.echo(line)
