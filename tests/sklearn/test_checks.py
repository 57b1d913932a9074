"""scikit-learn's checks of estimators, of which none is expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastact.sklearn import MLPClassifier, MLPRegressor


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_check_estimator(estimator, check):
    check(estimator)
