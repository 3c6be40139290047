"""``headrace transactions``: those that are open, and the end of those that a broker tore."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.bus.torn import Found

app = typer.Typer(help="List open transactions, or finish those that a broker tore.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List Headrace's open transactions, partition by partition: open, torn by a broker, or unexplained."""
    from headrace.bus.torn import look
    from headrace.cli.broker import broker

    with broker() as (settings, _, _):
        _print(look(settings.bootstrap), as_json=as_json)


@app.command()
def finish(
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without it the command only says what it would do")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the ends that are missing of torn transactions, as they were decided.

    Open ones are left alone. Exit 5 when one is left whose end nobody knows.
    """
    from headrace.bus import torn as tears
    from headrace.cli.broker import broker
    from headrace.errors import CheckError

    with broker() as (settings, _, _):
        found = tears.look(settings.bootstrap)
        torn = [f for f in found if f.state is tears.State.TORN]
        if yes and torn:
            torn = tears.finish(settings.bootstrap, torn)
    _print(torn, as_json=as_json, done=yes)
    if unexplained := [f for f in found if f.state is tears.State.UNEXPLAINED]:
        topic, partition = unexplained[0].writer.place
        raise CheckError(
            f"{len(unexplained)} open transactions have no end that is known",
            f"the first is on {topic}/{partition}: its coordinator's log does not name it (any more)",
            "headrace transactions list, and docs/runbooks/transaction-does-not-end.md",
        )


def _print(found: Sequence["Found"], *, as_json: bool, done: bool | None = None) -> None:
    """Print transactions and their count; ``done`` tells of those that are to be finished whether they are."""
    import json

    if as_json:
        told = {"transactions": [_told(f) for f in found]}
        typer.echo(json.dumps(told if done is None else {**told, "done": done}, indent=2))
        return
    for f in found:
        typer.echo(_line(_told(f)))
    if done is None:
        counts = Counter(f.state for f in found)
        typer.echo(f"{len(found)} open" + "".join(f", {n} {state}" for state, n in sorted(counts.items())))
    else:
        verb = "were" if done else "would be"
        typer.echo(f"{len(found)} {verb} finished" + ("" if done or not found else "; --yes does it"))


def _told(found: "Found") -> dict[str, Any]:
    from datetime import UTC, datetime

    (topic, partition), producer, epoch, _, _, start = found.writer
    decision = found.decision
    at = (
        datetime.fromtimestamp(decision.at / 1_000, UTC).isoformat(timespec="milliseconds")
        if decision
        else None
    )
    return {
        "topic": topic,
        "partition": partition,
        "offset": start,
        "state": found.state.value,
        "owner": found.owner,
        "producer_id": producer,
        "producer_epoch": epoch,
        "decided": ("commit" if found.commit else "abort") if decision else None,
        "decided_at": at,
    }


def _line(told: dict[str, Any]) -> str:
    decided = f", decided to {told['decided']} at {told['decided_at']}" if told["decided"] else ""
    return (
        f"{told['topic']}/{told['partition']}@{told['offset']} {told['state']}: "
        f"{told['owner'] or 'nobody known'}, producer {told['producer_id']} epoch {told['producer_epoch']}{decided}"
    )
