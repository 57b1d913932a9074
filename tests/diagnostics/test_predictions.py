"""How good predictions are, against scikit-learn."""

import numpy as np
import pytest

from fastact.diagnostics import predictions

metrics = pytest.importorskip("sklearn.metrics")


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_confusion_and_what_follows_from_it(rng):
    true, predicted = rng.integers(0, 4, 200), rng.integers(0, 3, 200)
    counts = predictions.confusion(true, predicted, 5)
    assert counts.tolist() == metrics.confusion_matrix(true, predicted, labels=range(5)).tolist()
    precision, recall = predictions.class_scores(counts)
    known = metrics.precision_recall_fscore_support(true, predicted, labels=range(4), zero_division=np.nan)
    np.testing.assert_allclose(precision[:4], known[0])
    np.testing.assert_allclose(recall[:4], known[1])
    assert np.isnan([precision[4], recall[4]]).all()
    assert predictions.confusion(np.array([-1, 1]), np.array([0, 0]), 2).tolist() == [[0, 0], [1, 0]]
    assert predictions.confusion(np.empty(0, int), np.empty(0, int), 2).tolist() == [[0, 0], [0, 0]]


def test_errors_of_numbers(rng):
    true = rng.normal(size=(50, 2)) * (1, 30) + 5
    predicted = true + rng.normal(size=(50, 2))
    for j, one in enumerate(predictions.regression_scores(true, predicted, [5.0, 4.0])):
        t, p = true[:, j], predicted[:, j]
        always = np.full(50, [5.0, 4.0][j])
        assert one["r2"] == pytest.approx(metrics.r2_score(t, p))
        assert one["mae"] == pytest.approx(metrics.mean_absolute_error(t, p))
        assert one["rmse"] == pytest.approx(metrics.root_mean_squared_error(t, p))
        assert one["mean_mae"] == pytest.approx(metrics.mean_absolute_error(t, always))
        assert one["mean_rmse"] == pytest.approx(metrics.root_mean_squared_error(t, always))
    constant = np.full((3, 1), 2.0)
    assert predictions.regression_scores(constant, constant, [2.0])[0]["r2"] == 1
    assert predictions.regression_scores(constant, constant + 1, [2.0])[0]["r2"] == 0


def test_largest_errors():
    true = np.array([[0.0, 0], [1, 100], [2, 200], [3, 300]])
    predicted = true + np.array([[0, 50], [1, 0], [0, 0], [-2, -1]])
    assert predictions.largest_errors(true, predicted, 3) == [(3, 0), (1, 0), (0, 1)]
    assert predictions.largest_errors(np.ones((1, 1)), np.ones((1, 1))) == [(0, 0)]


def test_importance_is_what_permuting_costs(rng):
    x = rng.normal(size=(400, 4))
    before = x.copy()
    y = 3 * x[:, 0] + x[:, 1] - x[:, 2]

    def score(x):
        return metrics.r2_score(y, 3 * x[:, 0] + x[:, 1] - x[:, 2])

    groups = {"first": slice(0, 1), "two": slice(1, 3), "none": slice(3, 4)}
    found = predictions.permutation_importance(score, x, groups, repeats=20, rng=0)
    assert (x == before).all()
    # R2 falls by twice the share of the variance, of independent columns
    assert found["first"][0] == pytest.approx(2 * 9 / 11, abs=0.1)
    assert found["two"][0] == pytest.approx(2 * 2 / 11, abs=0.05)
    assert found["none"] == (0, 0)
