"""``headrace retrain``: ask for a training, pause trainings, resume them."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

app = typer.Typer(help="Ask for a training, pause trainings, resume them.", no_args_is_help=True)
Pipeline = Annotated[str, typer.Argument(help="The pipeline")]
Why = Annotated[str, typer.Option(help="The reason; it is kept with the event")]
By = Annotated[str | None, typer.Option(help="Who asks  [default: the user's name]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
REFUSED = ("RetrainRefused", "TrainingFailed", "CandidateRefused", "ShadowRefused")


@app.command()
def now(
    pipeline: Pipeline,
    *,
    why: Why,
    by: By = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the candidate's fate; exit 1 when refused")
    ] = False,
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Ask for a training; the guard decides."""
    from headrace.bus import commanding
    from headrace.cli.broker import broker

    with broker() as (settings, log, registry):
        about = commanding.definition(log, registry, pipeline)
        said = commanding.retrain(pipeline, why, commanding.last_time(log, registry, pipeline), by=by)
        commanding.say(settings.bootstrap, registry, said, about)
        told = [(said.record, said.fields)]
        _tell(*told[0], as_json=as_json)
        answers = commanding.Answers(log, registry, pipeline, seconds)
        for name, fields in answers.trained(said.fields["request_id"]) if wait else ():
            told.append((name, fields))
            _tell(name, fields, as_json=as_json)
    _end(told, pipeline)


@app.command()
def pause(pipeline: Pipeline, *, why: Why, by: By = None, as_json: AsJson = False) -> None:
    """Refuse every training until they are resumed."""
    _order("pause", pipeline, why, by, as_json=as_json)


@app.command()
def resume(pipeline: Pipeline, *, why: Why, by: By = None, as_json: AsJson = False) -> None:
    """Allow trainings again."""
    _order("resume", pipeline, why, by, as_json=as_json)


def _order(which: str, pipeline: str, why: str, by: str | None, *, as_json: bool) -> None:
    from headrace.bus import commanding
    from headrace.cli.broker import broker

    said = getattr(commanding, which)(pipeline, why, by=by)
    with broker() as (settings, log, registry):
        commanding.say(settings.bootstrap, registry, said, commanding.definition(log, registry, pipeline))
    _tell(said.record, said.fields, as_json=as_json)


def _tell(name: str, fields: Mapping[str, Any], *, as_json: bool) -> None:
    from headrace.bus.shown import as_json as text

    if as_json:
        typer.echo(text({"event": name, **fields}))
        return
    names = ("reason", "why", "error", "version", "loss", "champion_loss", "request_id", "command_id")
    detail = ", ".join(f"{n} {fields[n]}" for n in names if fields.get(n) is not None)
    tick = "" if fields["tick"] < 0 else f" at tick {fields['tick']}"
    typer.echo(f"{name}{tick}: {detail}")


def _end(told: list[tuple[str, Mapping[str, Any]]], pipeline: str) -> None:
    from headrace.errors import HeadraceError

    name, fields = told[-1]
    if name in REFUSED:
        why = fields.get("reason") or fields.get("error") or "a gate said no"
        raise HeadraceError(f"the training ended with {name}", why, f"headrace model list {pipeline}")
