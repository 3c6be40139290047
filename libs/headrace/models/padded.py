"""Call a model on batches of one shape only, so that a row's bits do not depend on its companions.

BLAS and vectorised kernels pick another order of summation for another shape: of 2,048 rows of a logistic
regression, 933 change bits between batch 1 and batch 2,048. At 256 rows every position gives the same bits.

A call costs most of what 256 rows cost, so a model that was seen to give a row the same bits in a batch of 2,048 is
asked so many at a time where there are as many.
"""

import logging
from collections.abc import Callable, Collection

import numpy as np

from headrace.models.ports import Floats

LOG = logging.getLogger("headrace.models")
SHAPE, LARGE = 256, 2_048
_CATEGORIES = 3  # the trial's rows have these first ones


def padded(score: Callable[[Floats], Floats], matrix: Floats, shape: int = SHAPE) -> Floats:
    """Return ``score`` of the rows, asked ``shape`` at a time while there are as many, then ``SHAPE`` at a time.

    The last batch is filled up with zeros.
    """
    rows = len(matrix)
    whole = rows // shape * shape
    rest = -(-max(rows - whole, 1) // SHAPE) * SHAPE if whole < rows or not rows else 0
    filled = np.zeros((rest, matrix.shape[1]))
    filled[: rows - whole] = matrix[whole:]
    parts = [score(matrix[at : at + shape]) for at in range(0, whole, shape)]
    parts += [score(filled[at : at + SHAPE]) for at in range(0, rest, SHAPE)]
    return np.concatenate(parts)[:rows]


def largest(score: Callable[[Floats], Floats], width: int, categories: Collection[int] = ()) -> int:
    """Return the shape in which a model may be asked: ``LARGE`` where a trial gives every row the bits of ``SHAPE``.

    Where the order of a sum depends on the shape, about every second row tells. The trial's numbers are random and
    always the same; ``categories`` are the columns that hold positions. An estimator that refuses them, or gives NaN,
    is asked in the small shape.
    """
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(LARGE, width))
    rows[:, list(categories)] = chance.integers(0, _CATEGORIES, (LARGE, len(categories)))
    try:
        same = np.array_equal(score(rows), padded(score, rows))
    except ValueError as error:
        LOG.debug("a trial in a large batch was refused: %s", error)
        return SHAPE
    return LARGE if same else SHAPE
