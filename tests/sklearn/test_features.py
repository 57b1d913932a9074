"""What scikit-learn's estimators lack."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import metrics
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_sample_weight

import fastact as fa
from fastact.registry import ACTIVATIONS, LEARNED
from fastact.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, DIGITS = load_digits(return_X_y=True)
X, DIGITS = (X[:240] / 16).astype(np.float32), DIGITS[:240]
TWO = DIGITS % 2
VALUES = X[:, 20:22]
Classifier = functools.partial(MLPClassifier, (12,), random_state=0, max_iter=5)
Regressor = functools.partial(MLPRegressor, hidden_layer_sizes=(12,), random_state=0, max_iter=5)


def names(estimator):
    return [type(layer).__name__ for layer in estimator.net_.layers]


# ------------------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LEARNED, fa.activation("maxout", pieces=2)], ids=str)
@pytest.mark.parametrize("normalised", [False, True])
def test_every_activation(name, normalised):
    made = Classifier(activation=name, batch_norm=normalised, max_iter=30).fit(X, DIGITS)
    assert made.loss_curve_[-1] < made.loss_curve_[0]
    assert names(made)[:2] != ["Dense", "BatchNorm"] or normalised


def test_an_activation_for_each_layer():
    leaky = fa.activation("leaky_relu", negative_slope=0.3)
    made = MLPClassifier((5, 4), ["gelu", leaky], max_iter=1).fit(X, DIGITS)
    assert [str(layer.activation) for layer in made.net_.layers] == ["gelu", str(leaky), "identity"]
    with pytest.raises(ValueError, match="activation to have one entry for each of 3 hidden layers, got 2"):
        MLPClassifier((5, 4, 3), ["gelu", "relu"]).fit(X, DIGITS)
    with pytest.raises(ValueError, match="unknown activation 'reluu'"):
        MLPClassifier(activation="reluu").fit(X, DIGITS)


def test_dropout():
    made = MLPClassifier((6, 5), dropout=[0.1, 0.0], max_iter=1, random_state=0).fit(X, DIGITS)
    assert names(made) == ["Dense", "Dropout", "Dense", "Dense"]
    assert made.net_.layers[1].rate == 0.1
    again = MLPClassifier((6, 5), dropout=[0.1, 0.0], max_iter=1, random_state=0).fit(X, DIGITS)
    np.testing.assert_array_equal(made.net_.parameters, again.net_.parameters)
    np.testing.assert_array_equal(made.predict_proba(X), made.predict_proba(X))
    other = MLPClassifier((6, 5), max_iter=1, random_state=0).fit(X, DIGITS)
    assert not np.array_equal(made.coefs_[0], other.coefs_[0])


@pytest.mark.parametrize(("name", "layer"), [("batch_norm", "BatchNorm"), ("layer_norm", "LayerNorm")])
def test_normalisation(name, layer):
    made = Classifier(**{name: True}, max_iter=40, learning_rate_init=0.01).fit(X, DIGITS)
    assert names(made) == ["Dense", layer, "Activation", "Dense"]
    assert made.score(X, DIGITS) > 0.95


def test_batch_normalisation_meets_no_batch_of_one_row():
    made = Classifier(batch_norm=True).fit(X[:201], DIGITS[:201])
    assert made.history_.steps == 2 * made.n_iter_
    with pytest.raises(ValueError, match="at least 2 rows for BatchNorm"):
        Classifier(batch_norm=True, batch_size=40).fit(X[:201], DIGITS[:201])
    with pytest.raises(ValueError, match="exclude each other"):
        Classifier(batch_norm=True, layer_norm=True).fit(X, DIGITS)


def test_starting_weights():
    """scikit-learn's: uniform within sqrt(6 / (inputs + outputs)), 2 for logistic; or those asked for."""
    for activation, factor in (("relu", 6), ("logistic", 2), ("gelu", 6)):
        made = MLPClassifier((500,), activation, learning_rate_init=1e-9, max_iter=1).fit(X, DIGITS)
        for weight, bias in zip(made.coefs_, made.intercepts_, strict=True):
            bound = (factor / sum(weight.shape)) ** 0.5
            assert 0.99 * bound < np.abs(weight).max() <= bound * 1.0001
            assert np.abs(bias).max() <= bound * 1.0001
            assert bias.any()
    made = MLPClassifier((500,), weight_init="orthogonal", learning_rate_init=1e-9, max_iter=1).fit(X, DIGITS)
    np.testing.assert_allclose(made.coefs_[0] @ made.coefs_[0].T, np.eye(64), atol=1e-4)
    np.testing.assert_allclose(made.intercepts_[0], 0, atol=1e-7)


