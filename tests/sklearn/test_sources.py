"""The estimators on data that are not in memory: the numbers of arrays, classes, scaling, predictions."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import make_classification, make_regression

from fastact.data import Arrays, Stream
from fastact.sklearn import MLPClassifier, MLPRegressor

X, NUMBERS = make_classification(600, 8, n_informative=6, n_classes=3, random_state=0)
X = X.astype(np.float32)
NAMES = np.array(["ant", "bee", "cat"])[NUMBERS]
Z, TARGETS = make_regression(600, 8, noise=3, random_state=0)
Z = Z.astype(np.float32)
OPTIONS = {"hidden_layer_sizes": (16,), "random_state": 0}


class OnDisk:
    chunks = None

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, part):
        return self.array[part].copy()


def blocks(x, y, size=100):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def quiet(estimator, *arguments, **options):
    with pytest.warns(UserWarning, match="Maximum iterations"):
        return estimator.fit(*arguments, **options)


def test_what_fits_into_the_window_is_as_in_memory():
    expected = quiet(MLPClassifier(**OPTIONS, max_iter=5, early_stopping=True), X, NAMES)
    found = quiet(MLPClassifier(**OPTIONS, max_iter=5, early_stopping=True), OnDisk(X), NAMES)
    np.testing.assert_array_equal(found.net_.parameters, expected.net_.parameters)
    assert found.n_features_in_ == 8


def test_memory_maps_are_arrays(tmp_path):
    """What joblib hands to its workers is trained on as what it was made of, however large."""
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = quiet(MLPClassifier(**OPTIONS, max_iter=2), X, NAMES)
    found = quiet(MLPClassifier(**OPTIONS, max_iter=2), mapped, NAMES, window=100)
    np.testing.assert_array_equal(found.net_.parameters, expected.net_.parameters)


@pytest.mark.parametrize("make", ["arrays", "stream"])
def test_in_the_datas_order(make):
    options = {**OPTIONS, "shuffle": False, "batch_size": 100, "max_iter": 3}
    source = Arrays(OnDisk(X), NAMES) if make == "arrays" else Stream(blocks(X, NAMES))
    found = quiet(MLPClassifier(**options), source, window=100)
    expected = quiet(MLPClassifier(**options), X, NAMES)
    np.testing.assert_array_equal(found.net_.parameters, expected.net_.parameters)
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-12)
    assert (found.t_, found.n_iter_) == (1800, 3)
    assert found.classes_.tolist() == ["ant", "bee", "cat"]
    np.testing.assert_array_equal(found.predict(source), found.predict(X))
    np.testing.assert_array_equal(found.predict_proba(Arrays(OnDisk(X))), found.predict_proba(X))


@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns(classes):
    chosen = classes > NUMBERS
    order = np.argsort(NUMBERS[chosen], kind="stable")
    x, y = X[chosen][order], NAMES[chosen][order]
    options = {**OPTIONS, "max_iter": 20, "learning_rate_init": 0.02, "batch_size": 32}
    model = quiet(MLPClassifier(**options), Arrays(OnDisk(x), y), validation=(x, y), window=150)
    assert model.score(x, y) > 0.85
    assert model.best_validation_score_ > 0.85
    again = quiet(MLPClassifier(**options), Arrays(OnDisk(x), y), validation=Arrays(OnDisk(x), y), window=150)
    np.testing.assert_array_equal(again.net_.parameters, model.net_.parameters)
    assert again.validation_scores_ == model.validation_scores_


def test_weights_of_classes():
    y = np.where(NUMBERS == 0, "rare", "often")
    x, y = X[(NUMBERS > 0) | (np.arange(600) % 5 == 0)], y[(NUMBERS > 0) | (np.arange(600) % 5 == 0)]
    for weight in ("balanced", {"rare": 3.0, "often": 0.5}):
        options = {**OPTIONS, "shuffle": False, "batch_size": 40, "max_iter": 3, "class_weight": weight}
        expected = quiet(MLPClassifier(**options), x, y)
        found = quiet(MLPClassifier(**options), Arrays(OnDisk(x), y), window=40)
        np.testing.assert_allclose(found.net_.parameters, expected.net_.parameters, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [True, False])
def test_regression(scale):
    options = {**OPTIONS, "shuffle": False, "batch_size": 100, "max_iter": 3, "scale_targets": scale}
    expected = quiet(MLPRegressor(**options), Z, TARGETS)
    found = quiet(MLPRegressor(**options), Arrays(OnDisk(Z), TARGETS), window=100)
    np.testing.assert_allclose(found.predict(OnDisk(Z)), expected.predict(Z), rtol=1e-4, atol=1e-3)
    if scale:
        np.testing.assert_allclose(found.target_mean_, expected.target_mean_, rtol=1e-6)
        np.testing.assert_allclose(found.target_scale_, expected.target_scale_, rtol=1e-6)


def test_partial_fit():
    options = {**OPTIONS, "shuffle": False, "batch_size": 100}
    expected, found = MLPClassifier(**options), MLPClassifier(**options)
    calls = []

    def once():
        calls.append(1)
        return iter(blocks(X, NAMES))

    for epoch in range(3):
        expected.partial_fit(X, NAMES, classes=["ant", "bee", "cat"])
        found.partial_fit(once if epoch else Arrays(OnDisk(X), NAMES), classes=["ant", "bee", "cat"])
    np.testing.assert_array_equal(found.net_.parameters, expected.net_.parameters)
    assert len(calls) == 2
    assert found.t_ == expected.t_ == 1800
    regressor = MLPRegressor(**options).partial_fit(Stream(blocks(Z, TARGETS)))
    twin = MLPRegressor(**options).partial_fit(Z, TARGETS)
    np.testing.assert_array_equal(regressor.net_.parameters, twin.net_.parameters)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(Stream(blocks(X, NAMES)))


def test_what_a_source_cannot():
    source = Stream(blocks(X, NAMES))
    with pytest.raises(ValueError, match="solver='lbfgs' needs all data in memory"):
        MLPClassifier(solver="lbfgs").fit(source)
    with pytest.raises(ValueError, match=r"early_stopping=True needs validation=\(X, y\)"):
        MLPClassifier(early_stopping=True).fit(source)
    with pytest.raises(TypeError, match="fit: expected y to come with the batches"):
        MLPClassifier().fit(source, NAMES)
    with pytest.raises(TypeError, match="used up by the first"):
        MLPClassifier().fit(batch for batch in blocks(X, NAMES))
    with pytest.raises(ValueError, match="expected targets beside the features"):
        MLPClassifier().fit(Arrays(OnDisk(X)), window=100)
    bad = [*blocks(X, NAMES), (X[:2] * np.nan, NAMES[:2])]
    with pytest.raises(ValueError, match=r"Input X contains NaN[\s\S]*\(in batch 7\)"):
        MLPClassifier(max_iter=1).fit(bad)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        MLPClassifier().fit(X)
    model = quiet(MLPClassifier(max_iter=1), X, NAMES)
    with pytest.raises(ValueError, match="X has 5 features, but MLPClassifier is expecting 8"):
        model.predict(OnDisk(X[:, :5]))


def test_saved_and_loaded(tmp_path):
    source = Arrays(OnDisk(X), NAMES)
    model = quiet(MLPClassifier(**OPTIONS, max_iter=1, class_weight="balanced"), source, window=100)
    model.save(tmp_path / "model.safetensors")
    loaded = MLPClassifier.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(source), model.predict(X))
