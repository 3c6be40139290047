"""Feature columns as the float64 matrix of a batch model; the mapping of categories travels with the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.contracts.arrow import as_type, filled
from headrace.models.ports import Floats

MAX_CATEGORIES = 254
"""Histogram boosting holds 255 bins a feature, one of them for missing; rarer values count as missing."""


@dataclass(frozen=True)
class Encoding:
    """Feature names in order, and the known values of those that are categories."""

    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]

    def matrix(self, columns: pa.RecordBatch) -> Floats:
        """Return shape (rows, features): numbers as they are, categories as positions, else NaN.

        Null, infinite, unknown and rare values are NaN. Each cell depends on its own row alone.
        """
        out = np.empty((columns.num_rows, len(self.features)), dtype=np.float64)
        for position, name in enumerate(self.features):
            out[:, position] = _cells(columns.column(name), self.categories.get(name))
        return out

    @property
    def positions(self) -> list[int]:
        """Return the columns of the matrix that are categories."""
        return [i for i, name in enumerate(self.features) if name in self.categories]


def learn(columns: pa.RecordBatch) -> Encoding:
    """Return the encoding of the columns: text is a category, with its most frequent values in sorted order."""
    texts = [f.name for f in columns.schema if pa.types.is_string(f.type)]
    return Encoding(tuple(columns.schema.names), {name: _known(columns.column(name)) for name in texts})


def _known(column: pa.Array) -> tuple[str, ...]:
    counts = pc.value_counts(column.drop_null()).to_pylist()
    often = sorted(counts, key=lambda c: (-c["counts"], c["values"]))[:MAX_CATEGORIES]
    return tuple(sorted(c["values"] for c in often))


def _cells(column: pa.Array, known: Sequence[str] | None) -> Floats:
    if known is not None:
        column = pc.index_in(column, value_set=pa.array(known, pa.string()), skip_nulls=True)
    floats: Floats = filled(as_type(column, pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(floats), floats, np.nan)
