"""``headrace replay``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.audit.replay import Recording, Verdicts
    from headrace.bus.schemas import Registry


def command(
    pipeline: Annotated[str, typer.Argument(help="Whose predictions to compute again")],
    *,
    from_tick: Annotated[int | None, typer.Option(min=1, help="First tick")] = None,
    to_tick: Annotated[int | None, typer.Option(min=1, help="Last tick")] = None,
    since: Annotated[datetime | None, typer.Option("--from", help="Ticks after this time (UTC)")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="Ticks up to this time (UTC)")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="The newest ticks  [default: 10]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Compute the predictions of a stretch again from the raw log and compare them byte by byte.

    Exit 5 when one is missing or different.
    """
    from headrace.audit import recording, replay
    from headrace.bus.provision import stages
    from headrace.bus.reading import KafkaLog
    from headrace.bus.registry import ConfluentRegistry
    from headrace.errors import CheckError
    from headrace.local.settings import Settings
    from headrace.store.artifacts import open_store

    chosen = _chosen(ticks=from_tick or to_tick, dates=since or until, last=last)
    settings = Settings()
    registry = ConfluentRegistry(settings.registry_url)
    scoring = [s for s in stages(settings.root / "services") if s.name in SCORING]
    with KafkaLog(settings.bootstrap) as log:
        held = recording.books(log, pipeline)
        if chosen == "ticks":
            first, final = _ticks(held, registry, from_tick, to_tick)
        elif chosen == "dates":
            first, final = recording.ticks_between(held, registry, _micros(since), _micros(until))
        else:
            first, final = recording.last_ticks(held, registry, last or 10)
        held = recording.with_data(held, log, registry, first, final)
    verdicts = replay.replay(
        held, scoring, registry, open_store(settings.home), from_tick=first, to_tick=final
    )
    typer.echo(replay.as_json(verdicts)) if as_json else _print(pipeline, verdicts)
    if verdicts.mismatch:
        raise CheckError(
            f"{verdicts.mismatch} of {verdicts.checked} predictions do not match",
            f"{verdicts.missing} of them are missing on one side",
            f"headrace event show {verdicts.examples[0]} --pipeline {pipeline}",
        )


SCORING = ("ingestion", "rekey", "features", "serving")


def _chosen(**ways: object) -> str | None:
    """Return which of the ways to name a stretch was used; they do not mix."""
    from headrace.errors import UsageError

    used = [name for name, value in ways.items() if value is not None]
    if len(used) > 1:
        raise UsageError(
            f"{' and '.join(used)} do not mix", "a stretch is named in one way", "headrace replay --help"
        )
    return used[0] if used else None


def _ticks(
    held: "Recording", registry: "Registry", from_tick: int | None, to_tick: int | None
) -> tuple[int, int]:
    from headrace.audit.recording import last_ticks
    from headrace.errors import UsageError

    _, newest = last_ticks(held, registry, 1)
    first, final = from_tick or 1, to_tick or newest
    if not first <= final <= newest:
        raise UsageError(
            f"ticks {first} to {final} cannot be replayed", f"closed are 1 to {newest}", "headrace status"
        )
    return first, final


def _micros(time: datetime | None) -> int | None:
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _print(pipeline: str, verdicts: "Verdicts") -> None:
    from rich.console import Console
    from rich.table import Table

    told = verdicts.__dict__
    table = Table("ticks", "checked", "match", "mismatch", "missing", box=None)
    table.title, table.title_justify = f"{pipeline}: predictions computed again", "left"
    counts = (str(told[name]) for name in ("checked", "match", "mismatch", "missing"))
    table.add_row(f"{verdicts.from_tick} to {verdicts.to_tick}", *counts)
    console = Console(highlight=False)
    console.print(table)
    for event_id in verdicts.examples:
        console.print(f"differs: {event_id}", soft_wrap=True)
