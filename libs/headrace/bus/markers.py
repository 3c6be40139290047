"""Two requests of Kafka's protocol that no Python client has: who writes to a partition, and the end of a transaction.

The fields are those of Kafka's own message definitions: DescribeProducers (KIP-664) and WriteTxnMarkers (KIP-98).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from headrace.bus.records import Place
from headrace.bus.wire import connected, leader
from headrace.errors import HeadraceError, UnreachableError

NONE = -1
Answer = TypeVar("Answer")
TAGS = ("tags", TaggedFields)
_UNTAGGED: dict[int, bytes] = {}
_PLACES = CompactArray(
    ("name", CompactString("utf-8")), ("partitions", CompactArray(Int32)), TAGS,
)  # fmt: skip


class Writer(NamedTuple):
    """What a partition knows of one producer: its epoch, and where its open transaction begins (or ``NONE``)."""

    place: Place
    producer: int
    epoch: int
    sequence: int
    coordinator: int
    start: int


class Marker(NamedTuple):
    """The end of a producer's transaction in one partition."""

    place: Place
    producer: int
    epoch: int
    coordinator: int
    commit: bool


class _Producers(Response):
    API_KEY, API_VERSION = 61, 0
    SCHEMA = Schema(
        ("throttle", Int32),
        ("topics", CompactArray(
            ("name", CompactString("utf-8")),
            ("partitions", CompactArray(
                ("partition", Int32), ("error", Int16), ("message", CompactString("utf-8")),
                ("producers", CompactArray(
                    ("producer", Int64), ("epoch", Int32), ("sequence", Int32), ("timestamp", Int64),
                    ("coordinator", Int32), ("start", Int64), TAGS,
                )),
                TAGS,
            )),
            TAGS,
        )),
        TAGS,
    )  # fmt: skip


class _AskProducers(RequestStruct):
    API_KEY, API_VERSION, FLEXIBLE_VERSION = 61, 0, True
    RESPONSE_TYPE = _Producers
    SCHEMA = Schema(("topics", _PLACES), TAGS)


class _Written(Response):
    API_KEY, API_VERSION = 27, 1
    SCHEMA = Schema(
        ("markers", CompactArray(
            ("producer", Int64),
            ("topics", CompactArray(
                ("name", CompactString("utf-8")),
                ("partitions", CompactArray(("partition", Int32), ("error", Int16), TAGS)),
                TAGS,
            )),
            TAGS,
        )),
        TAGS,
    )  # fmt: skip


class _Write(RequestStruct):
    API_KEY, API_VERSION, FLEXIBLE_VERSION = 27, 1, True
    RESPONSE_TYPE = _Written
    SCHEMA = Schema(
        ("markers", CompactArray(
            ("producer", Int64), ("epoch", Int16), ("commit", Boolean), ("topics", _PLACES),
            ("coordinator", Int32), TAGS,
        )),
        TAGS,
    )  # fmt: skip


class _Asking(Request[_AskProducers]):
    API_KEY = _AskProducers.API_KEY

    def __init__(self, place: Place) -> None:
        self._topics = [_named(place)]

    def build(self, request_struct_class: Callable[..., _AskProducers]) -> _AskProducers:
        return request_struct_class(self._topics, _UNTAGGED)


class _Writing(Request[_Write]):
    API_KEY = _Write.API_KEY

    def __init__(self, marker: Marker) -> None:
        place, producer, epoch, coordinator, commit = marker
        self._markers = [(producer, epoch, commit, [_named(place)], coordinator, _UNTAGGED)]

    def build(self, request_struct_class: Callable[..., _Write]) -> _Write:
        return request_struct_class(self._markers, _UNTAGGED)


def writers(bootstrap: str, places: Sequence[Place]) -> list[Writer]:
    """Return the producers that the leaders of partitions remember.

    Raises:
        UnreachableError: when a leader is away.
        HeadraceError: when it refuses to tell.
    """

    async def ask(client: AIOKafkaClient) -> list[Writer]:
        return [writer for place in places for writer in await _writers(client, place)]

    return _asked(bootstrap, places, ask) if places else []


def write(bootstrap: str, markers: Sequence[Marker]) -> None:
    """Write the ends of transactions, as their coordinator would have.

    Raises:
        UnreachableError: when a leader is away.
        HeadraceError: when it refuses one, be it because the producer has gone on under a later epoch.
    """

    async def tell(client: AIOKafkaClient) -> None:
        for marker in markers:
            answer = await client.send(_leader(client, marker.place), _Writing(marker))
            ((_, ((_, ((_, code, _),), _),), _),) = answer.markers
            _refuse("the end of a transaction was not taken", marker.place, code)

    if markers:
        _asked(bootstrap, [m.place for m in markers], tell)


async def _writers(client: AIOKafkaClient, place: Place) -> list[Writer]:
    answer = await client.send(_leader(client, place), _Asking(place))
    ((_, ((_, code, _, found, _),), _),) = answer.topics
    _refuse("the producers of a partition are not told", place, code)
    return [
        Writer(place, producer, epoch, sequence, coordinator, start)
        for producer, epoch, sequence, _, coordinator, start, _ in found
    ]


def _asked(
    bootstrap: str, places: Iterable[Place], ask: Callable[[AIOKafkaClient], Coroutine[Any, Any, Answer]]
) -> Answer:
    async def talk() -> Answer:
        async with connected(bootstrap, {topic for topic, _ in places}) as client:
            return await ask(client)

    try:
        return asyncio.run(talk())
    except KafkaError as error:
        raise UnreachableError(f"the broker at {bootstrap} does not answer", str(error)) from error


def _named(place: Place) -> tuple[str, list[int], dict[int, bytes]]:
    return place[0], [place[1]], _UNTAGGED


def _leader(client: AIOKafkaClient, place: Place) -> Any:
    found = leader(client, place)
    if found in {None, NONE}:
        raise UnreachableError(f"{place[0]}/{place[1]} has no leader", "a broker is away")
    return found


def _refuse(what: str, place: Place, code: int) -> None:
    if code:
        raise HeadraceError(what, f"{place[0]}/{place[1]}: {for_code(code).__name__} ({code})")