def test_assigning_weights():
    made = Classifier().fit(X, DIGITS)
    weight = np.arange(64 * 12).reshape(64, 12) / 1000
    made.coefs_[0] = weight
    np.testing.assert_array_equal(made.net_.named_parameters()["0.weight"], weight.astype(np.float32))
    made.intercepts_ = [np.full(12, 2.0), np.zeros(10)]
    assert (made.net_.named_parameters()["0.bias"] == 2).all()
    assert np.shares_memory(made.coefs_[1], made.net_.parameters)
    with pytest.raises(ValueError, match="shape"):
        made.coefs_[0] = np.zeros((3, 4))
    with pytest.raises(ValueError, match="zip"):
        made.coefs_ = [weight]
    assert not hasattr(MLPClassifier(), "coefs_")


# ------------------------------------------------------------------------------------------------ objectives


def test_class_weights_are_weights_of_rows():
    weights = {d: 1.0 + d for d in range(10)}
    for given in (weights, "balanced"):
        a = Classifier(class_weight=given).fit(X, DIGITS)
        b = Classifier().fit(X, DIGITS, compute_sample_weight(given, DIGITS))
        np.testing.assert_array_equal(a.net_.parameters, b.net_.parameters)
    text = np.array([f"d{d}" for d in TWO])
    a = Classifier(class_weight={"d0": 0.5, "d1": 3}).partial_fit(X, text, classes=["d0", "d1"])
    b = Classifier().partial_fit(X, text, np.where(TWO == 1, 3, 0.5), classes=["d0", "d1"])
    np.testing.assert_array_equal(a.net_.parameters, b.net_.parameters)
    with pytest.raises(ValueError, match="'balanced' is not supported by partial_fit"):
        Classifier(class_weight="balanced").partial_fit(X, TWO, classes=[0, 1])


def minimum_of_huber(y, delta):
    grid = np.linspace(y.min(), y.max(), 2001)[:, None] - y
    each = np.where(np.abs(grid) < delta, grid**2 / 2, delta * (np.abs(grid) - delta / 2))
    return grid[each.sum(axis=1).argmin(), 0] + y[0]


@pytest.mark.parametrize(
    ("options", "statistic"),
    [
        ({"loss": "quantile", "quantile": 0.9}, lambda y: np.quantile(y, 0.9, axis=0)),
        ({"loss": "absolute_error"}, lambda y: np.median(y, axis=0)),
        ({"loss": "huber", "delta": 0.3}, lambda y: np.apply_along_axis(minimum_of_huber, 0, y, 0.3)),
        ({"loss": "huber", "delta": 1e3}, lambda y: np.mean(y, axis=0)),
        ({"loss": "poisson"}, lambda y: np.mean(y, axis=0)),
        ({"loss": "squared_error"}, lambda y: np.mean(y, axis=0)),
    ],
)
@pytest.mark.parametrize("outputs", [1, 2])
def test_losses_find_their_statistic(options, statistic, outputs):
    """Where X says nothing."""
    y = np.random.default_rng(1).exponential(size=(101, outputs)) + 1
    schedule = fa.optim.Cosine(0.1, 800, 1e-4)
    made = MLPRegressor(
        hidden_layer_sizes=(), optimizer=fa.optim.SGD(schedule, momentum=0.9), alpha=0, max_iter=800, tol=0,
        n_iter_no_change=1000, random_state=0, **options,
    ).fit(np.zeros((101, 1)), y.squeeze())  # fmt: skip
    np.testing.assert_allclose(made.predict(np.zeros((1, 1))).ravel(), statistic(y), rtol=0.02)
    assert made.predict(np.zeros((3, 1))).shape == ((3,) if outputs == 1 else (3, 2))


