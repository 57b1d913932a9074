"""The same numbers as scikit-learn's own estimators, rounding apart: weights, losses, scores, when it stops."""

import copy
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import load_digits

from fastact.sklearn import MLPClassifier, MLPRegressor

X, DIGITS = load_digits(return_X_y=True)
X = X[:300] / 16
DIGITS = DIGITS[:300]
RNG = np.random.default_rng(0)
WEIGHTS = RNG.random(len(X)) + 0.1
LABELS = np.stack([DIGITS > 4, DIGITS % 2 == 0, DIGITS < 3], axis=1).astype(int)
NAMES = np.array([f"digit {d}" for d in DIGITS], object)
VALUES = X[:, 20:23] + 1


def fitted(name, y, sample_weight=None, **options):
    """(theirs, ours), fitted alike."""
    both = []
    for module in (neural_network, None):
        kind = getattr(module, name) if module else {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name]
        estimator = kind(**{"random_state": 3, "max_iter": 8, **copy.deepcopy(options)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            both.append(estimator.fit(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight})))
    return both


def assert_same(theirs, ours, tolerance=1e-9):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(theirs, name), getattr(ours, name), strict=True):
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, err_msg=name)
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        expected, found = getattr(theirs, name, None), getattr(ours, name, None)
        if expected is None:
            assert found is None or name == "best_loss_", name
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-8, err_msg=name)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        assert ours.classes_.dtype == theirs.classes_.dtype
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7, atol=1e-9)
    predicted = theirs.predict(X)
    assert ours.predict(X).dtype == predicted.dtype
    (np.testing.assert_allclose if predicted.dtype.kind == "f" else np.testing.assert_array_equal)(
        ours.predict(X), predicted
    )


CLASSIFIERS = {
    "adam": {},
    "activations": {"activation": "logistic", "hidden_layer_sizes": (20, 10), "alpha": 2.0},
    "tanh, short last batch": {"activation": "tanh", "batch_size": 64, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2},
    "identity, in order": {"activation": "identity", "shuffle": False, "batch_size": 7},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1},
    "plain momentum": {"solver": "sgd", "learning_rate_init": 0.1, "nesterovs_momentum": False, "alpha": 1.0},
    "no momentum": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0},
    "invscaling": {"solver": "sgd", "learning_rate_init": 0.5, "learning_rate": "invscaling", "power_t": 0.3},
    "adaptive": {
        "solver": "sgd", "learning_rate_init": 0.5, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1,
        "max_iter": 40, "batch_size": 50,
    },
    "stops": {"tol": 0.5, "n_iter_no_change": 2, "max_iter": 50},
    "early stopping": {"early_stopping": True, "max_iter": 60, "batch_size": 20, "n_iter_no_change": 4},
    "lbfgs": {"solver": "lbfgs", "alpha": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("options", CLASSIFIERS.values(), ids=CLASSIFIERS.keys())
def test_classifiers(options):
    assert_same(*fitted("MLPClassifier", DIGITS, **options))


@pytest.mark.parametrize(
    "y", [DIGITS > 4, LABELS, NAMES, DIGITS.astype(float)], ids=["two", "multilabel", "text", "float"]
)
@pytest.mark.parametrize("options", [{}, {"early_stopping": True, "batch_size": 32}], ids=["plain", "early"])
def test_targets_of_classifiers(y, options):
    assert_same(*fitted("MLPClassifier", y, **options))


@pytest.mark.parametrize("y", [DIGITS, VALUES], ids=["one", "several"])
@pytest.mark.parametrize(
    "options",
    [{}, {"loss": "poisson"}, {"solver": "sgd", "activation": "tanh"}, {"early_stopping": True, "batch_size": 32}],
    ids=["adam", "poisson", "sgd", "early"],
)
def test_regressors(y, options):
    assert_same(*fitted("MLPRegressor", y, **options))


def test_a_regressor_by_lbfgs():
    assert_same(*fitted("MLPRegressor", DIGITS, solver="lbfgs"), tolerance=1e-6)


@pytest.mark.parametrize(
    ("name", "y"), [("MLPClassifier", DIGITS), ("MLPClassifier", LABELS), ("MLPRegressor", VALUES)]
)
def test_weights_of_rows(name, y):
    """In one batch; their mean over several batches counts rows where ours counts weights."""
    assert_same(*fitted(name, y, WEIGHTS, batch_size=len(X)))


def test_loss_curves_with_weights_in_batches():
    theirs, ours = fitted("MLPClassifier", DIGITS, WEIGHTS, batch_size=64)
    for a, b in zip(theirs.coefs_, ours.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_one_epoch_at_a_time(name):
    both = []
    for module in (neural_network, None):
        kind = getattr(module, name) if module else {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name]
        estimator = kind(random_state=1, batch_size=32, hidden_layer_sizes=(12,))
        for part in (slice(0, 100), slice(100, 140), slice(140, 300)):
            classes = {"classes": np.arange(10)} if name == "MLPClassifier" else {}
            estimator.partial_fit(X[part], DIGITS[part], **classes)
        both.append(estimator)
    assert_same(*both)


def test_float32_stays_and_comes_close():
    theirs, _ = fitted("MLPClassifier", DIGITS)
    single = MLPClassifier(random_state=3, max_iter=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        single.fit(X.astype(np.float32), DIGITS)
    assert {array.dtype for array in single.coefs_ + single.intercepts_} == {np.dtype(np.float32)}
    assert single.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(single.predict_proba(X), theirs.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_data_give_the_bits_of_dense_ones(solver, form):
    options = {"solver": solver, "random_state": 0, "max_iter": 5, "batch_size": 32, "early_stopping": solver == "adam"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dense, thin = (MLPClassifier(**options).fit(data, DIGITS) for data in (X, form(X)))
    for a, b in zip(dense.coefs_, thin.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(thin.predict_proba(form(X)), dense.predict_proba(X))
