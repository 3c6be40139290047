"""``headrace chaos``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.chaos.run import Order, Progress


def command(
    events: Annotated[int, typer.Option(min=1_000, help="Events to publish")] = 20_000,
    kills: Annotated[int, typer.Option(min=0, help="Kills of services; zombies come on top")] = 30,
    broker_kills: Annotated[int, typer.Option(min=0, help="Kills and stops of the broker")] = 0,
    seed: Annotated[int, typer.Option(help="The whole schedule follows from it")] = 1,
    partitions: Annotated[int, typer.Option(min=1, max=24, help="Partitions of the pipeline")] = 1,
    mutant: Annotated[
        str | None,
        typer.Option(help="Plant a fault: at-least-once, commit-first, no-seek, offset-zero, keep-producer"),
    ] = None,
    services: Annotated[
        str, typer.Option(help="Who is killed: data-plane, or all that write")
    ] = "data-plane",
    replicas: Annotated[
        int, typer.Option(min=1, max=8, help="Processes that share each service of the data plane")
    ] = 1,
    fused: Annotated[bool, typer.Option("--fused", help="Run the data plane as one process")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file")] = None,
) -> None:
    """Kill services and the broker on a private platform, and let an oracle count what came of it.

    Exit 5 when the oracle objects; it then prints seed, commit and schedule. Exit 1 when it does not, but the run never
    came to rest.
    """
    import json
    import sys

    from headrace.chaos.run import Order, run
    from headrace.cli.printing import print_fields
    from headrace.errors import CheckError, HeadraceError

    order = Order(events, kills, broker_kills, seed, mutant, partitions, services, replicas, fused)
    _refuse(order)
    with _shown() as tell:
        report = run(order, tell)
    told = {name: value for name, value in report.items() if name != "digests"}
    if json_file:
        json_file.write_text(json.dumps(told, indent=2) + "\n")
    print_fields("chaos", told)
    if report["objections"] or report["lost"] or report["duplicated"] or report["reordered"]:
        sys.stderr.write(_case(order))
        raise CheckError("the oracle objects", "; ".join(report["objections"][:1]), _again(order))
    if report["stuck"]:
        raise HeadraceError(
            "the run never came to rest, and the oracle has nothing to say of what it did",
            report["stuck"][0],
            _again(order),
        )


def _refuse(order: "Order") -> None:
    """Raise UsageError for an order that nobody can carry out."""
    from headrace.chaos.run import ALL, DATA_PLANE
    from headrace.chaos.schedule import MUTANTS
    from headrace.errors import UsageError

    if order.mutant is not None and order.mutant not in MUTANTS:
        raise UsageError(f"no mutant is called {order.mutant}", f"there are {', '.join(MUTANTS)}")
    if order.services not in (DATA_PLANE, ALL):
        raise UsageError(f"nobody is called {order.services} here", f"there are {DATA_PLANE} and {ALL}")
    if order.fused and (order.services == ALL or order.replicas > 1):
        raise UsageError(
            "a fused chain is the data plane alone, in one process",
            "--services all and --replicas are for services that are processes of their own",
            "headrace chaos --fused",
        )
    if order.replicas > order.partitions:
        raise UsageError(
            f"{order.partitions} partitions cannot be shared by {order.replicas} replicas",
            "each needs one of its own",
            f"headrace chaos --partitions {order.replicas} --replicas {order.replicas}",
        )


def _shown() -> Any:
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    @contextmanager
    def shown() -> Any:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("starting", total=1.0)

            def tell(p: "Progress") -> None:
                text = f"{p.phase}: step {p.step} of {p.steps}, {p.kills} kills, {p.zombies} zombies"
                bar.update(task, description=text, completed=p.step / p.steps)

            yield tell

    return shown()


def _again(order: "Order") -> str:
    mutant = f" --mutant {order.mutant}" if order.mutant else ""
    return (
        f"headrace chaos --events {order.events} --kills {order.kills} --broker-kills {order.broker_kills}"
        f" --seed {order.seed} --partitions {order.partitions} --services {order.services}"
        f" --replicas {order.replicas}{' --fused' if order.fused else ''}{mutant}"
    )


def _case(order: "Order") -> str:
    """Return seed, commit and schedule: all that is needed to see it again."""
    trouble = order.schedule()
    lines = [f"seed {order.seed}, commit {_commit()}"]
    lines += [str(fault) for faults in trouble.faults.values() for fault in faults]
    lines += [
        f"broker at step {b.step}: {f'stop {b.pause:.0f} s' if b.pause else 'kill -9'}"
        for b in trouble.broker
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    import subprocess

    from headrace.local.settings import CHECKOUT

    asked = ("git", "-C", str(CHECKOUT), "rev-parse", "--short", "HEAD")
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
