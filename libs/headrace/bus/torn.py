"""Transactions that a broker tore: decided and called complete, and still open in some partitions.

Kafka 4.3.0 leaves out the marker of a partition that has no leader at the moment and completes the transaction
nevertheless (decision 0044). Readers of committed records stand still there for ever. What is missing is the marker,
and the coordinator's own log says which.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from headrace.bus.decisions import DECIDED, GOING, Status, Step, steps
from headrace.bus.ends import LAST, STABLE, Ends
from headrace.bus.kafka import always, fence, producer
from headrace.bus.markers import NONE, Marker, Writer, write, writers
from headrace.bus.records import Place
from headrace.bus.transactions import retire
from headrace.contracts.access import OWN
from headrace.errors import CheckError, UnreachableError

_WAIT = 10.0
_FENCING = 30.0
_VERIFIES = "transaction.partition.verification.enable"


class State(StrEnum):
    """What is to be said of an open transaction."""

    OPEN = "open"
    """Its coordinator will end it."""
    TORN = "torn"
    """Its coordinator has ended it elsewhere."""
    UNEXPLAINED = "unexplained"
    """Nothing on the coordinator's log tells how it ended."""


class Found(NamedTuple):
    """An open transaction in one partition, and the decision that was taken of it (where it is torn)."""

    writer: Writer
    state: State
    owner: str | None
    decision: Step | None = None
    latest: int = NONE
    """The latest epoch of the owner."""

    @property
    def commit(self) -> bool:
        """Whether it was decided to commit it."""
        return self.decision is not None and self.decision.status is Status.PREPARE_COMMIT

    @property
    def marker(self) -> Marker:
        """Return the end that is missing, under the epoch that the coordinator decided under."""
        place, number, epoch, _, coordinator, _ = self.writer
        return Marker(
            place, number, self.decision.epoch if self.decision else epoch, max(coordinator, 0), self.commit
        )


def look(bootstrap: str) -> list[Found]:
    """Return Headrace's open transactions, and those of which nobody knows whose they are.

    A transaction counts that is open before and after the coordinators' log is read, so none is taken for torn that
    ended meanwhile.

    Raises:
        UnreachableError: when the broker does not answer.
        HeadraceError: when it refuses to tell.
    """
    ends = Ends(bootstrap)
    with _answering(bootstrap):
        before = _open(bootstrap, _unsettled(ends))
        known = steps(bootstrap, ends.client, {w.producer for w in before}) if before else {}
    after = set(_open(bootstrap, [w.place for w in before]))
    found = [judged(writer, known[writer.producer]) for writer in before if writer in after]
    return [f for f in found if f.owner is None or f.owner.startswith(OWN)]


def judged(writer: Writer, history: Sequence[Step]) -> Found:
    """Say what an open transaction is, by all that the coordinator wrote of its producer, oldest first."""
    if not history:
        return Found(writer, State.UNEXPLAINED, None)
    last = history[-1]
    if last.status in GOING and writer.place in last.places:
        return Found(writer, State.OPEN, last.owner)
    decided = [
        s for s in history if s.status in DECIDED and writer.place in s.places and s.epoch >= writer.epoch
    ]
    if not decided:
        return Found(writer, State.UNEXPLAINED, last.owner)
    return Found(writer, State.TORN, last.owner, decided[-1], last.epoch)


def finish(bootstrap: str, torn: Sequence[Found]) -> list[Found]:
    """Write the missing ends of torn transactions; return those that were torn to the last.

    An owner that could still write under the epoch of a decision is fenced first: its next records must not get an end
    that is not theirs. One that has gone on under a later epoch is safe from it, for the broker refuses the marker.

    Raises:
        CheckError: when a broker takes records that no transaction names, so that the coordinator's word proves nothing.
        UnreachableError: when a broker does not answer.
        HeadraceError: when a leader refuses an end.
    """
    with _answering(bootstrap):
        _refuse_unverified(Ends(bootstrap).client)
        for owner in {f.owner for f in torn if f.decision and f.latest <= f.decision.epoch and f.owner}:
            writer = producer(bootstrap, owner)
            try:
                fence(writer, _FENCING, always)
            finally:
                retire(writer)
    wanted = {f.writer for f in torn}
    still = [f for f in look(bootstrap) if f.state is State.TORN and f.writer in wanted]
    write(bootstrap, [f.marker for f in still])
    return still


@contextmanager
def _answering(bootstrap: str) -> Iterator[None]:
    """Turn what the client says of a broker that is away into what people read."""
    try:
        yield
    except KafkaException as error:
        raise UnreachableError(f"the broker at {bootstrap} does not answer", str(error.args[0])) from error


def _open(bootstrap: str, places: Sequence[Place]) -> list[Writer]:
    return [w for w in writers(bootstrap, places) if w.start != NONE]


def _unsettled(ends: Ends) -> list[Place]:
    """Return the partitions that end behind what readers of committed records see."""
    topics = ends.client.list_topics(timeout=_WAIT).topics
    spots = [TopicPartition(name, number) for name, topic in topics.items() for number in topic.partitions]
    stable, last = (_ends(ends, spots, level) for level in (STABLE, LAST))
    return sorted(place for place, end in last.items() if stable[place] < end)


def _ends(ends: Ends, spots: Sequence[TopicPartition], level: IsolationLevel) -> dict[Place, int]:
    asked = ends.ask(spots, level)
    return {(spot.topic, spot.partition): future.result(_WAIT).offset for spot, future in asked.items()}


def _refuse_unverified(client: AdminClient) -> None:
    """Raise CheckError where a record can be behind the end of its transaction (before KIP-890 it could)."""
    brokers = [ConfigResource(ResourceType.BROKER, str(n)) for n in client.list_topics(timeout=_WAIT).brokers]
    for resource, asked in client.describe_configs(brokers).items():
        if asked.result(_WAIT)[_VERIFIES].value != "true":
            raise CheckError(
                f"broker {resource.name} takes records that no transaction names",
                f"{_VERIFIES} is off, so what is open may be younger than the decision",
                "switch it on, and look into the records by hand",
            )
