"""``headrace publish``: a file's rows, or a source of our own, to a pipeline."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.local.settings import Settings
    from headrace.pipeline.definition import Definition
    from headrace.sources.publisher import Progress


def command(
    name: Annotated[str, typer.Argument(help="The pipeline")],
    file: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet file; none for the data that ship with it")
    ] = None,
    *,
    rate: Annotated[
        float | None, typer.Option(help="Events a second  [default: as fast as it goes]", min=0.001)
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="End the stream before this time (UTC)")] = None,
    sort: Annotated[bool, typer.Option(help="Sort an unsorted file by time, or refuse it")] = True,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for the services to finish a step")
    ] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Send a file's rows to a pipeline in the order of their times, and end the stream.

    The events are checked first; those that break a rule are sent all the same and end as receipts. A publisher
    that was interrupted goes on where it was.
    """
    from headrace.bus.provision import provision
    from headrace.bus.registry import ConfluentRegistry
    from headrace.local.settings import Settings
    from headrace.sources import pipelines, publisher, sender

    settings = Settings()
    definition = pipelines.find(name, settings.pipelines)
    tables = _tables(definition, file, settings.pipelines, sort=sort)
    expected = rejections(definition, tables)
    if not as_json:
        _tell_checks(tables, expected)
    _require_platform(settings)
    provision(settings)
    target = sender.Target(settings.bootstrap, ConfluentRegistry(settings.registry_url), rate, patience)
    done = publisher.publish(
        definition,
        tables,
        target,
        source=f"headrace/publish/{file.name if file else name}",
        until=_micros(until),
        tell=_quiet if as_json else _tell,
    )
    _tell_end(name, done, expected, as_json=as_json)


def _require_platform(settings: "Settings") -> None:
    """Raise ``UnreachableError`` unless the broker and the registry answer."""
    from headrace.errors import UnreachableError
    from headrace.local.answers import kafka_answers, registry_answers

    if not kafka_answers(settings):
        raise UnreachableError(f"the broker at {settings.bootstrap} does not answer", "", "headrace up")
    if not registry_answers(settings):
        raise UnreachableError(
            f"the schema registry at {settings.registry_url} does not answer", "", "headrace up"
        )


def rejections(definition: "Definition", tables: Mapping[str, "pa.Table"]) -> dict[str, int]:
    """Return how many rows each rule would turn down, asked of the contracts before anything is sent."""
    from headrace.pipeline.rules import checker

    found: dict[str, int] = {}
    for record, table in tables.items():
        check = checker(definition, record)
        for violation in (v for batch in table.to_batches() for v in check(batch) if v.severity == "reject"):
            found[violation.rule] = found.get(violation.rule, 0) + len(violation.rows)
    return found


def _tables(
    definition: "Definition", file: Path | None, folder: Path, *, sort: bool
) -> Mapping[str, "pa.Table"]:
    from headrace.errors import UsageError
    from headrace.sources import reading, source

    if file is None:
        return source.shipped(definition.name)
    how = reading.load(folder, definition.name)
    sheet = how.sheet(file)
    if not how.time.of(sheet).is_sorted():
        if not sort:
            raise UsageError(
                f"{file} is not sorted by {how.time.column}", "", "--sort sends it in the order of its times"
            )
        typer.echo(f"{file} is not sorted by {how.time.column}: sent in the order of its times", err=True)
    return how.tables(definition, sheet)


def _micros(until: datetime | None) -> int | None:
    return None if until is None else int(until.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _tell_checks(tables: Mapping[str, "pa.Table"], expected: Mapping[str, int]) -> None:
    counts = ", ".join(f"{len(table)} {record}" for record, table in tables.items())
    rules = ", ".join(f"{count} by {rule}" for rule, count in expected.items()) or "none"
    typer.echo(f"to send: {counts}; would be rejected: {rules}")


def _tell(progress: "Progress") -> None:
    day = datetime.fromtimestamp(progress.time / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M")
    typer.echo(f"step {progress.step} closed at {day}, {progress.events} records sent")


def _quiet(progress: "Progress") -> None:
    del progress


def _tell_end(name: str, done: "Progress", expected: Mapping[str, int], *, as_json: bool) -> None:
    import json

    if as_json:
        told: dict[str, Any] = {
            "pipeline": name,
            "records": done.events,
            "steps": done.step + 1,
            "rejected": expected,
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        typer.echo(f"{name}: {done.events} records sent; next: headrace status")
