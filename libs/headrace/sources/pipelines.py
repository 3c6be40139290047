"""Read ``pipelines/*.yaml``: the file's own words, with its contracts put in, as a ``Definition``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pydantic import ValidationError

from headrace.contracts.arrow import arrow_schema
from headrace.errors import ConfigurationError
from headrace.features.rows import compile_rows
from headrace.features.windows import compile_windows
from headrace.pipeline.definition import Definition, WindowFeature
from headrace.pipeline.rules import checker
from headrace.pipeline.schemas import raw_schema

INSTANT = pa.timestamp("us", tz="UTC")


def read(path: Path) -> Definition:
    """Return the definition that a pipeline file holds; contracts named by path stand beside the file.

    Raises ``ConfigurationError`` naming the file, the line, the key and what to do.
    """
    text = _text(path, "write it with `headrace init NAME --from data.csv`, or run in the checkout")
    root = _compose(path, text)
    content = yaml.safe_load(text)
    try:
        _put_in_contracts(path, content)
        _put_in_references(path, content)
        definition = Definition.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} is not a pipeline", why=_told(path, root, error), next_command=f"edit {path}"
        ) from error
    for name in definition.records:
        _check_columns(path, root, definition, name)
    _check_groups(path, root, definition)
    _check_rekey(path, root, definition)
    _check_expressions(path, definition)
    return definition


def read_all(folder: Path) -> dict[str, Definition]:
    """Return every pipeline of ``folder`` by name; a file's stem must be its pipeline's name."""
    found = {path.stem: read(path) for path in sorted(folder.glob("*.yaml"))}
    for stem, definition in found.items():
        if stem != definition.name:
            raise ConfigurationError(
                f"{folder / stem}.yaml says name: {definition.name}",
                next_command=f"call the file {definition.name}.yaml",
            )
    return found


def find(name: str, folder: Path) -> Definition:
    """Return the pipeline called ``name``; the error names those that exist."""
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ConfigurationError(
            f"there is no pipeline {name}",
            why=f"{folder} has: {known}",
            next_command=f"headrace init {name} --from data.csv ...",
        )
    return read(path)


def _text(path: Path, next_command: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} does not exist", next_command=next_command) from error


def _compose(path: Path, text: str) -> yaml.MappingNode:
    """Return the YAML nodes, which know their lines."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"{path} is not YAML", why=str(error), next_command=f"edit {path}"
        ) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigurationError(
            f"{path} is not a pipeline",
            why="it holds no keys",
            next_command="start from pipelines/flights.yaml",
        )
    return root


def _put_in_contracts(path: Path, content: dict[str, Any]) -> None:
    records = content.get("records")
    for record in records.values() if isinstance(records, dict) else ():
        if isinstance(record, dict) and isinstance(record.get("contract"), str):
            record["contract"] = _contract(path, path.parent / record["contract"])


def _put_in_references(path: Path, content: dict[str, Any]) -> None:
    """Put the values of reference sets in the place of the lists' paths: they are part of what the digest covers."""
    rules = content.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict) and isinstance(rule.get("values"), str):
            listed = path.parent / rule["values"]
            lines = _text(listed, f"correct the `values:` that names it in {path}").splitlines()
            rule["values"] = [line.strip() for line in lines if line.strip()]


def _contract(path: Path, avsc: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_text(avsc, f"correct the `contract:` that names it in {path}"))
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{avsc}:{error.lineno} is not JSON", why=error.msg, next_command=f"edit {avsc}"
        ) from error
    return found


def _check_columns(path: Path, root: yaml.MappingNode, definition: Definition, name: str) -> None:
    """Refuse a record type that names a column its contract has not, or a time that is none."""
    record = definition.records[name]
    try:
        schema = arrow_schema(raw_schema(definition, name))
    except (ValueError, KeyError) as error:
        raise ConfigurationError(
            f"{path}: the contract of {name} cannot be used", str(error), f"edit the .avsc of {name}"
        ) from error
    named = [("id", record.id), ("time", record.time), *(("key", column) for column in record.key)]
    for role, column in [*named, *([("joins", record.joins)] if record.joins else [])]:
        if column not in schema.names:
            place = f"{path}:{_line(root, ('records', name, role))}"
            raise ConfigurationError(
                f"{place} records.{name}.{role}: {name} has no field {column}",
                "",
                f"its fields are {', '.join(schema.names)}",
            )
    if schema.field(record.time).type != INSTANT:
        place = f"{path}:{_line(root, ('records', name, 'time'))}"
        raise ConfigurationError(
            f"{place} records.{name}.time: {record.time} is no timestamp-micros", "", "edit the contract"
        )


