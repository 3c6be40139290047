"""A pipeline as data: what one YAML file says about a use case (the JSON Schema is made from these classes)."""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from headrace.pipeline.durations import Duration

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=80)]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Task = Literal["binary", "multiclass", "regression"]
Severity = Literal["reject", "quarantine", "warn"]
SEVERITIES: tuple[Severity, ...] = ("reject", "quarantine", "warn")  # the gravest first
DAY = 86_400_000_000
HOUR = 3_600_000_000


class Part(BaseModel):
    """A closed, frozen piece of a definition: an unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordType(Part):
    """One record type on the raw topic, with the columns that say who, when and what it is about."""

    contract: dict[str, Any] = Field(description="The Avro record schema; in a file, a path to its .avsc")
    role: Literal["event", "label", "fact"] = Field(
        description="event: gets a prediction; label: answers one"
    )
    id: Column = Field(description="Column with the id that no other record of this type has")
    key: list[Column] = Field(min_length=1, description="Columns of the entity key, joined by a colon")
    time: Column = Field(description="Column with the event time (timestamp-micros)")
    joins: Column | None = Field(None, description="label only: column with the id of the event it answers")


_TIMES = ("within", "ahead", "block")
BY_BLOCK = frozenset({"volume", "null_rate"})


class Rule(Part):
    """A check on the columns of one record type; a row that breaks it ends as a receipt, a block as a quarantine."""

    name: Name
    record: str
    column: Column
    kind: Literal[
        "required",
        "range",
        "enum",
        "reference",
        "regex",
        "expression",
        "freshness",
        "unique",
        "volume",
        "null_rate",
    ]
    minimum: float | None = None
    maximum: float | None = None
    values: list[str] | None = Field(
        None,
        description="enum and reference; for a reference, in a file, a path to its list, one value a line",
    )
    pattern: str | None = None
    sql: str | None = Field(None, description="expression only: true for a good row (Polars SQL)")
    within: Duration | None = Field(
        None,
        description="freshness: how far a time may lie behind that of the tick before the event; unique: event time "
        "that must pass between two events of one value",
    )
    ahead: Duration | None = Field(None, description="freshness only: how far a time may lie ahead of it")
    severity: Severity = Field(
        "reject",
        description="reject: a dead letter and a receipt; quarantine: a receipt, the event is answered, and nothing learns "
        "from it or is judged by it; warn: a receipt",
    )
    block: Duration | None = Field(
        None,
        description="volume and null_rate: the stretch of event time that is judged as a whole, a day by default",
    )
    hint: str = Field("", description="What the producer should do about it")

    @model_validator(mode="after")
    def _blocks_are_bounded(self) -> "Rule":
        if self.kind not in BY_BLOCK:
            return self
        if self.severity != "quarantine":
            raise ValueError(f"rule {self.name} judges blocks, which can only be a `severity: quarantine`")
        if self.maximum is None and (self.kind == "null_rate" or self.minimum is None):
            raise ValueError(f"rule {self.name} needs a maximum" + " or a minimum" * (self.kind == "volume"))
        return self

    @model_serializer(mode="wrap")
    def _as_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a rule does not say of its times, so that its pipeline keeps the digest it had before."""
        told: dict[str, Any] = handler(self)
        return {name: value for name, value in told.items() if value is not None or name not in _TIMES}


class LabelContract(Part):
    """What a block of labels has to look like beside the blocks before it, slice by slice; a breach quarantines."""

    slice: str | None = Field(
        None, description="Slice of a label record (Polars SQL); null: one slice, `all`"
    )
    value: str | None = Field(
        None,
        description="What a label is measured by (Polars SQL); null: the value of a regression, or nothing",
    )
    block: Duration = DAY
    reference_blocks: int = Field(28, ge=5, description="Conforming blocks that a block is compared with")
    min_reference: int = Field(7, ge=2, description="Reference blocks before anything is judged")
    min_labels: int = Field(30, ge=1, description="Labels of a block, below which only its volume is judged")
    confirm: int = Field(
        2,
        ge=1,
        description="Blocks in a row that breach rate, volume or delay; a unit or a constant breaches at once",
    )
    rate: float = Field(4.5, gt=0, description="Log odds that the share of the last class may move")
    volume: float = Field(8.0, gt=1, description="Factor by which the labels of a block may differ")
    delay: float = Field(8.0, gt=1, description="Factor by which the median time to the label may differ")
    unit: float = Field(8.0, gt=1, description="Factor by which the median size of the value may differ")


