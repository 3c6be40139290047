"""What a model is to the rest of Headrace: a learner that makes an artifact, and a predictor that scores columns."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.errors import HeadraceError
from headrace.pipeline.definition import Task
from headrace.pipeline.expressions import finite

Floats: TypeAlias = npt.NDArray[np.float64]
VALUE = ("value", "lower", "upper")
"""The score names of a regression: the estimate and the ends of its interval."""


class TrainingError(HeadraceError):
    """The rows or the estimator do not allow a fit; says what to change."""


class ArtifactError(HeadraceError):
    """The bytes are not an artifact that may be loaded; says which part was refused."""


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from, in log order.

    ``features`` holds the view's columns (float64 or string, nulls allowed); ``target`` one float64 a row: the
    position of the class in ``classes``, or the value itself for a regression (``classes`` is then ``VALUE``).
    Features that are NaN or infinite count as null; raises ``TrainingError`` for such a target.
    """

    features: pa.RecordBatch
    target: Floats
    task: Task
    classes: tuple[str, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        """Let nothing that is not finite reach a learner."""
        if not np.isfinite(self.target).all():
            raise TrainingError(
                f"{int((~np.isfinite(self.target)).sum())} labels are not finite",
                "one of them would make a model of nothing",
                "look for them on the outcomes topic, and add a rule to the pipeline",
            )
        columns = [finite(column) for column in self.features.columns]
        object.__setattr__(self, "features", pa.RecordBatch.from_arrays(columns, schema=self.features.schema))


class Predictor(Protocol):
    """A model that is ready to answer."""

    @property
    def digest(self) -> str:
        """Return the sha256 of the artifact, in hex."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the scores: the classes in order, or value, lower and upper."""

    def scores(self, columns: pa.RecordBatch) -> Floats:
        """Return one row of scores a row of feature values, shape (rows, names); NaN and infinities are nulls to it."""


class Learner(Protocol):
    """One way to learn; the same rows and seed give the same bytes in any process on one fingerprint."""

    def fit(self, dataset: Dataset) -> bytes:
        """Return the artifact of a model fitted on the rows; raise ``TrainingError`` when they do not allow one."""


class OnlineLearner(Learner, Protocol):
    """A learner that can go on from where an earlier artifact stood."""

    def learn(self, dataset: Dataset, base: bytes | None) -> tuple[bytes, Floats]:
        """Return the artifact after the rows, and the scores each row got before it was learnt."""
