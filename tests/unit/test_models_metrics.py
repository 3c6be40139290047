import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from headrace.models import metrics
from headrace.models.loss import losses

PAIRS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=2, max_size=60)


@given(PAIRS)
def test_binary_figures_agree_with_scikit_learn(pairs):
    chance, target = np.array([p for p, _ in pairs]) / 8, np.array([float(y) for _, y in pairs])
    scores = np.stack([1 - chance, chance], axis=1)
    found = metrics.summary("binary", scores, target)
    clipped = np.clip(chance, metrics.CLIP, 1 - metrics.CLIP)
    assert found["log_loss"] == pytest.approx(log_loss(target, clipped, labels=[0, 1]), abs=2 * metrics.CLIP)
    assert found["brier"] == pytest.approx(brier_score_loss(target, chance, pos_label=1))
    if 0 < target.sum() < len(target):
        assert found["auc"] == pytest.approx(roc_auc_score(target, chance))
    else:
        assert "auc" not in found


def test_a_sure_wrong_answer_costs_a_bounded_loss():
    loss = metrics.row_losses("binary", np.array([[1.0, 0.0]]), np.array([1.0]))
    assert loss.tolist() == [pytest.approx(-math.log(metrics.CLIP))]


def test_a_regression_is_judged_by_squares():
    found = metrics.summary("regression", np.array([[1.0, 0, 2], [3.0, 2, 4]]), np.array([2.0, 3.0]))
    assert found == {"mse": 0.5, "mae": 0.5, "bias": -0.5}


def test_no_rows_have_no_figures():
    assert metrics.summary("binary", np.empty((0, 2)), np.empty(0)) == {}
    assert math.isnan(metrics.mean_loss("binary", np.empty((0, 2)), np.empty(0)))
    assert metrics.residual_interval(np.empty(0)) == (0.0, 0.0)


def test_the_loss_of_a_gate_is_the_loss_of_an_outcome():
    scores, target = np.array([[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]]), np.array([1.0, 0.0, 1.0])
    told = [list(zip(("no", "yes"), row, strict=True)) for row in scores.tolist()]
    outcomes = losses("binary", told, ["yes", "no", "yes"])
    assert metrics.row_losses("binary", scores, target).tolist() == outcomes.to_pylist()
