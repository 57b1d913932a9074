"""Estimators in files, and the message where scikit-learn is missing."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fastact as fa
from fastact.sklearn import MLPClassifier, MLPRegressor, files

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, DIGITS = load_digits(return_X_y=True)
X, DIGITS = X[:100] / 16, DIGITS[:100]
TEXT = np.array([f"d{d}" for d in DIGITS], object)


@pytest.mark.parametrize(
    ("estimator", "y"),
    [
        (MLPClassifier((9, 7), max_iter=3, dropout=[0.1, 0.2], alpha=0.5), DIGITS),
        (MLPClassifier(max_iter=3, dtype="float32", class_weight={"d0": 2.0}), TEXT),
        (MLPClassifier(max_iter=3, batch_norm=True, early_stopping=True), DIGITS > 4),
        (MLPClassifier(max_iter=3, dtype=np.float32), DIGITS.astype(float)),
        (MLPClassifier(max_iter=3), np.stack([DIGITS > 4, DIGITS < 3], axis=1)),
        (MLPClassifier(4, [fa.activation("elu", alpha=0.5)], solver="lbfgs", max_iter=3), DIGITS),
        (MLPRegressor(max_iter=3, scale_targets=True, activation="prelu"), 1e5 + X[:, 10:12]),
        (MLPRegressor("poisson", max_iter=3, n_iter_no_change=np.inf), DIGITS),
    ],
)
@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_a_loaded_estimator_predicts_the_same_bits(estimator, y, ending, tmp_path):
    path = tmp_path / f"model.{ending}"
    estimator.fit(X, y).save(path)
    loaded = type(estimator).load(path)
    for name in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(estimator, name):
            expected, found = getattr(estimator, name)(X), getattr(loaded, name)(X)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
    assert loaded.get_params() == estimator.get_params()
    for name in ("n_iter_", "t_", "loss_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(estimator, name), name
    if estimator.solver != "lbfgs":
        loaded.set_params(early_stopping=False).partial_fit(X, y)
    assert b"pickle" not in path.read_bytes()


def test_names_of_features_come_back(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    MLPClassifier(max_iter=1).fit(frame, DIGITS).save(tmp_path / "m.npz")
    loaded = MLPClassifier.load(tmp_path / "m.npz")
    loaded.predict(frame)
    assert list(loaded.feature_names_in_) == list(frame)


def test_objects_are_left_at_their_defaults(tmp_path):
    made = MLPClassifier(max_iter=1, optimizer=fa.optim.SGD(0.1), callbacks=[fa.Callback()], random_state=3)
    made.fit(X, DIGITS).save(tmp_path / "m.npz")
    loaded = MLPClassifier.load(tmp_path / "m.npz")
    assert (loaded.optimizer, loaded.callbacks, loaded.random_state) == (None, None, 3)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    made = MLPClassifier(max_iter=1).fit(X, DIGITS)
    with pytest.raises(ValueError, match="not fitted"):
        MLPClassifier().save(path)
    made.save(path)
    with pytest.raises(ValueError, match="of the class 'MLPClassifier'"):
        MLPRegressor.load(path)
    made.net_.save(path)
    with pytest.raises(ValueError, match=r"does not hold such an estimator: it lacks"):
        MLPClassifier.load(path)
    with pytest.raises(FileNotFoundError):
        MLPClassifier.load(tmp_path / "none.npz")
    assert isinstance(fa.load(path), fa.Sequential)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"alpha": {"plain": "x"}}}, {"parameters": {"nothing": {"plain": 1}}}, {"parameters": 3},
        {"fitted": {"classes_": {"array": ["<i8", [1, 2]]}}}, {"fitted": {"fit": {"plain": 3}}}, {"fitted": {}},
        {"class": "os.system"}, {"parameters": {"alpha": {"run": "os.system"}}}, {"fitted": []},
        {"parameters": {"alpha": {"plain": [1]}}}, {"parameters": {"alpha": 3}},
    ],
)  # fmt: skip
def test_crafted_files_are_refused(change, tmp_path):
    path = tmp_path / "m.npz"
    made = MLPClassifier(max_iter=1).fit(X, DIGITS)
    made.save(path)
    content = json.loads(fa.load(path).metadata[files.KEY])
    for name, value in change.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) and value else value
    made.net_.save(path, metadata={files.KEY: json.dumps(content)})
    with pytest.raises(ValueError, match=r"MLPClassifier\.load: .*m\.npz does not hold such an estimator"):
        MLPClassifier.load(path)


@pytest.mark.parametrize("missing", ["sklearn", "scipy"])
def test_without_scikit_learn_the_import_says_what_to_install(python, missing):
    python(
        f"""
        import sys
        import fastact
        assert not {{"sklearn", "scipy"}} & set(sys.modules)
        sys.modules[{missing!r}] = None
        try:
            import fastact.sklearn
        except ModuleNotFoundError as error:
            assert "pip install 'fastact[sklearn]'" in str(error), error
            assert {missing!r} in str(error)
        else:
            raise AssertionError
        """
    )
