"""Feature vectors with their labels, read from the log as far as it has grown since the last training."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from headrace.bus.arrivals import arrivals
from headrace.bus.chunks import derived
from headrace.bus.effects import Tools
from headrace.bus.records import Incoming
from headrace.bus.schemas import reading_schema
from headrace.contracts.topics import FEATURES, OUTCOMES, Topic
from headrace.pipeline.quarantine import Stretch, records_slice
from headrace.pipeline.schemas import MARK
from headrace.pipeline.suspects import events_in, suspects, without

_PLACE = ("_partition", "_offset")


@dataclass
class Stream:
    """The rows of one topic, kept between trainings with the offsets that come next."""

    topic: Topic
    offsets: dict[int, int] = field(default_factory=dict)
    parts: list[pl.DataFrame] = field(default_factory=list)

    def rows(self, tools: Tools) -> pl.DataFrame | None:
        """Return all rows of the topic up to its end now; None when it has none."""
        messages, self.offsets = tools.read(self.topic, self.offsets)
        if messages:
            self.parts.append(_columns(self.topic, messages, tools))
        self.parts = [pl.concat(self.parts)] if self.parts else []
        return self.parts[0] if self.parts else None


@dataclass
class Labelled:
    """What one pipeline has to learn from."""

    features: Stream = field(default_factory=lambda: Stream(FEATURES))
    outcomes: Stream = field(default_factory=lambda: Stream(OUTCOMES))

    def rows(self, tools: Tools, from_tick: int, to_tick: int, left_out: Sequence[Stretch] = ()) -> pa.Table:
        """Return the events whose label came in these ticks (both inclusive), in the order of the log.

        Columns: the features of the view, ``label``, ``event_time``, ``tick`` and ``event_id``; a vector of
        another version of the view is left out, and so is a label or event in a stretch of ``left_out`` (slice, since,
        until); a feature made of such records is null. The table is empty when nothing was labelled.
        """
        features, outcomes = self.features.rows(tools), self.outcomes.rows(tools)
        if features is None or outcomes is None:
            return pa.table({})
        view = tools.definition.features.version
        answered = outcomes.filter(pl.col("answered").is_between(from_tick, to_tick))
        every = records_slice(tools.definition.label.record)
        for name, since, until in left_out:
            within = pl.col("labelled_at").is_between(since, until, closed="left")
            of_it = pl.lit(value=True) if name == every else pl.col("slice") == name
            answered = answered.filter(~(of_it & within).fill_null(value=False))
        joined = features.filter(feature_view_version=view).join(answered, on="event_id", validate="1:1")
        names = (*tools.definition.features.names, "label", "event_time", "tick", "event_id")
        plain = _plain(joined.sort("tick", *_PLACE).select(names).to_arrow())
        plain = plain.filter(pa.array(~events_in(tools.definition, left_out, _times(plain))))
        return without(plain, suspects(tools.definition, left_out, _times(plain), plain))


def _times(table: pa.Table) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = table["event_time"].cast(pa.int64()).to_numpy()
    return times


def _columns(topic: Topic, messages: Sequence[Incoming], tools: Tools) -> pl.DataFrame:
    """Return of the records what training needs: sound labelled outcomes, or vectors with their place in the log."""
    (chunk,) = derived(
        topic,
        [arrivals(messages)],
        tools.registry,
        lambda name: reading_schema(topic, name, tools.definition),
    )
    (selection,) = chunk.rows.records.values()
    rows = pl.DataFrame(selection.columns)
    if topic is OUTCOMES:
        answer = "label_value" if tools.definition.task == "regression" else "label"
        labelled = rows.filter(pl.col("status") == "labelled", pl.col(MARK).is_null())
        return labelled.select(
            "event_id",
            pl.col("tick").alias("answered"),
            pl.col(answer).alias("label"),
            "slice",
            pl.col("labelled_at").dt.epoch("us"),
        )
    place = [pl.col("origin").struct.field(name[1:]).alias(name) for name in _PLACE]
    values = pl.col("values").struct.unnest()
    return rows.select("event_id", "event_time", "tick", "feature_view_version", *place, values)


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with text as Arrow's plain strings, where Polars has large ones."""
    large = pa.types.is_large_string
    return table.cast(pa.schema([f.with_type(pa.string()) if large(f.type) else f for f in table.schema]))
