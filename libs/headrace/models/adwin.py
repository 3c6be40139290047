"""river's ADWIN (Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007)."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

DELTA = 0.002  # river's default bound on a false cut, for each comparison


class Cut(NamedTuple):
    """What a cut left: how many of the last values belong together, and how far their mean is from the others'."""

    width: int
    moved: float


def last_cut(values: Sequence[float]) -> Cut | None:
    """Return the cut that the last of ``values`` caused, or None; the same values give the same answer.

    ADWIN's bound is for values in [0, 1]: they are scaled by the range they have shown. Raises ``ValueError`` for a
    value that is not finite: after one NaN a window never cuts again.
    """
    from river.drift import ADWIN  # noqa: PLC0415 -- a second to import, and needed once a block

    if not all(map(math.isfinite, values)):
        raise ValueError("a value is not finite")
    window = ADWIN(delta=DELTA, clock=1, grace_period=5, min_window_length=3)
    low, high = min(values), max(values)
    for value in values:
        window.update((value - low) / ((high - low) or 1.0))
    width = int(window.width)
    if not window.drift_detected or width == len(values):
        return None
    return Cut(width, fmean(values[-width:]) - fmean(values[:-width]))
