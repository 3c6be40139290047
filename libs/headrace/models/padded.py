"""Call a model on batches of one shape only, so that a row's bits do not depend on its companions.

BLAS and vectorised kernels pick another order of summation for another shape: of 2,048 rows of a logistic
regression, 933 change bits between batch 1 and batch 2,048. At 256 rows every position gives the same bits.
"""

from collections.abc import Callable

import numpy as np

from headrace.models.ports import Floats

SHAPE = 256


def padded(score: Callable[[Floats], Floats], matrix: Floats) -> Floats:
    """Return ``score`` of the rows, asked ``SHAPE`` rows at a time; the last batch is filled up with zeros."""
    rows = len(matrix)
    filled = np.zeros((-(-max(rows, 1) // SHAPE) * SHAPE, matrix.shape[1]))
    filled[:rows] = matrix
    return np.concatenate([score(filled[at : at + SHAPE]) for at in range(0, len(filled), SHAPE)])[:rows]
