"""``headrace skip``."""

from typing import Annotated, Any

import typer

SERVICES = ("ingestion", "features", "serving")


def command(
    pipeline: Annotated[str, typer.Argument(help="The pipeline")],
    place: Annotated[str, typer.Argument(help="The raw record: topic/partition@offset")],
    *,
    why: Annotated[str, typer.Option(help="The reason; it is kept with the event")],
    service: Annotated[str, typer.Option(help="The service that stands at the record")] = "ingestion",
    by: Annotated[str | None, typer.Option(help="Who asks  [default: the user's name]")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without it the command only says what it would do")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Let a stopped service step over a record that breaks its handler: the record ends as a rejection."""
    from headrace.audit.page import Pages, Place
    from headrace.bus import commanding
    from headrace.bus.shown import as_json as text
    from headrace.cli.broker import broker

    at = Place.read(place)
    with broker() as (settings, log, registry):
        about = commanding.definition(log, registry, pipeline)
        page = Pages(log, registry, pipeline).at(at)
        _refuse_answered(service, place, page)
        said = commanding.skip(pipeline, service, (at.topic, at.partition, at.offset), why, by=by)
        if yes:
            commanding.say(settings.bootstrap, registry, said, about)
    if as_json:
        typer.echo(text({"done": yes, "event_id": page["event_id"], **said.fields}, indent=2))
        return
    event = f"{place} (event {page['event_id'] or 'unknown'})"
    typer.echo(
        f"{service} steps over {event}" if yes else f"{service} would step over {event}; say --yes to do it"
    )


def _refuse_answered(service: str, place: str, page: dict[str, Any]) -> None:
    from headrace.errors import UsageError

    if service not in SERVICES:
        raise UsageError(f"{service} cannot skip a record", f"those that can are {', '.join(SERVICES)}")
    for stream in ("predictions", "rejected"):
        if page.get(stream):
            raise UsageError(
                f"the record at {place} has its answer",
                f"it is on {page[stream][0]['topic']}",
                f"headrace event show --at {place}",
            )
