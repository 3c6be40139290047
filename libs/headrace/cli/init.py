"""``headrace init``: a pipeline from a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.sources.inference import Draft

COLUMNS = ("column", "type", "nulls", "role", "assumption")


def command(
    name: Annotated[str, typer.Argument(help="Name of the new pipeline: a-z, 0-9 and hyphens")],
    *,
    source: Annotated[Path, typer.Option("--from", help="CSV or Parquet file; all of it is read")],
    key: Annotated[list[str], typer.Option(help="Column of the entity's key (may be given again)")],
    time: Annotated[str, typer.Option(help="Column with the time of the event")],
    label: Annotated[str, typer.Option(help="Column with what is to be predicted")],
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column with a unique id  [default: file digest and row]")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="binary, multiclass or regression  [default: inferred]")
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            help="iso, day-first, month-first, epoch-s, epoch-ms, epoch-us or a pattern (%d.%m.%y %H:%M)"
        ),
    ] = None,
    tz: Annotated[
        str | None, typer.Option(help="Zone of times that name none, such as Europe/Berlin")
    ] = None,
    null: Annotated[
        list[str] | None, typer.Option(help="Text that stands for a missing value, such as NA")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Column to leave out")] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Column to keep although it looks like a leak")
    ] = None,
    label_time: Annotated[
        str | None, typer.Option(help="Column or delay (1d): when the label is known")
    ] = None,
    train_after: Annotated[int, typer.Option(help="Matured labels before the first training", min=10)] = 1000,
    columns: Annotated[
        str | None, typer.Option(help="Names of the columns, for a file without a header")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace a pipeline of this name")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Write a ready pipeline, its contracts and an example from a CSV or Parquet file.

    What the file leaves open (a swapped day and month, a time without a zone, a missing header) stops with the
    flag to add; everything that was assumed is printed.
    """
    from headrace.local.settings import Settings
    from headrace.sources import drafting, inference, tabular

    header = columns.split(",") if columns else None
    wishes = inference.Wishes(
        key=key, time=time, label=label, id=id_column, task=inference.known_task(task), time_format=time_format, tz=tz,
        label_time=label_time, exclude=exclude or (), include=include or (), nulls=null or (), train_after=train_after,
        headless=header is not None,
    )  # fmt: skip
    draft = inference.infer(tabular.read(source, nulls=wishes.nulls, columns=header), wishes)
    written = drafting.write(draft, name, Settings().pipelines, force=force)
    told = report(draft, name, written)
    _print_json(told) if as_json else _print(told)


def report(draft: "Draft", name: str, written: list[Path]) -> dict[str, Any]:
    """Return what ``--json`` prints: task, columns, leaks, assumptions and the files written."""
    from headrace.sources.drafting import assumptions

    lines = [(line.column, line.kind, line.nulls, line.role, line.assumption) for line in draft.lines]
    return {
        "pipeline": name,
        "rows": len(draft.label),
        "task": draft.task,
        "columns": [dict(zip(COLUMNS, line, strict=True)) for line in lines],
        "names": {line.column: line.field for line in draft.lines if line.column != line.field},
        "leaks": draft.leaks,
        "assumptions": assumptions(draft),
        "files": [str(path) for path in written],
    }


def _print_json(told: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(told, indent=2))


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(*COLUMNS, title=f"{told['pipeline']}: {told['rows']} rows", title_justify="left", box=None)
    for line in told["columns"]:
        table.add_row(
            *(str(value) for value in line.values()), style="dim" if line["role"] == "left out" else None
        )
    console.print(table)
    for sentence in told["assumptions"]:
        console.print(f"assumed: {sentence}", highlight=False)
    for path in told["files"]:
        console.print(f"written: {path}", highlight=False, soft_wrap=True)
    console.print(f"next:    headrace up, then headrace publish {told['pipeline']} FILE", highlight=False)