def test_targets_are_scaled_inside():
    y = 1e6 + 1e-2 * VALUES.astype(np.float64)
    made = Regressor(scale_targets=True, max_iter=300, learning_rate_init=0.01).fit(X.astype(float), y)
    assert made.score(X, y) > 0.9
    np.testing.assert_allclose(made.target_mean_, y.mean(axis=0))
    plain = Regressor(max_iter=300, learning_rate_init=0.01).fit(X.astype(float), (y - y.mean(axis=0)) / y.std(axis=0))
    np.testing.assert_allclose(made.predict(X), plain.predict(X) * y.std(axis=0) + y.mean(axis=0), rtol=1e-12)
    with pytest.raises(ValueError, match="does not go with"):
        Regressor(scale_targets=True, loss="poisson").fit(X, DIGITS)
    with pytest.raises(ValueError, match="y >= 0"):
        Regressor(loss="poisson").fit(X, -DIGITS)
    with pytest.raises(ValueError, match="too large for float32; pass scale_targets=True"):
        Regressor().fit(X, 1e39 * VALUES.astype(np.float64))


# ------------------------------------------------------------------------------------------------ training


def test_a_validation_set_of_ones_own():
    train, valid = slice(0, 160), slice(160, 240)
    made = Classifier(max_iter=12).fit(X[train], DIGITS[train], validation=(X[valid], DIGITS[valid]))
    assert len(made.validation_scores_) == len(made.validation_loss_curve_) == 12
    assert made.validation_scores_[-1] == pytest.approx(made.score(X[valid], DIGITS[valid]))
    proba = made.predict_proba(X[valid]).astype(float)
    expected = metrics.log_loss(DIGITS[valid], proba / proba.sum(axis=1, keepdims=True), labels=range(10))
    assert made.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-5)
    assert made.best_validation_score_ == max(made.validation_scores_)
    assert made.best_loss_ == min(made.loss_curve_)
    assert made.history_["validation_loss"] == made.validation_loss_curve_
    made = Regressor(max_iter=3).fit(X, VALUES, validation=(sparse.csr_array(X[:50]), VALUES[:50]))
    assert made.validation_scores_[-1] == pytest.approx(made.score(X[:50], VALUES[:50]), rel=1e-5)
    with pytest.raises(ValueError, match="classes not in"):
        Classifier().fit(X, TWO, validation=(X, DIGITS))
    with pytest.raises(TypeError, match=r"expected validation to be \(X, y\)"):
        Classifier().fit(X, TWO, validation=X)


@pytest.mark.parametrize("validated", [False, True])
def test_the_best_weights_come_back(validated):
    """Those of a training that ends with the best epoch."""
    options = {"learning_rate_init": 0.5, "solver": "sgd", "batch_size": 16, "tol": 0}
    keywords = {"validation": (X[160:], DIGITS[160:])} if validated else {}
    made = Classifier(max_iter=15, restore_best_weights=True, **options).fit(X[:160], DIGITS[:160], **keywords)
    curve = made.validation_scores_ if validated else [-loss for loss in made.loss_curve_]
    best = int(np.argmax(curve)) + 1
    assert best < 15
    shorter = Classifier(max_iter=best, **options).fit(X[:160], DIGITS[:160])
    np.testing.assert_array_equal(made.net_.parameters, shorter.net_.parameters)


def test_early_stopping_restores_statistics_too():
    made = Classifier(batch_norm=True, early_stopping=True, max_iter=200, n_iter_no_change=3, batch_size=32)
    made.fit(X, TWO, validation=(X[200:], TWO[200:]))
    assert made.n_iter_ < 200
    assert made.score(X[200:], TWO[200:]) == pytest.approx(made.best_validation_score_)
    assert made.best_loss_ is None