def _check_groups(path: Path, root: yaml.MappingNode, definition: Definition) -> None:
    """Refuse a window whose group is no column of the windowed record, or of the event."""
    for number, window in enumerate(definition.features.windows):
        asked = [(window.record, window.group_by), (definition.event, window.event_column or window.group_by)]
        for record, column in asked:
            if column not in arrow_schema(raw_schema(definition, record)).names:
                place = f"{path}:{_line(root, ('features', 'windows', number, 'group_by'))}"
                raise ConfigurationError(
                    f"{place} features.windows.{number}: {record} has no field {column}",
                    "",
                    "group_by names the windowed record's field, event_column the event's",
                )


def _check_rekey(path: Path, root: yaml.MappingNode, definition: Definition) -> None:
    """Refuse a re-key by a column that a record type has not, and a window whose groups lie in several partitions."""
    for record, column in (definition.rekey or {}).items():
        names = arrow_schema(raw_schema(definition, record)).names
        if column not in names:
            raise ConfigurationError(
                f"{path}:{_line(root, ('rekey', record))} rekey.{record}: {record} has no field {column}",
                "",
                f"its fields are {', '.join(names)}",
            )
    for window in definition.scattered()[:1]:
        number = definition.features.windows.index(window)
        place = f"{path}:{_line(root, ('features', 'windows', number, 'group_by'))}"
        raise ConfigurationError(
            f"{place} features.windows.{number}: the records of one {window.group_by} lie in several partitions",
            f"the topic has {definition.partitions}, and records lie by "
            f"{'their key' if definition.rekey is None else 'another column'}; one column can be counted by",
            f"say `rekey: {{{', '.join(_moves(definition, window))}}}`, or partitions: 1",
        )


def _moves(definition: Definition, window: WindowFeature) -> Iterator[str]:
    """Yield what `rekey` would say of each record type; a column that cannot be guessed is left open."""
    known = {window.record: window.group_by, definition.event: window.event_column or window.group_by}
    for name in definition.records:
        has = window.group_by in arrow_schema(raw_schema(definition, name)).names
        yield f"{name}: {known.get(name, window.group_by if has else 'COLUMN')}"


def _check_expressions(path: Path, definition: Definition) -> None:
    """Compile every rule, label and feature, so that a mistake is found here and not in a service."""
    if not definition.features.names:
        raise ConfigurationError(
            f"{path}: features has neither rows nor windows", "a model needs one", "add a feature"
        )
    try:
        for name in definition.records:
            checker(definition, name)
        compile_rows(definition)
        compile_windows(definition)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.what}", error.why, error.next_command) from error


def _told(path: Path, root: yaml.MappingNode, error: ValidationError) -> str:
    """Return one line for each complaint: file:line, key, what is wrong."""
    lines = []
    for item in error.errors():
        place = ".".join(map(str, item["loc"])) or "the file as a whole"
        lines.append(f"{path}:{_line(root, item['loc'])} {place}: {item['msg']}{_got(item)}")
    return "\n".join(lines)


def _got(item: Any) -> str:
    plain = isinstance(item["input"], str | int | float | bool)
    return f", got {item['input']!r}" if plain and item["type"] != "extra_forbidden" else ""


def _line(node: yaml.Node, place: tuple[int | str, ...]) -> int:
    """Return the line of the deepest node on the way to ``place`` that the file has."""
    for step in place:
        below = _below(node, step)
        if below is None:
            break
        node = below
    return int(node.start_mark.line) + 1


def _below(node: yaml.Node, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    return None