class Label(Part):
    """How an answer becomes a label, and how long an event waits for one."""

    record: str
    sql: str = Field(description="The label over the label record's columns (Polars SQL)")
    maturity: Duration = Field(
        3 * DAY, description="After this much event time an event counts as unlabelled"
    )
    classes: list[str] | None = Field(None, description="Class names in order; null for regression")
    contract: LabelContract = LabelContract()


class RowFeature(Part):
    """A feature of the event alone."""

    name: Column
    sql: str
    kind: Literal["number", "category"] = "number"


class WindowFeature(Part):
    """An aggregate over the records of one type that the log held before the event, per group, in event time."""

    name: Column
    record: str
    group_by: Column = Field(
        description="Column of the windowed record, and of the event unless event_column says"
    )
    event_column: Column | None = None
    value: str = Field("1", description="What is aggregated (Polars SQL over the windowed record)")
    aggregate: Literal["count", "sum", "mean"] = "mean"
    window: Duration
    tile: Duration = Field(300_000_000, description="Event-time resolution; a divisor of the window")
    decimals: int = Field(3, ge=0, le=6, description="Values are held as whole multiples of 10^-decimals")


class FeatureView(Part):
    """The columns a model sees, in order: row features, then windows."""

    version: int = 1
    rows: list[RowFeature]
    windows: list[WindowFeature] = []

    @model_validator(mode="after")
    def _names_are_free(self) -> "FeatureView":
        taken = {"label", "tick", "event_id", "event_time"} & set(self.names)
        if taken or len(set(self.names)) < len(self.names):
            raise ValueError(f"feature names must differ, and not be {sorted(taken) or 'given twice'}")
        return self

    @property
    def names(self) -> list[str]:
        """Return the feature names in the order a model sees them."""
        return [f.name for f in self.rows] + [w.name for w in self.windows]

    @property
    def categories(self) -> list[str]:
        """Return the names of the features that are categories."""
        return [f.name for f in self.rows if f.kind == "category"]


class Estimator(Part):
    """The model: a scikit-learn or river class, or a function of one's own that returns an estimator."""

    path: str = Field(description="module:attribute, for example pipelines.flights.estimator:build")
    params: dict[str, Any] = {}
    kind: Literal["batch", "online"] = "batch"


class Training(Part):
    """When to train, and on what."""

    first_at: AwareDatetime | None = Field(
        None, description="Event time of the first training (with an offset)"
    )
    train_after: int = Field(
        1000, ge=10, description="Matured labels before the first training, without first_at"
    )
    every: Duration | None = Field(None, description="Schedule: event time between trainings")
    learn_every: int = Field(200, ge=1, description="online only: labels between two published snapshots")
    cooldown: Duration = Field(14 * DAY, description="Event time that must pass between two trainings")
    budget: int = Field(24, ge=1, description="Trainings allowed per 365 days of event time")
    holdout: Duration = Field(7 * DAY, description="Last matured stretch, held out for the gate")
    seed: int = 0


class Gates(Part):
    """What a candidate must show on the hold-out before it may become a challenger."""

    max_worse: float = Field(0.0, description="Loss above the champion's that still passes")
    max_bytes: int = Field(50_000_000, description="Size of the artifact")
    min_rows: int = Field(200, description="Rows in the hold-out, below which the gate refuses to judge")


class Rollout(Part):
    """How a challenger becomes champion."""

    mode: Literal["shadow", "direct"] = "shadow"
    block: Duration = DAY
    min_blocks: int = Field(3, ge=1, description="Blocks in shadow before any decision")
    max_blocks: int = Field(45, ge=1, description="Blocks after which an undecided challenger is refused")
    margin: float = Field(0.01, description="Not worse by more than this, in mean loss over blocks, promotes")
    alpha: float = Field(0.05, gt=0, lt=1)
    bound: float = Field(0.03, gt=0, description="Block differences of mean loss are clipped to this")


