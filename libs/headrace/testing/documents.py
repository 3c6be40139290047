"""The marked code blocks of a page, so that a test runs what a reader reads."""

import re
from pathlib import Path

_MARKED = re.compile(r"^<!-- (?P<name>\S+) -->\n```\w*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> dict[str, str]:
    """Return a page's code blocks by the name in the comment above each."""
    return {found["name"]: found["code"] for found in _MARKED.finditer(page.read_text())}


def block(page: Path, name: str) -> str:
    """Return one code block; raise ``KeyError`` when the page has none of that name."""
    return blocks(page)[name]
