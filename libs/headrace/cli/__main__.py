"""The ``headrace`` command line: a table of commands, each loaded only when it is called.

To add a command, write ``cli/NAME.py`` with either a function ``command`` (its parameters are typer's, its
docstring the help) or, for a command with sub-commands, ``app = typer.Typer()``, and add one line to
``COMMANDS``. Import what is heavy inside the function, so that ``--help`` stays quick. Say what went wrong by
raising a ``headrace.errors.HeadraceError``: it is printed here as three lines, and its class is the exit code
(0 ok, 1 failed, 2 usage, 3 configuration, 4 broker or registry unreachable, 5 a check said no).
"""

import importlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from headrace import __version__
from headrace.errors import HeadraceError

COMMANDS = {
    "demo": "Run a year of real flights through the loop and verify it",
    "init": "Make a pipeline from a CSV or Parquet file",
    "up": "Start Kafka, the schema registry and every service",
    "down": "Stop them all",
    "status": "Show what runs, how healthy it is, and every pipeline's counts",
    "doctor": "Check this machine and say what to do about each problem",
    "logs": "Show a program's log",
    "publish": "Send a file's rows to a pipeline",
    "event": "Validate an event, or show all that became of one",
    "dlq": "List, repair, replay or discard dead letters",
    "skip": "Let a stopped service step over a record that breaks it",
    "quarantine": "List quarantined labels, or release them",
    "effects": "List what was asked of the world and is not answered",
    "transactions": "List open transactions, or finish those that a broker tore",
    "topic": "Read a topic",
    "schema": "Check that changed schemas break nobody",
    "replay": "Compute a stretch of a topic again and compare",
    "audit": "Prove that a pipeline's ledger is the one that was signed",
    "model": "List and show models, or roll one back",
    "retrain": "Ask for a training, pause trainings, resume them",
    "fuzz": "Give the decoder damaged records and check its answers",
    "bench": "Measure Headrace and its peers on the same events",
    "chaos": "Kill services and the broker, and count what came of it",
    "test": "Run the tests",
}


class LazyGroup(TyperGroup):
    """A group that lists its commands from the table and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (typer's signature)
        """Return the table's names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command if it is loaded, else a stub with its name and one-line help."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name])
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is called before it is looked up."""
        if args and args[0] in COMMANDS:
            self.add_command(load(args[0]), args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def load(name: str) -> Any:
    """Import the module of the command ``name`` and return what it exposes as typer's own command object."""
    module = importlib.import_module(f"headrace.cli.{name}")
    exposed = getattr(module, "app", None) or _alone(module.command)
    return typer.main.get_command(exposed)


def _alone(function: Any) -> typer.Typer:
    single = typer.Typer(add_completion=False)
    single.command(context_settings=getattr(function, "context_settings", None))(function)
    return single


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headrace {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option(help="Show the traceback of an error", envvar="HEADRACE_DEBUG")
    ] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,  # noqa: ARG001  (its callback acts)
) -> None:
    """Event-driven MLOps on Apache Kafka: every prediction, model and decision is an event you can replay."""
    if debug:
        os.environ["HEADRACE_DEBUG"] = "1"


def main() -> None:
    """Run the command line; turn an error that the user can act on into three lines and an exit code."""
    try:
        app(prog_name="headrace")
    except HeadraceError as error:
        if os.environ.get("HEADRACE_DEBUG"):
            raise
        for label, text in (("failed", error.what), ("why", error.why), ("next", error.next_command)):
            if text:
                typer.echo(f"{label + ':':8}{text}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
