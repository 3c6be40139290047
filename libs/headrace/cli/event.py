"""``headrace event``: one event before and after it is published."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.sources.validation import Answer

app = typer.Typer(help="Validate an event, or show all that became of one.", no_args_is_help=True)


@app.callback()
def event() -> None:
    """Validate an event, or show all that became of one."""


@app.command()
def validate(
    file: Annotated[
        Path, typer.Argument(help="JSON: one event, an array, or one a line; - reads standard input")
    ],
    *,
    pipeline: Annotated[str, typer.Option(help="Whose contract to ask")],
    record: Annotated[
        str | None, typer.Option(help="Record type  [default: the one that gets predictions]")
    ] = None,
    now: Annotated[
        datetime | None,
        typer.Option(help="Time of the last tick (UTC), for rules about freshness  [default: not asked]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Ask a pipeline's contract about events without a broker. Exit 5 when it turns one down."""
    import json

    from headrace.errors import CheckError
    from headrace.local.settings import Settings
    from headrace.sources import pipelines, validation

    definition = pipelines.find(pipeline, Settings().pipelines)
    instant = None if now is None else int(now.replace(tzinfo=UTC).timestamp()) * 1_000_000
    rows = validation.rows_of(_text(file))
    answers = validation.validate(definition, record or definition.event, rows, instant)
    if as_json:
        typer.echo(json.dumps([answer.as_dict() for answer in answers], indent=2))
    else:
        typer.echo("\n".join(map(_sentence, answers)))
    if rejected := {answer.row for answer in answers if answer.verdict == "rejected"}:
        raise CheckError(f"{len(rejected)} events would be rejected", "", "correct them, then publish")


@app.command()
def show(
    event_id: Annotated[str | None, typer.Argument(help="Id of the event")] = None,
    *,
    pipeline: Annotated[
        str | None, typer.Option(help="Whose event  [default: the place's, or the only one]")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Its place instead: topic/partition@offset")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Show all that became of an event on one page: answers, outcome, model, and who made it champion."""
    from headrace.audit.page import Pages, Place
    from headrace.bus import commanding
    from headrace.bus.shown import as_json as text
    from headrace.cli.broker import broker
    from headrace.cli.printing import print_fields, progress
    from headrace.errors import UsageError

    if (event_id is None) == (at is None):
        raise UsageError("an event is named by its id or by --at", "", "headrace event show --help")
    place = Place.read(at) if at else None
    with broker() as (_, log, registry), progress() as tell:
        whose = pipeline or (place.topic.split(".")[0] if place else commanding.only(log, registry))
        pages = Pages(log, registry, whose, tell)
        page = pages.at(place) if place else pages.by_id(event_id or "")
    if as_json:
        typer.echo(text(page, indent=2))
    else:
        print_fields(f"event {page['event_id'] or at} of {whose}", page)


def _text(file: Path) -> str:
    from headrace.errors import UsageError

    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read", str(error), "name a file with JSON") from error


def _sentence(answer: "Answer") -> str:
    head = f"event {answer.row + 1} ({answer.event_id}): {answer.verdict}"
    if not answer.rule:
        return head
    place = f"{answer.path}: " if answer.path else ""
    return f"{head} by {answer.rule}; {place}expected {answer.expected}, found {answer.actual}. {answer.hint}".rstrip()
