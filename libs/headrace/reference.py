"""The reference pages that are made from code: ``python -m headrace.reference`` writes them all."""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from pydantic_settings import BaseSettings

from headrace.cli.__main__ import COMMANDS, load
from headrace.demo import report
from headrace.local.settings import CHECKOUT, Settings
from headrace.pipeline import durations
from headrace.pipeline.definition import Definition, RecordType

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
SERVICES = CHECKOUT / "services"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _AsWritten(GenerateJsonSchema):
    """A definition as a file has it: durations as text, contracts as paths."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Describe a duration as its text."""
        if schema["function"]["function"] is not durations.parse:
            return super().function_before_schema(schema)
        units = "|".join(durations.UNITS)
        return {"type": "string", "pattern": rf"^\s*\d+\s*({units})\s*$", "examples": ["90s", "3h", "2d"]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Write the default of a duration as its text."""
        made = super().default_schema(schema)
        if "pattern" in made and isinstance(made.get("default"), int):
            made["default"] = durations.show(made["default"])
        return made


def pipeline_schema() -> dict[str, Any]:
    """Return the JSON Schema of a pipeline file, for editors to complete and check it."""
    made = Definition.model_json_schema(schema_generator=_AsWritten)
    contract = made["$defs"][RecordType.__name__]["properties"]["contract"]
    contract |= {"type": ["string", "object"], "description": "Path to the record's .avsc, beside this file"}
    return {"$schema": DIALECT, **made}


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of what ``headrace demo --json`` writes."""
    return {"$schema": DIALECT, **report.json_schema()}


def cli_page() -> str:
    """Return the page of all commands, with their arguments and options."""
    head = (
        "# Commands\n\n"
        "Made from the commands themselves by `python -m headrace.reference`. Exit codes: 0 ok, 1 failed, 2 usage, "
        "3 configuration, 4 broker or registry unreachable, 5 a check said no. An error says what failed, why, and "
        "the next command; `headrace --debug COMMAND` shows its traceback.\n"
    )
    return head + "".join(
        section for name in COMMANDS for section in _sections(f"headrace {name}", load(name))
    )


def _sections(name: str, command: Any) -> Iterator[str]:
    below: Mapping[str, Any] = getattr(command, "commands", {})
    if below:
        for inner, found in below.items():
            yield from _sections(f"{name} {inner}", found)
        return
    rows = [f"| {_spelled(p)} | {_told(p)} |" for p in command.params if not p.name.endswith("completion")]
    table = "".join(f"{row}\n" for row in ("\n| | |", "|---|---|", *rows)) if rows else ""
    yield f"\n## `{name}`\n\n{(command.help or '').strip()}\n{table}"


def _spelled(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.name.upper()}`" + ("" if param.required else " (optional)")
    return ", ".join(f"`{option}`" for option in (*param.opts, *param.secondary_opts))


def _told(param: Any) -> str:
    text = (getattr(param, "help", None) or "").replace("|", "\\|")
    required = " **Required.**" if param.required and param.param_type_name == "option" else ""
    default = param.default
    shown = default not in (None, False, (), []) and not callable(default) and not required
    return f"{text}{required}" + (
        f" Default: `{default}`." if shown and param.param_type_name == "option" else ""
    )


def settings_page() -> str:
    """Return the page of all environment variables: those that everybody reads, and those of single services."""
    head = (
        "# Settings\n\n"
        "Made from the settings themselves by `python -m headrace.reference`. Every command and every service reads the "
        "same variables; one that is set wrongly ends the program with exit code 3, its name and what to do.\n"
    )
    found = [("everybody", Settings)]
    for service in sorted(path.parent.name for path in SERVICES.glob("*/settings.py")):
        declared = vars(import_module(f"services.{service}.settings")).values()
        found += [(service, made) for made in declared if _is_settings(made)]
    return head + "".join(_variables(reader, settings) for reader, settings in found)


def _is_settings(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseSettings) and found is not BaseSettings


def _variables(reader: str, settings: type[BaseSettings]) -> str:
    prefix = settings.model_config["env_prefix"]
    rows = [
        f"| `{prefix}{name.upper()}` | {field.description}"
        + ("" if field.default_factory else f". Default: `{field.default}`")
        + " |\n"
        for name, field in settings.model_fields.items()
    ]
    return f"\n## Read by {reader}\n\n| | |\n|---|---|\n" + "".join(rows)


def _json(made: Mapping[str, Any]) -> str:
    return json.dumps(made, indent=2) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "settings.md": settings_page,
    "pipeline.schema.json": lambda: _json(pipeline_schema()),
    "report.schema.json": lambda: _json(report_schema()),
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
