"""``headrace model``: the versions of a pipeline, and the way back."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.audit.versions import History

app = typer.Typer(help="List and show models, or roll one back.", no_args_is_help=True)
Pipeline = Annotated[str, typer.Argument(help="The pipeline")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
COLUMNS = ("version", "status", "tick", "trigger", "loss", "champion_loss", "gates", "model_digest")


@app.command("list")
def list_(pipeline: Pipeline, as_json: AsJson = False) -> None:
    """List a pipeline's model versions and the candidates its gates refused, from the control topics."""
    from headrace.audit.versions import refusals, versions
    from headrace.bus.shown import as_json as text

    found = _history(pipeline)
    told = {"pipeline": pipeline, "versions": versions(found), "refused": refusals(found)}
    typer.echo(text(told, indent=2)) if as_json else _print_list(told)


@app.command()
def show(
    pipeline: Pipeline,
    version: Annotated[int | None, typer.Argument(help="Version  [default: the champion]")] = None,
    as_json: AsJson = False,
) -> None:
    """Show where a version came from, what it showed at the gates and what became of it."""
    from headrace.bus.shown import as_json as text
    from headrace.cli.printing import print_fields

    chosen = chosen_version(_history(pipeline), pipeline, version)
    if as_json:
        typer.echo(text(chosen, indent=2))
    else:
        print_fields(f"{pipeline}, version {chosen['version']}", chosen)


@app.command()
def rollback(
    pipeline: Pipeline,
    *,
    why: Annotated[str, typer.Option(help="The reason; it is kept with the event")],
    to: Annotated[int | None, typer.Option(help="Version  [default: the champion before this one]")] = None,
    by: Annotated[str | None, typer.Option(help="Who asks  [default: the user's name]")] = None,
    seconds: Annotated[float, typer.Option("--timeout", help="Seconds to wait for the answer")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Put an earlier champion back; return when serving obeys. Exit 1 when it is refused."""
    from headrace.bus import commanding
    from headrace.bus.shown import as_json as text
    from headrace.errors import HeadraceError

    said = commanding.rollback(pipeline, why, by=by, to_version=to)
    with _broker() as (settings, log, registry):
        about = commanding.definition(log, registry, pipeline)
        commanding.say(settings.bootstrap, registry, said, about)
        answers = commanding.Answers(log, registry, pipeline, seconds)
        name, fields = answers.rolled_back(said.fields["command_id"])
    if as_json:
        typer.echo(text({"event": name, **fields}, indent=2))
    if name == "RollbackRefused":
        raise HeadraceError("the rollback was refused", fields["reason"], f"headrace model list {pipeline}")
    if not as_json:
        typer.echo(
            f"rolled back at tick {fields['tick']}: version {fields['version']} is champion, it was"
            f" {fields['from_version']} ({fields['by']}: {fields['why']}); serving obeys after tick {fields['obeyed_after']}"
        )


def chosen_version(found: "History", pipeline: str, version: int | None) -> dict[str, Any]:
    """Return one version; None: the champion; raise UsageError when there is none such."""
    from headrace.audit.versions import versions
    from headrace.errors import UsageError

    for told in versions(found):
        if told["version"] == version or (version is None and told["status"] == "champion"):
            return told
    what = "no champion yet" if version is None else f"no version {version}"
    raise UsageError(f"{pipeline} has {what}", "", f"headrace model list {pipeline}")


def _history(pipeline: str) -> "History":
    from headrace.audit.versions import history
    from headrace.bus.commanding import definition

    with _broker() as (_, log, registry):
        definition(log, registry, pipeline)
        return history(log, registry, pipeline)


def _broker() -> Any:
    from headrace.cli.broker import broker

    return broker()


def _print_list(told: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, title=f"{told['pipeline']}: models", title_justify="left", box=None)
    for version in told["versions"]:
        table.add_row(*_cells(version))
    for refused in told["refused"]:
        table.add_row(*_cells({**refused, "version": "-", "status": "refused by gates"}), style="dim")
    Console(highlight=False).print(table)


def _cells(told: Mapping[str, Any]) -> Sequence[str]:
    return (
        str(told["version"]),
        told["status"],
        str(told["tick"]),
        told["training"].get("trigger", ""),
        _figure(told["loss"]),
        _figure(told["champion_loss"]),
        ", ".join(f"failed {g['name']}" for g in told["gates"] if not g["passed"]) or "passed",
        told["model_digest"][:12],
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
