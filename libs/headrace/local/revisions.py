"""Schemas as they were: in a git revision, at the releases before it, or in another folder."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headrace.errors import UsageError

FOLDERS = ("schemas/events", "pipelines")
Schemas = Mapping[str, dict[str, Any]]
"""By path below the checkout."""


def in_folder(root: Path) -> Schemas:
    """Return the schemas of a checkout's folder."""
    found = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.avsc"))]
    return {str(path.relative_to(root)): json.loads(path.read_text()) for path in found}


def before(root: Path, against: str) -> list[Schemas]:
    """Return the schemas of ``against`` (a folder or a git revision), after those of the releases it contains.

    Raises ``UsageError`` for a revision that git does not know.
    """
    if Path(against).is_dir():
        return [in_folder(Path(against))]
    revision = _git(root, "rev-parse", "--verify", "--quiet", f"{against}^{{commit}}")
    if revision is None:
        raise UsageError(
            f"there is no revision {against}",
            "a folder, or what git rev-parse understands",
            "headrace schema check --help",
        )
    releases = _git(root, "tag", "--list", "v*", "--merged", revision.strip(), "--sort=creatordate") or ""
    return [dict(_at(root, revision)) for revision in (*releases.split(), revision.strip())]


def _at(root: Path, revision: str) -> Iterator[tuple[str, dict[str, Any]]]:
    listed = _git(root, "ls-tree", "-r", "--name-only", revision, "--", *FOLDERS) or ""
    for path in (line for line in listed.splitlines() if line.endswith(".avsc")):
        yield path, json.loads(_git(root, "show", f"{revision}:{path}") or "null")


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None
