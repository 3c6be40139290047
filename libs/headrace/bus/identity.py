"""Topics are known by the id that Kafka gave them: one that was deleted and made again is refused.

A name says nothing: the offsets that were committed on a topic mean other records on its successor, or none. A lane
keeps the ids of what it reads where a deletion cannot take both copies, in the metadata of the offsets it commits: at
its changelog those of its inputs and books, at each input that of its changelog. (Kafka drops the offsets of a topic
with the topic.) They are committed with every transaction, so they last as long as the offsets do.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from headrace.errors import ConfigurationError

Place = tuple[str, str, int]  # service, topic, partition
Ids = Mapping[str, str]
NEXT = "give the pipeline a new name in its file, then headrace up"


@dataclass(slots=True)
class Notes:
    """What is committed beside offsets: ``texts`` by place, and by the place of an input its lane's changelog."""

    texts: dict[Place, str] = field(default_factory=dict)
    changelogs: dict[Place, Place] = field(default_factory=dict)

    def remember(self, inputs: Iterable[Place], changelog: Place, ids: Ids) -> None:
        """Take the ids of all that a lane reads; its changelog is among them."""
        own = {name: told for name, told in ids.items() if name == changelog[1]}
        self.texts[changelog] = json.dumps(
            {n: told for n, told in ids.items() if n not in own}, sort_keys=True
        )
        for place in inputs:
            self.texts[place] = json.dumps(own)
            self.changelogs[place] = changelog

    def marked(self, offsets: Mapping[Place, int]) -> Iterator[tuple[str, TopicPartition]]:
        """Yield each service with an offset to commit for it; a lane's changelog has the offset 0, for its note."""
        kept = dict.fromkeys((self.changelogs[p] for p in offsets if p in self.changelogs), 0)
        for place, offset in {**offsets, **kept}.items():
            yield place[0], TopicPartition(*place[1:], offset, self.texts.get(place, ""))


def ids_of(admin: AdminClient, topics: Iterable[str]) -> dict[str, str]:
    """Return the ids of those topics that there are.

    Raises:
        KafkaException: when the broker does not answer.
    """
    found = {}
    for name, told in admin.describe_topics(TopicCollection(sorted(set(topics)))).items():
        try:
            found[name] = str(told.result(10).topic_id)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found


def remembered(committed: Iterable[TopicPartition]) -> dict[str, str]:
    """Return the ids that were noted at committed offsets; none where nothing was noted."""
    found: dict[str, str] = {}
    for place in committed:
        found |= json.loads(place.metadata) if place.metadata else {}
    return found


def made_again(admin: AdminClient, services: Iterable[str]) -> dict[str, list[str]]:
    """Return the topics that are others than those services worked on, with the names of the services.

    Raises:
        KafkaException: when the broker does not answer.
    """
    found: dict[str, list[str]] = {}
    for service in services:
        asked = ConsumerGroupTopicPartitions(f"headrace.{service}")
        (told,) = admin.list_consumer_group_offsets([asked]).values()
        before = remembered(told.result(10).topic_partitions)
        for name in _others(before, ids_of(admin, before)):
            found.setdefault(name, []).append(service)
    return found


def refuse_others(service: str, before: Ids, now: Ids) -> None:
    """Compare the ids of topics with those remembered.

    Raises:
        ConfigurationError: when a topic is another than the one of its name that the service worked on.
    """
    for name in _others(before, now):
        raise ConfigurationError(
            f"{name} is not the topic that {service} worked on",
            f"it was deleted and made again (id {before[name]}, now {now[name]}), so the offsets and the state of "
            f"{service} are about records that are gone; nothing was read or written",
            NEXT,
        )


def _others(before: Ids, now: Ids) -> list[str]:
    return [name for name in sorted(before.keys() & now.keys()) if before[name] != now[name]]
