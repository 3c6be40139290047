"""``headrace fuzz``."""

from pathlib import Path
from typing import Annotated

import typer

MEMORY_MB = 64


def command(
    *,
    records: Annotated[int, typer.Option(min=1, help="How many damaged records")] = 2_000_000,
    seed: Annotated[int, typer.Option(help="One number is the whole run")] = 20130101,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file")] = None,
) -> None:
    """Give the decoder damaged records and hold its answers against the plain decoder's. Exit 5 when they object."""
    import json

    from headrace.cli.printing import print_fields, progress
    from headrace.errors import CheckError
    from headrace.testing.fuzz import fuzz

    with progress() as tell:
        report = fuzz(records, lambda share: tell("damaged records", share), seed=seed)
    if json_file is not None:
        json_file.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
    print_fields("fuzz", report.as_dict())
    if not report.clean or report.rss_growth_mb > MEMORY_MB:
        raise CheckError(
            "the decoder did not answer every record as the plain one does, within its memory",
            "each finding above names the schema and the bytes",
            f"headrace fuzz --seed {seed} --records {records}",
        )
