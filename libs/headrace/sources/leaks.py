"""Columns that know the label: they are left out until the user names them."""

import numpy as np
import numpy.typing as npt
import polars as pl

AUC_BOUND = 0.99
"""A single column that ranks a binary label better than this is taken for a leak."""
EXPLAINED_BOUND = 0.9
"""So is one that explains more of the label's variance (for classes: of its Gini impurity) than this."""
_EMPTY_WITHOUT, _FILLED_WITH = 0.9, 0.99
_FEWEST_ROWS, _MAX_ROWS = 50, 200_000  # fewer rows are ranked perfectly by chance
_ROWS_PER_BIN = 20
_MAX_BINS = 500

Matrix = npt.NDArray[np.float64]


def suspicion(column: pl.Series, label: pl.Series) -> str:
    """Return why ``column`` may be a leak of ``label``, or an empty text.

    ``label`` is numeric for a regression, text for classes. Means are taken on one half of the rows and judged on
    the other, so a column of many values does not look good by chance.
    """
    if _filled_only_with(column, label):
        return "filled only where the label is"
    known = label.is_not_null()
    column, label = _thinned(column.filter(known)), _thinned(label.filter(known))
    if len(label) < _FEWEST_ROWS or column.null_count() == len(column) or label.n_unique() < 2:  # noqa: PLR2004
        return ""
    explained = max(explained_variance(_cells(column), _targets(label)), _linear(column, label))
    if explained > EXPLAINED_BOUND:
        return f"explains {explained:.0%} of the label by itself"
    ranked = _auc(column, label)
    return f"ranks the label by itself (AUC {ranked:.3f})" if ranked > AUC_BOUND else ""


def explained_variance(cells: npt.NDArray[np.int64], targets: Matrix) -> float:
    """Return the share of the targets' variance that cell means of the other half explain (0 or less: none)."""
    error = total = 0.0
    half = np.arange(len(cells)) % 2 == 0
    for fit in (half, ~half):
        means = _means(cells, targets, fit)
        error += float(((targets[~fit] - means[cells[~fit]]) ** 2).sum())
        total += float(((targets[~fit] - targets[fit].mean(axis=0)) ** 2).sum())
    return 1 - error / total if total else 0.0


def _means(cells: npt.NDArray[np.int64], targets: Matrix, fit: npt.NDArray[np.bool_]) -> Matrix:
    """Return the mean target of each cell over the rows ``fit``; an unseen cell has the mean of all."""
    count = np.bincount(cells[fit], minlength=cells.max() + 1)
    sums = np.zeros((len(count), targets.shape[1]))
    np.add.at(sums, cells[fit], targets[fit])
    overall = targets[fit].mean(axis=0)
    return np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], overall)


def _filled_only_with(column: pl.Series, label: pl.Series) -> bool:
    """Tell whether the column is empty where the label is, and filled where it is."""
    missing = label.is_null()
    if not missing.any() or not column.null_count():
        return False
    empty = column.is_null()
    without, with_label = empty.filter(missing), (~empty).filter(~missing)
    return without.sum() >= _EMPTY_WITHOUT * len(without) and with_label.sum() >= _FILLED_WITH * len(
        with_label
    )


def _thinned(series: pl.Series) -> pl.Series:
    return series.gather_every(-(-len(series) // _MAX_ROWS)) if len(series) > _MAX_ROWS else series


def _cells(column: pl.Series) -> npt.NDArray[np.int64]:
    """Return a cell for each value: its own for a text or a rare number, a quantile's for the others; 0 for null."""
    if column.dtype.is_numeric():
        ranks = column.rank("min").cast(pl.Float64)
        bins = min(_MAX_BINS, max(2, len(column) // _ROWS_PER_BIN))
        column = (ranks / len(column) * bins).floor() if column.n_unique() > bins else ranks
    return column.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()


def _targets(label: pl.Series) -> Matrix:
    """Return the label as columns of numbers: itself, or one column a class."""
    if label.dtype.is_numeric():
        return label.cast(pl.Float64).to_numpy().reshape(-1, 1)
    return label.to_dummies().cast(pl.Float64).to_numpy()


def _linear(column: pl.Series, label: pl.Series) -> float:
    """Return the squared correlation of two numeric columns, which sees what cells blur in long tails."""
    numeric = column.dtype.is_numeric() and label.dtype.is_numeric()
    if not numeric or min(column.n_unique(), label.n_unique()) <= 2:  # noqa: PLR2004 - cells tell two values exactly
        return 0.0
    pair = pl.DataFrame({"x": column.cast(pl.Float64), "y": label.cast(pl.Float64)}).drop_nulls()
    found = pair.select(pl.corr("x", "y")).item()
    return float(found**2) if found is not None and np.isfinite(found) else 0.0


def _auc(column: pl.Series, label: pl.Series) -> float:
    """Return the AUC of a numeric column for a binary label, whichever way it points; 0.5 where that has no sense."""
    if not column.dtype.is_numeric() or label.dtype.is_numeric() or label.n_unique() != 2:  # noqa: PLR2004
        return 0.5
    filled = column.is_not_null()
    ranks, classes = column.filter(filled).rank("average"), label.filter(filled)
    positive = classes == classes.max()
    up = int(positive.sum())
    down = len(ranks) - up
    if not up or not down:
        return 0.5
    auc = (float(ranks.filter(positive).sum()) - up * (up + 1) / 2) / (up * down)
    return max(auc, 1 - auc)
