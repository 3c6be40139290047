"""The declared prior as a predictor: the same scores for every row, until a model exists."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.models.artifact import canonical_json, digest_of
from headrace.models.ports import Floats


@dataclass(frozen=True)
class Prior:
    """Answers every row with the pipeline's declared scores."""

    names: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def digest(self) -> str:
        """Return the sha256 of the canonical JSON of the scores, in hex."""
        return digest_of(canonical_json({"prior": dict(zip(self.names, self.values, strict=True))}))

    def scores(self, columns: pa.RecordBatch) -> Floats:
        """Return the declared scores once a row."""
        return np.tile(np.asarray(self.values, dtype=np.float64), (columns.num_rows, 1))
