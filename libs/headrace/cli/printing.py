"""Nested fields on a terminal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from headrace.bus.shown import as_json

WIDTH = 22


def print_fields(title: str, told: Mapping[str, Any]) -> None:
    """Print a title and fields below it, one a line, nested ones indented."""
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    for line in _lines(told, 1):
        console.print(Text(line), soft_wrap=True)


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """Show a bar on standard error while a topic is read; yield what takes its name and share (0 to 1)."""
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda topic, share: bar.update(task, description=topic, completed=share)


def _lines(told: Mapping[str, Any], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, value in told.items():
        if isinstance(value, Mapping) and value:
            yield f"{pad}{name}"
            yield from _lines(value, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{pad}{name}"
            for item in value:
                yield f"{pad}  - {', '.join(f'{k} {_short(v)}' for k, v in item.items())}"
        else:
            yield f"{pad}{name:{WIDTH}} {_short(value)}"


def _short(value: Any) -> str:
    if value is None or value in ([], {}):
        return "-"
    return value if isinstance(value, str) else as_json(value).strip('"')
