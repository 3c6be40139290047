"""What a service is: its manifest as data, and the plain values that its pure handlers take and give."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from headrace.contracts.topics import Topic
from headrace.pipeline.definition import Definition, Severity

Row = tuple[Any, ...]
Fold = Callable[[Any, str, Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Tick:
    """A consistent cut of the log: where raw partitions and control topics ended at tick ``n``."""

    pipeline: str
    n: int
    time: int
    reason: str = "step"
    step: int | None = None
    raw: Mapping[int, int] = field(default_factory=dict)
    controls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of one record type in a batch: their positions in it and their columns."""

    rows: np.ndarray
    columns: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one topic partition under one tick and one control state, in log order.

    ``lineage`` holds event_id, entity_key, event_time, origin and tick of all rows. Only a batch of the raw
    topic has ``bodies`` and ``headers`` (as they arrived) and ``broken`` (why a row could not be decoded, by
    row), and ``since``: the time of the tick before it, in microseconds UTC (None before the first). A batch of a
    control topic has its records in ``controls``, as (record type, fields), and no columns.
    """

    topic: Topic
    partition: int
    tick: int
    lineage: pa.RecordBatch
    records: Mapping[str, Selection]
    bodies: pa.BinaryArray | None = None
    headers: Sequence[Sequence[tuple[str, bytes]]] = ()
    broken: Mapping[int, str] = field(default_factory=dict)
    controls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    since: int | None = None

    def __len__(self) -> int:
        return int(self.lineage.num_rows)

    def of(self, record: str) -> Selection | None:
        """Return the rows of one record type, or None when the batch has none."""
        return self.records.get(record)


@dataclass(frozen=True, slots=True)
class Emit:
    """Records of one type for one topic.

    Data-plane records name the input row that caused each (``cause``) or carry their ``lineage``; control
    records stand for themselves. ``columns`` lacks the lineage fields in the first two cases. Records for a moved
    topic bring the ``keys`` (strings) that they lie by.
    """

    record: str
    columns: pa.RecordBatch
    cause: np.ndarray | None = None
    lineage: pa.RecordBatch | None = None
    keys: pa.Array | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows the contract turns down, with one reason a row; only ``reject`` turns one down, the others pass with a receipt."""

    rows: np.ndarray
    rule: str
    path: str
    expected: str
    actual: Sequence[str]
    hint: str = ""
    severity: Severity = "reject"


@dataclass(frozen=True, slots=True)
class Step:
    """What a handler wants: records out, rows refused, rows absorbed (duplicates, or state and nothing else)."""

    emitted: Mapping[Topic, Sequence[Emit]] = field(default_factory=dict)
    refused: Sequence[Refused] = ()
    absorbed: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


class Index(Protocol):
    """What finds something in the rows of a table by more than their keys; made of the rows, so never written."""

    def change(self, changes: Mapping[str, Row | None]) -> None:
        """Take rows as they are now, by key (None: gone)."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Keyed state of a service; ``due`` names an int64 column of event-time microseconds at which a row leaves.

    One table is one object: what is made of its columns is kept by it, and an Arrow schema's hash is slow.
    """

    name: str
    columns: pa.Schema
    due: str | None = None
    index: Callable[[], Index] | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A topic a service takes in; ``fan_in`` reads every partition of it in the lane of partition 0.

    ``rekeyed`` takes its place in a pipeline that declares a re-key.
    """

    topic: Topic
    fan_in: bool = False
    rekeyed: Topic | None = None


class TableRows(Protocol):
    """A handler's private view of one table: it sees its own changes, the runtime applies them.

    ``index`` is the table's, over the rows as they were before the handler was called.
    """

    @property
    def index(self) -> Any:
        """Return the table's index."""

    def get(self, keys: Sequence[str]) -> list[Row | None]:
        """Return the row of each key, or None."""

    def all(self) -> list[tuple[str, Row]]:
        """Return every key and row, sorted by key."""

    def put(self, keys: Sequence[str], rows: Sequence[Row]) -> None:
        """Set the row of each key."""

    def delete(self, keys: Sequence[str]) -> None:
        """Forget the keys."""


Rows = Mapping[str, TableRows]
Due = Mapping[str, list[tuple[str, Row]]]


class Artifacts(Protocol):
    """Content-addressed bytes."""

    def get(self, digest: str) -> bytes:
        """Return the verified bytes of ``digest``."""

    def put(self, content: bytes) -> str:
        """Store bytes and return their sha256."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a view is made of: the definition and the folded control topics at one cut, and the artifact store."""

    definition: Definition
    controls: Mapping[Topic, Any]
    artifacts: Artifacts


def always(definition: Definition) -> bool:
    """Tell that a service has work in every pipeline."""
    del definition
    return True


def nothing_due(due: Due, rows: Rows, tick: Tick, view: Any) -> Step:
    """Close a tick without a word: the ``on_due`` of services that keep no time."""
    del due, rows, tick, view
    return Step()


@dataclass(frozen=True, slots=True)
class Service:
    """A manifest: everything the runtime must know to run one service.

    ``pace`` is "stream" for services that answer an event at once, "tick" for those that take a tick's records
    together at its close, input by input in the order declared here. ``needed`` says in which pipelines there is
    work for it; in the others it is no stage.
    """

    name: str
    consumes: tuple[Input, ...]
    emits: tuple[Topic, ...]
    handle: Callable[[Batch, Rows, Any], Step]
    view: Callable[[Context], Any]
    on_due: Callable[[Due, Rows, Tick, Any], Step] = nothing_due
    follows: Mapping[Topic, Fold] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    pace: Literal["stream", "tick"] = "stream"
    needed: Callable[[Definition], bool] = always

    def inputs(self, definition: Definition) -> tuple[Input, ...]:
        """Return what the service takes in of one pipeline."""
        if definition.rekey is None:
            return self.consumes
        return tuple(replace(i, topic=i.rekeyed) if i.rekeyed else i for i in self.consumes)

    @property
    def single(self) -> bool:
        """Tell whether one lane per pipeline does all the work (control topics, fan-in)."""
        return all(i.fan_in or i.topic.scope == "control" for i in self.consumes)
