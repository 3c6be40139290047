"""``headrace topic``: records of any topic, decoded."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.bus.reading import KafkaLog, Log, Stamped

app = typer.Typer(help="Read a topic.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one record a line")]
Pipeline = Annotated[str | None, typer.Option(help="Whose topic, for a stream's name")]
TAIL = 10


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the topics, each with its partitions and how far they reach."""
    from headrace.bus.shown import as_json as text
    from headrace.cli.broker import broker

    with broker() as (_, log, _):
        for topic in (name for name in log.topics() if not name.startswith("__")):
            ends = log.ends(topic)
            typer.echo(text({"topic": topic, "ends": ends}) if as_json else f"{topic:48} {_ends(ends)}")


@app.command()
def tail(
    topic: Annotated[
        str, typer.Argument(help="A topic (flights.ticks.v1), or a stream's name with --pipeline")
    ],
    *,
    pipeline: Pipeline = None,
    start: Annotated[
        str | None, typer.Option("--from", help="beginning, end or an offset  [default: the last records]")
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="At most so many records  [default: 10, all with --from]")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is appended")] = False,
    key: Annotated[str | None, typer.Option(help="Records of this key only")] = None,
    as_json: AsJson = False,
) -> None:
    """Show records of a topic, decoded through the registry, partition by partition."""
    from headrace.bus.shown import as_json as text
    from headrace.bus.shown import shown
    from headrace.cli.broker import broker

    with broker() as (_, log, registry):
        name = full_name(log.topics(), topic, pipeline)
        for stamped in chosen(log, name, start, count, key, follow=follow):
            told = shown(stamped, registry)
            typer.echo(text(told) if as_json else _line(told))


def full_name(topics: Iterable[str], topic: str, pipeline: str | None) -> str:
    """Return the topic that is meant; raise UsageError naming those that are like it."""
    from headrace.errors import UsageError

    known = set(topics)
    wanted = [topic, f"{pipeline}.{topic}.v1", f"{topic}.v1", f"control.{topic}.v1"]
    for name in wanted:
        if name in known:
            return name
    like = sorted(name for name in known if topic.split(".", maxsplit=1)[0] in name)
    raise UsageError(
        f"there is no topic {topic}", f"like it: {', '.join(like) or 'none'}", "headrace topic list"
    )


def chosen(
    log: "KafkaLog", name: str, start: str | None, count: int | None, key: str | None, *, follow: bool
) -> Iterator["Stamped"]:
    """Yield the records to show; with ``follow``, for ever or until ``count``."""
    if start is None:
        yield from newest(log, name, count or TAIL, key)
        count = None
    elif start != "end":
        first = log.read(_spans(log, name, start))
        shown_now = list(islice(_keyed(first, key), count)) if count and not follow else _keyed(first, key)
        yield from shown_now
    if follow:
        yield from islice(_keyed(log.follow(name), key), count)


def newest(log: "Log", name: str, count: int, key: str | None = None) -> list["Stamped"]:
    """Return the last records of a topic, those of a partition in the order of the log.

    Looks back further and further: transaction markers take offsets too, and a key may be rare.
    """
    from headrace.bus.reading import Span

    ends, back = log.ends(name), 2 * count
    while True:
        spans = [Span(name, p, max(0, end - back), end) for p, end in ends.items()]
        found = list(_keyed(log.read(spans), key))
        if len(found) >= count or all(s.start == 0 for s in spans):
            last = sorted(found, key=lambda s: (s.appended, s.record.partition, s.record.offset))[-count:]
            return sorted(last, key=lambda s: (s.record.partition, s.record.offset))
        back *= 8


def _spans(log: "Log", name: str, start: str) -> list[Any]:
    from headrace.bus.reading import Span
    from headrace.errors import UsageError

    if start != "beginning" and not start.isdecimal():
        raise UsageError(
            f"--from {start} is no place", "beginning, end or an offset", "headrace topic tail --help"
        )
    offset = 0 if start == "beginning" else int(start)
    return [Span(name, p, offset, end) for p, end in log.ends(name).items()]


def _keyed(found: Iterable["Stamped"], key: str | None) -> Iterator["Stamped"]:
    wanted = key.encode() if key is not None else None
    return (s for s in found if wanted is None or s.record.key == wanted)


def _line(told: Mapping[str, Any]) -> str:
    from headrace.bus.shown import as_json as text

    place = f"{told['partition']}@{told['offset']} {told['appended']} {told['key']} {told['record'] or ''}".rstrip()
    body = f"  ! {told['error']}: {told['bytes']}" if "error" in told else f"  {text(told['value'])}"
    headers = " ".join(f"{name}={value}" for name, value in told["headers"].items())
    return "\n".join(filter(None, (place, f"  {headers}" if headers else "", body)))


def _ends(ends: Mapping[int, int]) -> str:
    return " ".join(f"{partition}@{end}" for partition, end in ends.items())
