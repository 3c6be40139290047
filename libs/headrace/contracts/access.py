"""What each part of Headrace may do on a cluster it shares with others: access control lists from the topic sheets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from headrace.contracts.catalogue import TopicSheet, topics

EVERYONE = "every service"
PEOPLE = ("producers", "apps", "operators")
CONTROL = ("control.", "training.", "registry.")  # how the names of topics begin that belong to all pipelines
OWN = "headrace."  # how the names of groups and transactional ids begin
CHANGELOG = "changelog"
READ, WRITE = ("Read", "Describe"), ("Write", "Describe")
CREATE = ("Create", "Describe", "DescribeConfigs")


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One permission: who (a service, or people) may do what with which topic, group or transactional id."""

    principal: str
    resource: str
    name: str
    pattern: str
    operations: tuple[str, ...]

    def command(self, bootstrap: str) -> str:
        """Return the command of Kafka's own tool that grants it."""
        asked = " ".join(f"--operation {operation}" for operation in self.operations)
        return (
            f"kafka-acls.sh --bootstrap-server {bootstrap} --add --allow-principal User:{self.principal} "
            f"{asked} --{self.resource} {self.name} --resource-pattern-type {self.pattern}"
        )


def services() -> list[str]:
    """Return the services that the sheets speak of, sorted."""
    spoken = {name for sheet in topics().values() for name in (*sheet.producers, *sheet.consumers)}
    return sorted(spoken - {EVERYONE, *PEOPLE})


def grants(pipelines: Iterable[str]) -> list[Grant]:
    """Return what is needed for these pipelines and no more, sorted; who creates topics are the operators."""
    names = sorted(pipelines)
    found = {g for stream, sheet in topics().items() for g in _of_topic(stream, sheet, names)}
    for service in services():
        own = f"{OWN}{service}"
        found.add(Grant(service, "group", own, "prefixed", READ))
        found.add(Grant(service, "transactional-id", own, "prefixed", WRITE))
    begins = [*CONTROL, *(f"{name}." for name in names)]
    found |= {Grant("operators", "topic", begin, "prefixed", CREATE) for begin in begins}
    return sorted(found)


def _of_topic(stream: str, sheet: TopicSheet, pipelines: Iterable[str]) -> Iterator[Grant]:
    for who, operations in ((sheet.producers, WRITE), (sheet.consumers, READ)):
        for principal in _expanded(who):
            for name in _names(stream, sheet, principal, pipelines):
                yield Grant(principal, "topic", name, "literal", operations)


def _expanded(who: Iterable[str]) -> Iterator[str]:
    for name in who:
        yield from services() if name == EVERYONE else [name]


def _names(stream: str, sheet: TopicSheet, principal: str, pipelines: Iterable[str]) -> set[str]:
    """Return a sheet's topics as a service sees them: of the changelogs only its own."""
    service = principal if stream == CHANGELOG else ""
    return {sheet.name.format(pipeline=pipeline, service=service) for pipeline in pipelines}
