"""What decoding answers, and how much one record may ask for."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# The reasons a body is refused, by code; 0 is a good one. Receipts carry them as ``decode-<reason>``.
REASONS = (
    "good", "truncated", "trailing-bytes", "bad-varint", "out-of-range", "bad-boolean", "bad-utf8", "bad-index",
    "bad-length", "bad-block", "budget",
)  # fmt: skip
(
    GOOD, TRUNCATED, TRAILING, BAD_VARINT, OUT_OF_RANGE, BAD_BOOLEAN, BAD_UTF8, BAD_INDEX, BAD_LENGTH, BAD_BLOCK, BUDGET,
) = range(len(REASONS))  # fmt: skip


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
