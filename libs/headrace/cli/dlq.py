"""``headrace dlq``: dead letters, and what is done about them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from headrace.bus.reading import KafkaLog
    from headrace.bus.records import Outgoing
    from headrace.bus.registry import ConfluentRegistry
    from headrace.local.settings import Settings
    from headrace.pipeline.definition import Definition
    from headrace.sources.letters import Letter

app = typer.Typer(help="List, repair, replay or discard dead letters.", no_args_is_help=True)
Pipeline = Annotated[str, typer.Argument(help="The pipeline")]
Rule = Annotated[str | None, typer.Option(help="Only those that broke this rule")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only this rejection (may be repeated)")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it the command only says what it would do")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
TAKEN = "conflict"  # its event id belongs to an accepted event, so it can only be discarded


class Desk(NamedTuple):
    """What a command works with: the pipeline's letters, and the way to the broker."""

    settings: "Settings"
    log: "KafkaLog"
    registry: "ConfluentRegistry"
    definition: "Definition"
    letters: list["Letter"]


@app.command("list")
def list_(
    pipeline: Pipeline,
    *,
    rule: Rule = None,
    every: Annotated[bool, typer.Option("--all", help="Also those submitted again or discarded")] = False,
    as_json: AsJson = False,
) -> None:
    """List the open dead letters; --json prints one a line, ready to be edited for ``repair --file``."""
    from headrace.bus.shown import as_json as text

    with _desk(pipeline) as desk:
        found = [m for m in desk.letters if (every or m.state == "open") and rule in (None, m.fields["rule"])]
    if as_json:
        for letter in found:
            typer.echo(text(letter.as_dict()))
        return
    for letter in found:
        said = letter.fields
        typer.echo(
            f"{letter.id} {letter.state:11} {letter.place} {said['rule']} {said['path']}: {said['actual']}"
        )
    counts = Counter(m.fields["rule"] for m in found)
    typer.echo(f"{len(found)} letters" + "".join(f", {n} by {name}" for name, n in sorted(counts.items())))