def test_optimizers_of_the_library():
    schedule = fa.optim.Cosine(0.01, 20)
    given = fa.optim.AdamW(schedule, weight_decay=0.1)
    made = Classifier(optimizer=given, max_iter=10, batch_size=120).fit(X, DIGITS)
    assert given.steps == 0  # it was copied
    assert made.history_.rate == pytest.approx([schedule(2 * epoch + 1) for epoch in range(10)])
    named, made = (Classifier(optimizer=one).fit(X, DIGITS) for one in ("rmsprop", fa.optim.RMSprop()))
    np.testing.assert_array_equal(named.net_.parameters, made.net_.parameters)
    torch_like, ours = (
        Classifier(**options).fit(X, DIGITS) for options in ({"optimizer": fa.optim.Adam(0.001)}, {"solver": "adam"})
    )
    np.testing.assert_allclose(torch_like.loss_curve_, ours.loss_curve_, rtol=1e-4)  # but for epsilon


def test_clipping():
    options = {"solver": "sgd", "momentum": 0, "max_iter": 1, "batch_size": 240, "alpha": 0}
    start = Classifier(**{**options, "learning_rate_init": 1e-30}).fit(X, DIGITS).net_.parameters
    by_norm = Classifier(**options, learning_rate_init=1.0, clip_norm=0.01).fit(X, DIGITS).net_.parameters
    assert np.linalg.norm(by_norm - start) == pytest.approx(0.01, rel=1e-4)
    by_value = Classifier(**options, learning_rate_init=1.0, clip_value=1e-3).fit(X, DIGITS).net_.parameters
    assert np.abs(by_value - start).max() == pytest.approx(1e-3, rel=1e-3)
    given = Classifier(optimizer=fa.optim.SGD(1.0), clip_norm=0.01, max_iter=1, batch_size=240, alpha=0)
    np.testing.assert_array_equal(given.fit(X, DIGITS).net_.parameters, by_norm)


class Stop(fa.Callback):
    """Stops after two epochs, and has seen the estimator's numbers."""

    def __init__(self):
        self.seen = []

    def on_epoch_end(self, run):
        self.seen.append(run.logs["loss"])
        if run.epoch == 2:
            run.stop()


def test_callbacks():
    stop = Stop()
    made = Classifier(callbacks=stop).fit(X, DIGITS)
    assert made.loss_curve_ == stop.seen == made.history_.loss
    assert made.n_iter_ == 2
    assert Classifier(callbacks=[Stop()]).fit(X, DIGITS).n_iter_ == 2


def test_ctrl_c_leaves_a_fitted_estimator():
    class Interrupt(fa.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 3:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        made = Classifier(callbacks=Interrupt()).fit(X, DIGITS)
    assert made.n_iter_ == made.history_.epochs == 3
    assert made.history_.interrupted
    assert made.predict(X).shape == (240,)

    class AtOnce(fa.Callback):
        def on_batch_end(self, run):
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        made = Classifier(callbacks=AtOnce()).fit(X, DIGITS)
    assert (made.n_iter_, made.loss_curve_) == (0, [])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd", "momentum": 0.9},
        {"optimizer": fa.optim.RMSprop(0.01)},
        {"dropout": 0.3, "batch_norm": True},
    ],
    ids=["adam", "sgd", "rmsprop", "layers"],
)
@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_going_on_has_the_bits_of_never_stopping(kind, options):
    """The optimiser's state is kept, by warm_start, by partial_fit, by pickle and by copies."""
    options = {**options, "shuffle": False, "batch_size": 50}
    whole = kind(max_iter=6, **options).fit(X, DIGITS)
    warm = kind(max_iter=3, warm_start=True, **options).fit(X, DIGITS)
    copied = copy.deepcopy(warm).fit(X, DIGITS)
    steps = kind(**options)
    classes = {"classes": range(10)} if kind is Classifier else {}
    for epoch in range(6):
        steps.partial_fit(X, DIGITS, **classes)
        steps = pickle.loads(pickle.dumps(steps)) if epoch == 2 else steps
    for other in (warm.fit(X, DIGITS), copied, steps):
        np.testing.assert_array_equal(other.net_.parameters, whole.net_.parameters)
        assert other.loss_curve_ == whole.loss_curve_
        assert other.t_ == whole.t_ == 6 * 240
    assert warm.n_iter_ == 3