class Drift(Part):
    """The pipeline's one false-alarm budget and what an alarm does."""

    block: Duration = DAY
    reference_blocks: int = Field(28, ge=5)
    false_alarm_blocks: int = Field(30, ge=2, description="At most one false alarm in this many blocks")
    retrain: bool = True


class Clock(Part):
    """Where ticks come from: the wall, or the publisher's event time."""

    kind: Literal["wall", "source"] = "wall"
    step: Duration = Field(DAY, description="source only: event time between ticks")
    offset: Duration = Field(0, description="source only: where in the day a step begins")


_LATER = ("rekey", "without_headers")


class Definition(Part):
    """Everything Headrace knows of one use case."""

    name: Name
    description: str = ""
    task: Task
    partitions: int = Field(1, ge=1)
    clock: Clock = Clock()
    records: dict[str, RecordType]
    rekey: dict[str, Column] | None = Field(
        None,
        description="For windows by another column than the key, with more than one partition: the column by which "
        "the accepted records of each type are moved to a partition",
    )
    dedupe: Duration = Field(
        3 * DAY, description="How long an accepted event id is remembered, in event time"
    )
    without_headers: list[Literal["predictions", "shadow-predictions", "outcomes"]] = Field(
        [],
        description="Topics whose records carry no CloudEvents headers and no traceparent: their bodies hold the same",
    )
    rules: list[Rule] = []
    label: Label
    features: FeatureView
    estimator: Estimator
    prior: dict[str, float] = Field(description="Scores that answer until a model exists")
    training: Training = Training()
    gates: Gates = Gates()
    rollout: Rollout = Rollout()
    drift: Drift = Drift()

    @model_serializer(mode="wrap")
    def _as_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what came later and is not declared, so that a pipeline keeps the digest it had before."""
        told: dict[str, Any] = handler(self)
        return {name: value for name, value in told.items() if value or name not in _LATER}

    @model_validator(mode="after")
    def _references_hold(self) -> "Definition":
        events = [n for n, r in self.records.items() if r.role == "event"]
        if len(events) != 1:
            raise ValueError(f"exactly one record type has the role event; found {events}")
        named = {
            self.label.record,
            *(r.record for r in self.rules),
            *(w.record for w in self.features.windows),
        }
        if missing := named - set(self.records):
            raise ValueError(
                f"unknown record types {sorted(missing)}; the file declares {sorted(self.records)}"
            )
        if self.records[self.label.record].joins is None:
            raise ValueError(f"record type {self.label.record} needs `joins`: the column with the event's id")
        for window in self.features.windows:
            if window.window % window.tile:
                raise ValueError(f"window {window.name}: the tile must divide the window")
        if self.rekey is not None and set(self.rekey) != set(self.records):
            raise ValueError(
                f"rekey must name a column of each record type, {sorted(self.records)}: an event, its label and its "
                "facts meet in one partition"
            )
        return self

    @property
    def event(self) -> str:
        """Return the name of the record type that gets predictions."""
        return next(n for n, r in self.records.items() if r.role == "event")

    def scattered(self) -> list[WindowFeature]:
        """Return the windows whose groups lie in several partitions where features are made: they cannot be counted."""
        if self.partitions == 1:
            return []
        moved = self.rekey or {}
        by = {name: [moved[name]] if name in moved else r.key for name, r in self.records.items()}
        return [
            w
            for w in self.features.windows
            if by[w.record] != [w.group_by] or by[self.event] != [w.event_column or w.group_by]
        ]

    @property
    def quarantines(self) -> bool:
        """Tell whether a rule quarantines records: they, and what is made of them, then say which rule did."""
        return any(rule.severity == "quarantine" and rule.kind not in BY_BLOCK for rule in self.rules)

    @property
    def block_rules(self) -> list[Rule]:
        """Return the rules that judge blocks of records, not single ones."""
        return [rule for rule in self.rules if rule.kind in BY_BLOCK]

    @property
    def lookback(self) -> int:
        """Return the microseconds of event time after which no state of the data plane is left.

        A window's tiles are kept for two of its spans, since an event that comes late looks back from its own time.
        """
        return max(
            [self.dedupe, self.label.maturity, *(2 * w.window + w.tile for w in self.features.windows)]
        )

    def canonical(self) -> str:
        """Return the one JSON text of this definition: sorted keys, no spaces, durations as written."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """Return the sha256 of the canonical text, in hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()
