"""The contracts on disk: records, topic sheets and examples. The one module here that reads files."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

_PACKAGE = Path(__file__).parent.parent / "schemas"
_CHECKOUT = Path(__file__).parents[3] / "schemas"
FOLDER = _PACKAGE if _PACKAGE.is_dir() else _CHECKOUT


class TopicSheet(BaseModel):
    """What ``schemas/topics/<stream>.yaml`` says about a topic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    owner: str
    description: str
    key: str
    records: list[str]
    producers: list[str]
    consumers: list[str]
    compatibility: Literal["NONE", "FULL_TRANSITIVE"]
    partitions: int | Literal["pipeline"]
    cleanup: Literal["delete", "compact"]
    retention: str
    dead_letter: str | None
    public: bool
    headers: bool = True

    @property
    def declared(self) -> list[str]:
        """Return the records that have an .avsc; the others are generated for each pipeline."""
        return [r for r in self.records if "{" not in r]


@cache
def _schema_text(name: str) -> str:
    return (FOLDER / "events" / f"{name}.avsc").read_text()


def schema(name: str) -> dict[str, Any]:
    """Return the Avro schema of a record such as ``Prediction``; raise ``FileNotFoundError`` for an unknown one."""
    loaded: dict[str, Any] = json.loads(_schema_text(name))
    return loaded


def records() -> list[str]:
    """Return the names of all records, sorted."""
    return sorted(p.stem for p in (FOLDER / "events").glob("*.avsc"))


def examples() -> list[str]:
    """Return the names of the records that have an example, sorted: all of them, says the catalogue test."""
    return sorted(p.stem for p in (FOLDER / "examples").glob("*.json"))


def example(name: str) -> dict[str, Any]:
    """Return the example of a record as JSON has it: times in microseconds, bytes as characters 0 to 255."""
    loaded: dict[str, Any] = json.loads((FOLDER / "examples" / f"{name}.json").read_text())
    return loaded


@cache
def topics() -> dict[str, TopicSheet]:
    """Return every topic sheet by stream, for example ``predictions`` or ``control.models``."""
    paths = sorted((FOLDER / "topics").glob("*.yaml"))
    return {p.stem: TopicSheet.model_validate(yaml.safe_load(p.read_text())) for p in paths}
