"""``headrace schema``: the gate that a changed schema passes before it is published."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.contracts.compatibility import Mode, Verdict
    from headrace.local.settings import Settings

app = typer.Typer(help="Check that changed schemas break nobody.", no_args_is_help=True)


@app.callback()
def schema() -> None:
    """Check that changed schemas break nobody."""


@app.command()
def check(
    *,
    against: Annotated[str, typer.Option(help="A git revision, or a folder with an older checkout")] = "HEAD",
    mode: Annotated[
        str | None, typer.Option(help="A compatibility mode  [default: what the topics' sheets ask for]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Classify what changed in the schemas since another version. Exit 5 when a change breaks a reader."""
    from dataclasses import asdict

    from headrace.bus.shown import as_json as text
    from headrace.contracts.compatibility import judge
    from headrace.errors import CheckError
    from headrace.local import revisions
    from headrace.local.settings import Settings

    settings = Settings()
    now, past = revisions.in_folder(settings.root), revisions.before(settings.root, against)
    told, broken = [], []
    for path in sorted({p for p in (*now, *past[-1]) if now.get(p) != past[-1].get(p)}):
        old = [version[path] for version in past if path in version]
        verdict = judge(old, now.get(path), _mode(mode, path))
        said = _registry(settings, path, now[path]) if path in now else {}
        told.append({"path": path, "good": verdict.good, **asdict(verdict), "registry": said})
        if not verdict.good:
            broken.append(path)
        if not as_json:
            _show(path, verdict, said)
    typer.echo(text(told, indent=2) if as_json else f"{len(told)} schemas changed, {len(broken)} break")
    if broken:
        raise CheckError(
            f"{len(broken)} schemas break their readers",
            ", ".join(broken),
            f"git diff {against} -- {broken[0]}",
        )


def _mode(wanted: str | None, path: str) -> "Mode":
    """Return the mode that is asked for, or the strictest of the topics that carry the record."""
    from typing import get_args

    from headrace.contracts import catalogue
    from headrace.contracts.compatibility import Mode
    from headrace.errors import UsageError

    if wanted is not None:
        found: dict[str, Mode] = {known: known for known in get_args(Mode)}
        if wanted.upper() not in found:
            raise UsageError(f"{wanted} is no mode", f"there are {', '.join(found)}", "headrace schema check")
        return found[wanted.upper()]
    carrying = [s for s in catalogue.topics().values() if Path(path).stem in s.records]
    asked = {s.compatibility for s in carrying} or {"FULL_TRANSITIVE"}
    return "FULL_TRANSITIVE" if "FULL_TRANSITIVE" in asked else "NONE"


def _registry(settings: "Settings", path: str, schema: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return what the registry says under each subject of the record; nothing where no registry answers."""
    import socket
    from urllib.parse import urlsplit

    from headrace.bus.registry import ConfluentRegistry
    from headrace.bus.schemas import subject
    from headrace.contracts import catalogue
    from headrace.pipeline.schemas import namespace

    where = urlsplit(settings.registry_url)
    try:
        socket.create_connection((where.hostname, where.port or 80), 1).close()
    except OSError:
        return {}
    registry = ConfluentRegistry(settings.registry_url)
    pipelines = sorted(p.stem for p in settings.pipelines.glob("*.yaml"))
    sheets = [s for s in catalogue.topics().values() if Path(path).stem in s.declared]
    topics = [s.name.format(pipeline=p, service="") for s in sheets for p in pipelines]
    if path.startswith("pipelines/"):
        pipeline = Path(path).parent.name
        topics = [f"{pipeline}.events.v1"]
        schema = {"namespace": f"{namespace(pipeline)}.events", **schema}
    subjects = {subject(topic, dict(schema)) for topic in topics}
    return {name: registry.accepts(name, dict(schema)) for name in sorted(subjects)}


def _show(path: str, verdict: "Verdict", registry: Mapping[str, bool | None]) -> None:
    words = {True: "takes it", False: "refuses it", None: "does not know it"}
    broken = {o.change: o for o in verdict.objections}
    typer.echo(f"{'ok    ' if verdict.good else 'breaks'} {path} ({verdict.mode})")
    for change in [*verdict.changes, *(c for c in broken if c not in verdict.changes)]:
        typer.echo(f"  {change.kind} {change.path}: {change.before or '-'} -> {change.after or '-'}")
        if change in broken:
            typer.echo(f"    {broken[change].why}; {broken[change].fix}")
    for said in verdict.avro:
        typer.echo(f"  Avro's checker: {said}")
    for name, answer in registry.items():
        typer.echo(f"  the registry {words[answer]}: {name}")
