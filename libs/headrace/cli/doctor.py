"""``headrace doctor``."""

from typing import Annotated

import typer


def command(
    acls: Annotated[
        bool, typer.Option("--acls", help="Instead, list the permissions that a shared cluster must grant")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Check this machine and say what to do about each problem. Exit 5 when there is one."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from headrace.local.checkup import examine
    from headrace.local.platform import Platform
    from headrace.local.settings import Settings

    if acls:
        _print_grants(as_json=as_json)
        return
    findings = examine(Platform(Settings()))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console(highlight=False)
        for finding in findings:
            mark = "[green]ok     [/]" if finding.ok else "[red]problem[/]"
            console.print(f"{mark} {finding.name:12} {finding.found}", soft_wrap=True)
            if not finding.ok:
                console.print(f"{'next:':>20} {finding.next_step}", soft_wrap=True)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 5)


def _print_grants(*, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from headrace.contracts.access import grants
    from headrace.local.settings import Settings

    settings = Settings()
    found = grants(path.stem for path in settings.pipelines.glob("*.yaml"))
    typer.echo(
        json.dumps([asdict(grant) for grant in found], indent=2)
        if as_json
        else "\n".join(grant.command(settings.bootstrap) for grant in found)
    )
