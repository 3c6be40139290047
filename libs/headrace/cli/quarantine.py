"""``headrace quarantine``: labels and inputs that broke their contract, and an operator's word that they may be used."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.audit.quarantines import Stretch

app = typer.Typer(help="List quarantined labels and inputs, or release them.", no_args_is_help=True)
Pipeline = Annotated[str, typer.Argument(help="The pipeline")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one stretch a line")]


@app.command("list")
def list_(pipeline: Pipeline, *, as_json: AsJson = False) -> None:
    """List the stretches of labels and inputs that broke their contract, released ones too."""
    import json
    from dataclasses import asdict

    from headrace.audit.quarantines import quarantines
    from headrace.bus.commanding import definition
    from headrace.cli.broker import broker

    with broker() as (_, log, registry):
        definition(log, registry, pipeline)
        found = quarantines(log, registry, pipeline)
    for stretch in found:
        typer.echo(json.dumps(asdict(stretch)) if as_json else _line(stretch))
    if not found and not as_json:
        typer.echo("nothing was quarantined")


@app.command()
def release(
    pipeline: Pipeline,
    slice_: Annotated[str, typer.Argument(metavar="SLICE", help="The slice of the labels, or records/TYPE")],
    *,
    why: Annotated[str, typer.Option(help="The reason; it is kept with the event")],
    by: Annotated[str | None, typer.Option(help="Who asks  [default: the user's name]")] = None,
    quarantine_id: Annotated[str | None, typer.Option("--id", help="Only this stretch of the slice")] = None,
    as_json: AsJson = False,
) -> None:
    """Let decisions rest on labels or inputs again: all stretches of a slice, or one."""
    import json
    from dataclasses import asdict, replace

    from headrace.audit.quarantines import quarantines
    from headrace.bus import commanding
    from headrace.cli.broker import broker
    from headrace.errors import UsageError

    with broker() as (settings, log, registry):
        about = commanding.definition(log, registry, pipeline)
        held = [s for s in quarantines(log, registry, pipeline) if s.state != "released"]
        chosen = [s for s in held if s.slice == slice_ and quarantine_id in (None, s.quarantine_id)]
        if not chosen:
            slices = ", ".join(sorted({s.slice for s in held})) or "none"
            what = f"stretches of {slice_} in quarantine" + (f" {quarantine_id}" if quarantine_id else "")
            raise UsageError(
                f"there are no {what}", f"quarantined are: {slices}", f"headrace quarantine list {pipeline}"
            )
        for stretch in chosen:
            said = commanding.release(pipeline, stretch.quarantine_id, why, by=by)
            commanding.say(settings.bootstrap, registry, said, about)
            done = replace(stretch, state="released", by=said.fields["by"], why=why)
            typer.echo(json.dumps(asdict(done)) if as_json else _line(done))


def _line(stretch: "Stretch") -> str:
    until = "now" if stretch.until is None else _day(stretch.until)
    word = f" ({stretch.by}: {stretch.why})" if stretch.by else ""
    place = f"{stretch.slice} from {_day(stretch.since)} until {until}"
    return f"{stretch.quarantine_id} {stretch.state:8} {place}: {stretch.detail}{word}"


def _day(time: int) -> str:
    return datetime.fromtimestamp(time / 1_000_000, UTC).isoformat(" ", "minutes").removesuffix("+00:00")
