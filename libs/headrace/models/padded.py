"""Call a model on batches of a few shapes only, so that a row's bits do not depend on its companions.

BLAS and vectorised kernels pick another order of summation for another shape, and with it other bits for many rows. At 256
rows every position gives the same ones.

A call costs most of what 256 rows cost, so a model that was seen to give a row the same bits in larger batches is asked
in those: few calls, each filled up.
"""

import logging
from collections.abc import Callable, Collection, Sequence

import numpy as np

from headrace.models.ports import Floats

LOG = logging.getLogger("headrace.models")
SHAPE = 256
SHAPES = (SHAPE, 512, 1_024, 2_048)
_CATEGORIES = 3  # the trial's rows have these first ones


def padded(score: Callable[[Floats], Floats], matrix: Floats, shapes: Sequence[int] = (SHAPE,)) -> Floats:
    """Return ``score`` of the rows, asked in batches of ``shapes`` (ascending): the largest while there are as many rows.

    The last batch has the smallest shape that holds the rest, filled up with zeros.
    """
    rows, largest = len(matrix), shapes[-1]
    whole = rows // largest * largest
    parts = [score(matrix[at : at + largest]) for at in range(0, whole, largest)]
    if whole < rows or not rows:
        filled = np.zeros((next(shape for shape in shapes if shape >= rows - whole), matrix.shape[1]))
        filled[: rows - whole] = matrix[whole:]
        parts.append(score(filled))
    return np.concatenate(parts)[:rows]


def trial(width: int, categories: Collection[int] = ()) -> Floats:
    """Return rows to try a model on: random and always the same, as many as the largest shape."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(SHAPES[-1], width))
    rows[:, list(categories)] = chance.integers(0, _CATEGORIES, (len(rows), len(categories)))
    return rows


def harmless(
    score: Callable[[Floats], Floats], width: int, categories: Collection[int] = ()
) -> tuple[int, ...]:
    """Return the shapes in which a model may be asked: those in which a trial gives every row the bits of ``SHAPE``.

    Where the order of a sum depends on the shape, about every second row tells. ``categories`` are the columns that
    hold positions. An estimator that refuses the trial's numbers, or gives NaN, is asked in the small shape.
    """
    rows = trial(width, categories)
    try:
        known = padded(score, rows)
        good = [shape for shape in SHAPES[1:] if np.array_equal(padded(score, rows, (shape,)), known)]
    except ValueError as error:
        LOG.debug("a trial in large batches was refused: %s", error)
        good = []
    return (SHAPE, *good)
