"""Inputs of a model that are made of records in quarantine: they count as missing, when it is asked and when it learns.

A window over the label record is suspect where its span reaches into a stretch. Where it is grouped by the very column
that slices the contract, and a row feature holds that column, this goes for the rows of that slice; else for all.
So is a window over any record type where its span reaches into a stretch of that type.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.pipeline.definition import Definition, WindowFeature
from headrace.pipeline.quarantine import OPEN_END, Stretch, records_of, records_slice

Mask = npt.NDArray[np.bool_]
Columns = TypeVar("Columns", pa.RecordBatch, pa.Table)


def suspects(
    definition: Definition, stretches: Sequence[Stretch], times: npt.NDArray[np.int64], columns: Columns
) -> dict[str, Mask]:
    """Return the window features that are suspect in some row, and in which.

    ``times`` are the events' (microseconds since 1970 UTC), ``columns`` hold the features of the view.
    """
    named = {records_of(name) or definition.label.record for name, _, _ in stretches}
    windows = [w for w in definition.features.windows if w.record in named]
    found = {w.name: _suspect(w, definition, stretches, times, columns) for w in windows}
    return {name: mask for name, mask in found.items() if mask.any()}


def apart(
    definition: Definition, stretches: Sequence[Stretch], times: npt.NDArray[np.int64], columns: Columns
) -> Mask | None:
    """Return the events that a stretch of inputs holds or that look back into one; None where there is no such stretch.

    The arguments are those of :func:`suspects`.
    """
    inputs: list[Stretch] = [s for s in stretches if records_of(s[0])]
    if not inputs:
        return None
    masks = [*suspects(definition, inputs, times, columns).values(), events_in(definition, inputs, times)]
    found: Mask = np.logical_or.reduce(masks)
    return found


def events_in(definition: Definition, stretches: Sequence[Stretch], times: npt.NDArray[np.int64]) -> Mask:
    """Return the events that lie in a stretch of their own record type."""
    mask = np.zeros(len(times), bool)
    for name, since, until in stretches:
        if name == records_slice(definition.event):
            mask |= (times >= since) & (times < until)
    return mask


def without(columns: Columns, found: Mapping[str, Mask]) -> Columns:
    """Return the columns with nulls for what is suspect."""
    for name, mask in found.items():
        place = columns.schema.get_field_index(name)
        held = pc.if_else(pa.array(mask), pa.scalar(None, columns.schema.field(place).type), columns[name])
        columns = columns.set_column(place, columns.schema.field(place), held)
    return columns


def _suspect(
    window: WindowFeature,
    definition: Definition,
    stretches: Sequence[Stretch],
    times: npt.NDArray[np.int64],
    columns: pa.RecordBatch | pa.Table,
) -> Mask:
    sliced = _slice_of(window, definition)
    mask = np.zeros(len(times), bool)
    for name, since, until in stretches:
        record = records_of(name)
        if window.record != (record or definition.label.record):
            continue
        end = OPEN_END if until == OPEN_END else until + window.window
        within = (times >= since) & (times < end)
        if sliced is not None and record is None:
            same = pc.equal(columns[sliced], name).fill_null(fill_value=True)
            within &= np.asarray(same)
        mask |= within
    return mask


def _slice_of(window: WindowFeature, definition: Definition) -> str | None:
    """Return the row feature that tells which slice a window's labels are of; None where nothing tells."""
    if definition.label.contract.slice != window.group_by:
        return None
    asked = window.event_column or window.group_by
    return next((f.name for f in definition.features.rows if f.sql == asked and f.kind == "category"), None)