@app.command()
def show(
    pipeline: Pipeline,
    rejection: Annotated[str, typer.Argument(help="Id of the rejection")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: its event, the rule it broke, its headers, and where it lies."""
    from headrace.bus.shown import as_json as text
    from headrace.cli.printing import print_fields

    with _desk(pipeline) as desk:
        (letter,) = _named(desk.letters, [rejection], pipeline)
    told = letter.as_dict()
    typer.echo(text(told, indent=2)) if as_json else print_fields(f"dead letter {letter.id}", told)


@app.command()
def repair(
    pipeline: Pipeline,
    *,
    put: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE for every letter (JSON, or plain text)")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Lines of `dlq list --json` with their values edited")
    ] = None,
    rule: Rule = None,
    ids: Ids = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Submit changed events again under their ids. Exit 5 when the contract would still refuse one."""
    from headrace.errors import CheckError, UsageError
    from headrace.sources.letters import changed, rewritten

    if (file is None) == (not put):
        raise UsageError("say what is changed", "with --set or with --file", "headrace dlq repair --help")
    with _desk(pipeline) as desk:
        edited = _edited(file) if file else {}
        chosen = _open(desk, rule, ids or list(edited) or None, pipeline)
        changes = {m.id: edited.get(m.id, {}) if file else _puts(put or []) for m in chosen}
        repairs = changed(desk.definition, chosen, changes)
        good = [r for r in repairs if r.answer.verdict != "rejected"]
        bad = [r.answer for r in repairs if r.answer.verdict == "rejected"]
        _do(desk, rewritten(desk.definition, desk.registry, good), yes=yes)
    _tell(len(good), "repaired and submitted again", yes=yes, refused=len(bad), as_json=as_json)
    if bad:
        raise CheckError(
            f"{len(bad)} events would be refused again",
            f"the first by {bad[0].rule}: {bad[0].path} expected {bad[0].expected}, found {bad[0].actual}",
            f"headrace dlq list {pipeline} --json",
        )


@app.command()
def replay(
    pipeline: Pipeline, *, rule: Rule = None, ids: Ids = None, yes: Yes = False, as_json: AsJson = False
) -> None:
    """Submit the bytes again as they came, after the contract was changed."""
    from headrace.sources.letters import replayed

    with _desk(pipeline) as desk:
        chosen = _open(desk, rule, ids, pipeline)
        _do(desk, replayed(chosen), yes=yes)
    _tell(len(chosen), "submitted again", yes=yes, as_json=as_json)


@app.command()
def discard(
    pipeline: Pipeline,
    *,
    why: Annotated[str, typer.Option(help="The reason; it is kept with the event")],
    by: Annotated[str | None, typer.Option(help="Who discards  [default: the user's name]")] = None,
    rule: Rule = None,
    ids: Ids = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put letters away: an event says who and why, the letters stay on their topic."""
    from headrace.bus import commanding
    from headrace.sources.letters import discarded

    with _desk(pipeline) as desk:
        named = _named(desk.letters, ids, pipeline) if ids else desk.letters
        chosen = [m for m in named if m.state == "open" and rule in (None, m.fields["rule"])]
        said = discarded(pipeline, chosen, why, by=by)
        if yes and chosen:
            commanding.say(desk.settings.bootstrap, desk.registry, said, desk.definition)
    _tell(len(chosen), "discarded", yes=yes, as_json=as_json)


@contextmanager
def _desk(pipeline: str) -> Iterator[Desk]:
    from headrace.bus import commanding
    from headrace.cli.broker import broker
    from headrace.sources.letters import letters

    with broker() as (settings, log, registry):
        definition = commanding.definition(log, registry, pipeline)
        yield Desk(settings, log, registry, definition, letters(log, registry, pipeline))


def _named(letters: Sequence["Letter"], ids: Sequence[str], pipeline: str) -> list["Letter"]:
    from headrace.errors import UsageError

    known = {m.id: m for m in letters}
    if missing := [i for i in ids if i not in known]:
        raise UsageError(f"there is no dead letter {missing[0]}", "", f"headrace dlq list {pipeline} --all")
    return [known[i] for i in ids]


def _open(desk: Desk, rule: str | None, ids: Sequence[str] | None, pipeline: str) -> list["Letter"]:
    """Return the letters that can be submitted again, of those that are asked for."""
    named = _named(desk.letters, ids, pipeline) if ids else desk.letters
    found = [m for m in named if m.state == "open" and rule in (None, m.fields["rule"])]
    if taken := [m for m in found if m.fields["rule"] == TAKEN]:
        typer.echo(f"left out: {len(taken)} conflicts, whose ids belong to accepted events", err=True)
    return [m for m in found if m.fields["rule"] != TAKEN]


def _puts(put: Sequence[str]) -> dict[str, Any]:
    import json

    from headrace.errors import UsageError

    found = {}
    for item in put:
        name, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item} sets nothing", "FIELD=VALUE", "headrace dlq repair --help")
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:  # plain text needs no quotes
            found[name] = text
    return found


def _edited(file: Path) -> Mapping[str, Mapping[str, Any]]:
    from headrace.errors import UsageError
    from headrace.sources.validation import rows_of

    try:
        return {line["rejection_id"]: line["value"] for line in rows_of(file.read_text(encoding="utf-8"))}
    except (KeyError, FileNotFoundError) as error:
        raise UsageError(
            f"{file} holds no letters", f"missing: {error}", "headrace dlq list PIPELINE --json"
        ) from error


def _do(desk: Desk, records: Sequence["Outgoing"], *, yes: bool) -> None:
    from headrace.contracts.topics import EVENTS
    from headrace.sources.sender import Sender, Target

    if yes and records:
        topic = EVENTS.name(desk.definition.name)
        Sender(topic, Target(desk.settings.bootstrap, desk.registry)).deliver(records)


def _tell(count: int, what: str, *, yes: bool, refused: int = 0, as_json: bool) -> None:
    import json

    if as_json:
        typer.echo(json.dumps({"letters": count, "refused": refused, "done": yes}))
    else:
        typer.echo(
            f"{count} letters {'were' if yes else 'would be'} {what}" + ("" if yes else "; --yes does it")
        )
