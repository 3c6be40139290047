"""``headrace test``."""

from typing import Annotated

import typer


def command(
    arguments: Annotated[list[str] | None, typer.Argument(help="What pytest is to get")] = None,
    slow: Annotated[bool, typer.Option("--slow", help="Also those that take minutes")] = False,
) -> None:
    """Run the tests; arguments that are not known here go to pytest, whose exit code is passed on."""
    import subprocess
    import sys

    from headrace.local.settings import Settings

    chosen = [] if slow else ["-m", "not slow"]
    pytest = [sys.executable, "-m", "pytest", *chosen, *(arguments or [])]
    raise typer.Exit(subprocess.run(pytest, cwd=Settings().root, check=False).returncode)


command.context_settings = {"ignore_unknown_options": True}  # type: ignore[attr-defined]  # read by cli/__main__.py
