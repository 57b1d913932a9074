"""In scikit-learn's tools: pipelines, searches, ensembles, inspection, copies, files, other processes."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastact as fa
from fastact.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, DIGITS = load_digits(return_X_y=True)
X, DIGITS = X[:300] / 16, DIGITS[:300]


def classifier(**options):
    return MLPClassifier((16,), max_iter=30, learning_rate_init=0.01, random_state=0, **options)


def regressor(**options):
    return MLPRegressor(hidden_layer_sizes=(16,), max_iter=40, learning_rate_init=0.01, random_state=0, **options)


def test_pipelines_and_cross_validation():
    pipeline = make_pipeline(StandardScaler(), classifier())
    assert cross_val_score(pipeline, X, DIGITS, cv=3).mean() > 0.85
    assert cross_val_predict(classifier(), X, DIGITS, cv=3, method="predict_proba").shape == (300, 10)


def test_columns_and_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X[:, 10:14], columns=list("abcd")).assign(kind=np.where(X[:, 20] > 0.3, "dark", "light"))
    columns = make_column_transformer((StandardScaler(), list("abcd")), (OneHotEncoder(sparse_output=False), ["kind"]))
    assert isinstance(columns, ColumnTransformer)
    made = make_pipeline(columns.set_output(transform="pandas"), classifier()).fit(frame, DIGITS)
    assert len(made[-1].feature_names_in_) == 6
    assert made.score(frame, DIGITS) > 0.4


def test_searches():
    grid = {"alpha": [1e-4, 100.0], "activation": ["relu", fa.activation("gelu")]}
    search = GridSearchCV(classifier(), grid, cv=2, n_jobs=2).fit(X, DIGITS)
    assert search.best_params_["alpha"] == 1e-4
    assert search.score(X, DIGITS) > 0.9
    space = {"hidden_layer_sizes": [(4,), (8,), (16,)], "dropout": [0.0, 0.2]}
    halving = HalvingRandomSearchCV(classifier(), space, n_candidates=4, cv=2, random_state=0, min_resources=100)
    assert halving.fit(X, DIGITS).score(X, DIGITS) > 0.8


def test_in_other_processes_and_threads_the_bits_are_the_same():
    expected = classifier().fit(X, DIGITS).net_.parameters
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend, n_jobs=2):
            both = joblib.Parallel()(joblib.delayed(classifier().fit)(X, DIGITS) for _ in range(2))
        for found in both:
            np.testing.assert_array_equal(found.net_.parameters, expected)


def test_meta_estimators():
    for meta in (
        CalibratedClassifierCV(classifier(), cv=2),
        BaggingClassifier(classifier(), n_estimators=2, max_features=0.8, random_state=0),
        StackingClassifier([("net", classifier()), ("line", LogisticRegression())], LogisticRegression(), cv=2),
    ):
        assert meta.fit(X, DIGITS).score(X, DIGITS) > 0.9
        np.testing.assert_allclose(meta.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    y = np.stack([DIGITS, DIGITS % 2], axis=1)
    assert MultiOutputClassifier(classifier()).fit(X, y).predict(X).shape == (300, 2)
    scaled = TransformedTargetRegressor(regressor(), transformer=StandardScaler())
    for meta in (scaled, VotingRegressor([("a", regressor()), ("b", regressor(activation="gelu"))])):
        assert meta.fit(X, DIGITS).score(X, DIGITS) > 0.5


def test_inspection():
    y = 3 * X[:, 20] - X[:, 43]
    made = regressor(scale_targets=True).fit(X, y)
    importance = permutation_importance(made, X, y, n_repeats=2, random_state=0).importances_mean
    assert set(importance.argsort()[-2:]) == {20, 43}
    response = partial_dependence(made, X, [20], grid_resolution=5)["average"][0]
    assert np.all(np.diff(response) > 0)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_copies_and_pickles(make, tmp_path):
    made = make(dropout=0.1, callbacks=[fa.EarlyStopping(50, "loss")]).fit(X, DIGITS)
    made.partial_fit(X, DIGITS)
    fresh = clone(made)
    assert not hasattr(fresh, "net_")
    assert str(fresh.get_params()["dropout"]) == "0.1"
    joblib.dump(made, tmp_path / "model.joblib")
    for other in (
        copy.copy(made),
        copy.deepcopy(made),
        pickle.loads(pickle.dumps(made)),
        joblib.load(tmp_path / "model.joblib"),
    ):
        np.testing.assert_array_equal(other.predict(X), made.predict(X))
    other = pickle.loads(pickle.dumps(made)).partial_fit(X, DIGITS)
    np.testing.assert_array_equal(other.net_.parameters, made.partial_fit(X, DIGITS).net_.parameters)


def test_a_search_on_a_cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        search = GridSearchCV(classifier(), {"alpha": [1e-4, 100.0]}, cv=2).fit(X, DIGITS)
    assert search.best_params_ == {"alpha": 1e-4}