def test_a_changed_rate_keeps_the_state():
    made = Classifier(warm_start=True).fit(X, DIGITS)
    moments = made._optimizer.state["exp_avg"].copy()
    made.set_params(learning_rate_init=1e-12, max_iter=1).partial_fit(X, DIGITS)
    assert made._optimizer.lr == 1e-12
    assert made._optimizer.steps == 12
    assert np.abs(made._optimizer.state["exp_avg"] - moments).max() < np.abs(moments).max()
    made.set_params(solver="sgd").partial_fit(X, DIGITS)
    assert made._optimizer.steps == 2


def test_partial_fit_at_a_glance_does_what_it_does_else():
    """Arrays of the network's dtype take a shorter way."""
    for kind, y in ((Classifier, DIGITS), (Classifier, TWO), (Regressor, VALUES[:, 0].copy())):
        classes = {"classes": np.unique(y)} if kind is Classifier else {}
        short, long = kind().partial_fit(X, y, **classes), kind().partial_fit(X, y, **classes)
        for _ in range(3):
            short.partial_fit(X, y)
            long.partial_fit(X.tolist(), y.tolist())
        np.testing.assert_array_equal(short.net_.parameters, long.net_.parameters)
        with pytest.raises(ValueError, match="NaN"):
            short.partial_fit(np.full_like(X, np.nan), y)
        with pytest.raises(ValueError, match="features"):
            short.partial_fit(X[:, :9].copy(), y)
    with pytest.raises(ValueError, match="classes not in"):
        Classifier().partial_fit(X, TWO, classes=[0, 1]).partial_fit(X, DIGITS)
    with pytest.raises(ValueError, match="alpha"):
        Classifier().partial_fit(X, TWO, classes=[0, 1]).set_params(alpha=-1).partial_fit(X, TWO)


def test_another_solver_goes_on():
    made = Classifier(solver="lbfgs", warm_start=True).fit(X, DIGITS)
    loss = made.loss_
    assert not hasattr(made, "loss_curve_")
    assert made.set_params(solver="adam").fit(X, DIGITS).loss_curve_[-1] < loss
    assert len(made.loss_curve_) == made.n_iter_ == 5
    assert made.set_params(solver="lbfgs").fit(X, DIGITS).loss_ < loss


class Wide(MLPClassifier):
    """A subclass with parameters of its own."""

    def __init__(self, width=7, alpha=0.1):
        super().__init__((width,), alpha=alpha, max_iter=2)
        self.width = width


def test_subclasses():
    made = Wide(5).fit(X, DIGITS)
    assert made.coefs_[0].shape == (64, 5)
    assert made.get_params() == {"width": 5, "alpha": 0.1}
    before = made.partial_fit(X, DIGITS).net_.parameters.copy()
    made.alpha = 0.0
    made.partial_fit(X, DIGITS)
    made.width = 3
    assert not np.array_equal(before, made.partial_fit(X, DIGITS).net_.parameters)


def test_a_loss_that_diverges_says_so():
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        Regressor(solver="sgd", learning_rate_init=1e3, max_iter=200, activation="identity").fit(1e3 * X, VALUES)
    made = Regressor(solver="sgd", learning_rate_init=1e3, max_iter=9, early_stopping=True, activation="identity")
    with pytest.warns(ConvergenceWarning, match="loss became"):
        made.fit(1e3 * X, VALUES)
    assert np.isfinite(made.net_.parameters).all()
    assert made.n_iter_ == 9


def test_what_does_not_go_together():
    for options, keywords in (({"dropout": 0.1}, {}), ({"batch_norm": True}, {}), ({}, {"validation": (X, DIGITS)})):
        with pytest.raises(ValueError, match="solver='lbfgs' takes no"):
            Classifier(solver="lbfgs", **options).fit(X, DIGITS, **keywords)
    with pytest.raises(ValueError, match="at least one"):
        Classifier().fit(X, DIGITS, np.zeros(240))
    with pytest.raises(ValueError, match="early_stopping=True"):
        Classifier(early_stopping=True).partial_fit(X, TWO, classes=[0, 1])


