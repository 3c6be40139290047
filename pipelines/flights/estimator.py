"""The flights model: an estimator of one's own, as a function that ``flights.yaml`` names.

A plain class name would do (``sklearn.ensemble:HistGradientBoostingClassifier``). A function can say what is known about
the world: a later push-back, or worse recent arrivals, never make a late landing less likely.
"""

# ruff: noqa: INP001 - a pipeline's folder is found by its path and need not be a package

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier

from headrace.pipeline.definition import FeatureView

RISING = {"dep_delay", "origin_delta_3h", "dest_delta_6h"}


def build(params: dict[str, Any], view: FeatureView) -> HistGradientBoostingClassifier:
    """Return the unfitted classifier; categories arrive as positions, missing values as NaN."""
    return HistGradientBoostingClassifier(
        categorical_features=[name in view.categories for name in view.names],
        monotonic_cst=[int(name in RISING) for name in view.names],
        early_stopping=False,  # its inner split by chance would cost rows; the gate holds out the last days
        **params,
    )
