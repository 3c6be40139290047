"""What decoding answers, and how much one record may ask for."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on one record: nesting of the schema, items of all its arrays and maps, bytes of its body."""

    depth: int = 32
    items: int = 65_536
    size: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """The good rows as columns, their positions among the bodies, and a reason for every other position."""

    columns: pa.RecordBatch
    good: npt.NDArray[np.int64]
    errors: dict[int, str] = field(default_factory=dict)