# ------------------------------------------------------------------------------------------------ data


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        (np.float32, None, "float32"), (np.float64, None, "float64"), (np.int64, None, "float32"),
        (np.uint8, None, "float32"), (np.float64, "float32", "float32"), (np.float32, "float64", "float64"),
        (np.float32, np.float64, "float64"),
    ],
)  # fmt: skip
def test_dtypes(given, dtype, expected):
    x = (16 * X).astype(given)
    made = Classifier(dtype=dtype).fit(x, DIGITS)
    assert {a.dtype.name for a in [*made.coefs_, *made.intercepts_, made.predict_proba(x)]} == {expected}
    assert Regressor(dtype=dtype).fit(x, VALUES).predict(x).dtype == expected
    made.partial_fit(x.astype(np.float64), DIGITS)
    assert made.net_.dtype == expected


def test_data_too_large_for_float32():
    with pytest.raises(ValueError, match="too large for dtype"):
        Classifier(dtype="float32").fit(1e39 * X.astype(np.float64), DIGITS)


def test_frames():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = [f"pixel {i}" for i in range(64)]
    plain = Classifier(dtype="float64").fit(16 * X, DIGITS)
    frame = pd.DataFrame(16 * X, columns=columns)
    for x, y in (
        (frame, pd.Series(DIGITS)),
        (frame.astype("Int64"), pd.Series(DIGITS, dtype="Int64")),
        (pl.DataFrame(16 * X, schema=columns), pl.Series(DIGITS)),
    ):
        made = Classifier(dtype="float64").fit(x, y)
        np.testing.assert_array_equal(made.predict_proba(x), plain.predict_proba(16 * X))
    made = Classifier(dtype="float64").fit(frame, DIGITS)
    assert list(made.feature_names_in_) == columns
    for call in (made.predict, functools.partial(made.partial_fit, y=DIGITS)):
        with pytest.warns(UserWarning, match="valid feature names"):
            call(16 * X.astype(np.float64))
    text = pd.Series([f"d{d}" for d in DIGITS], dtype="string")
    assert set(Classifier().fit(frame, text).predict(frame)) <= set(text)
    assert set(Classifier().fit(frame, text.astype("category")).predict(frame)) <= set(text)


def test_sparse_rows_are_made_dense_batch_by_batch(monkeypatch):
    from fastact.sklearn import solvers

    largest = 0

    def counted(method):
        def call(self, rows, *others):
            nonlocal largest
            largest = max(largest, len(np.arange(len(self))[rows]))
            return method(self, rows, *others)

        return call

    for name in ("take", "__getitem__"):
        monkeypatch.setattr(solvers.SparseRows, name, counted(getattr(solvers.SparseRows, name)))
    monkeypatch.setattr(solvers, "BLOCK", 50)
    thin = sparse.csr_array(X)
    made = Classifier(batch_size=40).fit(thin, DIGITS)
    made.partial_fit(thin, DIGITS)
    made.predict(thin)
    Classifier(solver="lbfgs").fit(thin, DIGITS)
    assert largest == 50


def test_multilabel():
    labels = np.stack([DIGITS > 4, DIGITS % 2 == 0], axis=1).astype(int)
    for y in (labels, sparse.csr_array(labels)):
        made = Classifier(max_iter=60, learning_rate_init=0.01).fit(X, y)
        assert made.predict(X).shape == (240, 2)
        assert made.score(X, labels) > 0.9
        proba = made.predict_proba(X)
        np.testing.assert_array_equal(proba > 0.5, made.predict(X) == 1)
        np.testing.assert_allclose(np.exp(made.predict_log_proba(X)), proba, rtol=1e-5)
    with pytest.raises(ValueError, match="same kind"):
        made.partial_fit(X, TWO)


def test_threads_do_not_change_a_bit():
    one, two = (Classifier(n_threads=n).fit(X, DIGITS) for n in (1, 2))
    np.testing.assert_array_equal(one.net_.parameters, two.net_.parameters)
    before = fa.get_num_threads()
    two.predict(X)
    assert fa.get_num_threads() == before


def test_logarithms_stay_finite():
    made = Classifier(max_iter=1).fit(X, TWO)
    made.coefs_[1] = 1e4 * made.coefs_[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = made.predict_log_proba(X)
    assert np.isfinite(found).all()
    assert (made.predict_proba(X) == 0).any()
