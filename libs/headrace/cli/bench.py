"""``headrace bench``."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    only: Annotated[
        list[str] | None, typer.Option(help="A row, or latency, memory, idle, replay; again for another")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON", metavar="FILE")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of a row; its median is told")] = 5,
    events: Annotated[int | None, typer.Option(min=1_000, help="Events a run  [default: by row]")] = None,
    docs: Annotated[Path | None, typer.Option(help="Write the tables into a page", metavar="PAGE")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="A few events through the services, once")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the runs of an interrupted bench")] = False,
) -> None:
    """Measure Headrace and its peers on the same events; every output is checked.

    Then the broker itself, latency, memory, the idle platform and replay. It takes more than an hour. Each run has a broker of its own. An interrupted bench goes on where it stopped, while the commit is the same.
    Exit 5 when a row lost, doubled or changed an answer.
    """
    import subprocess
    import sys

    from headrace.errors import UsageError
    from headrace.local.settings import Settings

    settings = Settings()
    if not (settings.root / "bench" / "__main__.py").exists():
        raise UsageError("the bench is not here", f"{settings.root} has no bench/", "run it in a checkout")
    asked = [f"--only={name}" for name in only or []]
    asked += [
        f"--{name}={value}"
        for name, value in {"json": json, "runs": runs, "events": events, "docs": docs}.items()
        if value is not None
    ]
    asked += [f"--{name}" for name, on in {"quick": quick, "fresh": fresh}.items() if on]
    done = subprocess.run([sys.executable, "-m", "bench", *asked], env=settings.environment(), check=False)
    raise typer.Exit(done.returncode)
