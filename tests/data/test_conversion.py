"""Users' data and options in fit, evaluate and predict: what is taken, and what is said about bad ones."""

import functools
import re
import types

import numpy as np
import pytest
import support

import fastact as fa

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 3, 12)
VALUES = np.random.default_rng(2).normal(size=(12, 3)).astype(np.float32)


def network(outputs=3, inputs=4):
    return fa.Sequential(fa.Dense(inputs, outputs), rng=0)


def trained(x, y, loss="softmax_cross_entropy", outputs=3, **options):
    net = network(outputs)
    fa.fit(net, x, y, loss=loss, epochs=2, batch_size=5, rng=0, progress=False, **options)
    return net.parameters


class Frame:
    """What pandas frames are to NumPy: columns of several types, given as objects."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array.astype(object)


@pytest.mark.parametrize(
    "given",
    [
        X.tolist(),
        [tuple(row) for row in X],
        X.astype(np.float64),
        X.astype(">f4"),
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
        Frame(X),
    ],
)
def test_features_of_every_kind(given):
    support.assert_same_bits(trained(given, LABELS), trained(X, LABELS))
    support.assert_same_bits(fa.predict(network(), given), network()(X))


def test_features_of_whole_numbers():
    whole = np.arange(48).reshape(12, 4) % 7
    for dtype in (np.uint8, np.int64, np.bool_, np.float16):
        support.assert_same_bits(
            trained(whole.astype(dtype), LABELS), trained(whole.astype(dtype).astype(np.float32), LABELS)
        )


@pytest.mark.parametrize(
    "given",
    [
        LABELS.tolist(),
        LABELS.astype(np.uint8),
        LABELS.astype(np.float64),
        LABELS[:, None],
        LABELS.astype(object),
        Frame(LABELS[:, None]),
    ],
)
def test_labels_of_every_kind(given):
    support.assert_same_bits(trained(X, given), trained(X, LABELS))


def test_labels_of_two_classes_as_booleans():
    support.assert_same_bits(trained(X, LABELS > 0, outputs=2), trained(X, (LABELS > 0).astype(int), outputs=2))


@pytest.mark.parametrize(
    "given", [VALUES.tolist(), VALUES.astype(np.float64), np.asfortranarray(VALUES), Frame(VALUES)]
)
def test_values_of_every_kind(given):
    support.assert_same_bits(trained(X, given, "huber"), trained(X, VALUES, "huber"))


def test_one_output_takes_a_row_of_values():
    for given in (VALUES[:, 0], VALUES[:, :1], VALUES[:, 0].tolist()):
        support.assert_same_bits(
            trained(X, given, "huber", outputs=1), trained(X, VALUES[:, :1].copy(), "huber", outputs=1)
        )
    support.assert_same_bits(
        trained(X, LABELS > 1, "bce_with_logits", outputs=1),
        trained(X, (LABELS > 1).astype(np.float32)[:, None], "bce_with_logits", outputs=1),
    )


class Device(types.SimpleNamespace):
    def __str__(self):
        return self.name


def tensor(device="cpu", **methods):
    """What torch's tensors are to us, without torch."""
    kind = type("Tensor", (), {"__module__": "torch", **methods})
    made = kind()
    made.device = Device(type=device.partition(":")[0], name=device)
    return made


def test_tensors():
    inner = tensor(__array__=lambda self, dtype=None, copy=None: X)
    outer = tensor(detach=lambda self: inner)
    support.assert_same_bits(trained(outer, LABELS), trained(X, LABELS))
    with pytest.raises(TypeError, match=r"x is a tensor on cuda:0; convert with x\.cpu\(\)"):
        fa.predict(network(), tensor("cuda:0"))

    def half(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")

    with pytest.raises(ValueError, match=r"expected x to be an array of numbers .*BFloat16"):
        fa.predict(network(), tensor(detach=lambda self: tensor(__array__=half)))


def test_real_tensors():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X.copy()).requires_grad_()
    support.assert_same_bits(trained(x, torch.from_numpy(LABELS)), trained(X, LABELS))


def test_real_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    support.assert_same_bits(trained(frame, pandas.Series(LABELS)), trained(X, LABELS))
    frame["a"] = pandas.array(frame["a"] > 0, dtype=object)
    trained(frame, LABELS)


class Sparse:
    def tocsr(self):
        return self


def spoilt(row, column, value, array=X, dtype=np.float64):
    copy = array.astype(dtype)
    copy[row, column] = value
    return copy


class NAType:
    """As pandas' missing value is called."""


class Named(Frame):
    columns = ("one", "two", "three", "age")


BAD_X = {
    "sparse": (Sparse(), TypeError, r"x is a sparse matrix, .* convert with x\.toarray\(\)"),
    "masked": (np.ma.masked_array(X), TypeError, "x is a masked array.* fill it first"),
    "numbers as text": (np.full((12, 4), "1.5"), TypeError, r"hold numbers, got an array of <U3.* astype\(float\)"),
    "text": (
        spoilt(3, 2, "a", dtype="U9"),
        TypeError,
        "hold numbers, got the text 'a' at row 3, column 2; drop or encode",
    ),
    "bytes": (spoilt(3, 2, b"a", dtype="S9"), TypeError, "got the text b'a' at row 3, column 2"),
    "text in a list": (spoilt(11, 0, "a", dtype=object).tolist(), TypeError, "got the text 'a' at row 11, column 0"),
    "mixed": (spoilt(2, 3, "a", dtype=object), TypeError, "got the text 'a' at row 2, column 3; drop or encode"),
    "missing": (spoilt(2, 3, None, dtype=object), TypeError, "hold numbers, got None at row 2, column 3"),
    "NA": (spoilt(2, 3, NAType(), dtype=object), TypeError, "hold numbers, got pd.NA at row 2, column 3"),
    "a list within": (spoilt(2, 3, [1], dtype=object), TypeError, "hold numbers, got list at row 2, column 3"),
    "frame": (Named(spoilt(2, 3, "a", dtype=object)), TypeError, r"got the text 'a' at row 2, column 3 \('age'\)"),
    "complex": (X + 1j, TypeError, "expected x to hold numbers, got an array of complex64"),
    "dates": (np.full((12, 4), "2020-01-01", "M8[D]"), TypeError, "expected x to hold numbers"),
    "ragged": ([[1, 2, 3, 4], [1, 2]], ValueError, "expected x to be an array of numbers"),
    "flat": (X[0], ValueError, r"expected x of shape \(rows, 4\), got \(4,\); one row is x\[None, :\]"),
    "narrow": (X[:, :3], ValueError, r"expected x of shape \(rows, 4\), got \(12, 3\)"),
    "cube": (X[None], ValueError, r"expected x of shape \(rows, 4\), got \(1, 12, 4\)"),
    "NaN": (spoilt(3, 2, np.nan), ValueError, "x holds NaN or infinity at row 3, column 2; clean it first"),
    "infinity": (spoilt(0, 1, -np.inf), ValueError, "x holds NaN or infinity at row 0, column 1"),
    "too large": (spoilt(5, 0, 1e39), ValueError, r"x holds 1e\+39 at row 5, column 0, too large for float32; scale"),
}


@pytest.mark.parametrize("case", BAD_X)
def test_bad_features(case):
    x, error, message = BAD_X[case]
    calls = {
        "fit": lambda net: fa.fit(net, x, LABELS, progress=False),
        "evaluate": lambda net: fa.evaluate(net, x, LABELS),
        "predict": lambda net: fa.predict(net, x),
        "fit (validation)": lambda net: fa.fit(net, X, LABELS, validation=(x, LABELS), progress=False),
    }
    for function, call in calls.items():
        net = network()
        with pytest.raises(error, match=rf"^{re.escape(function)}: .*{message}"):
            call(net)
        support.assert_same_bits(net.parameters, network().parameters)


def test_what_is_missing_or_text_in_frames_is_named_with_its_column():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"]).convert_dtypes()
    frame.loc[5, "c"] = pandas.NA
    with pytest.raises(TypeError, match=r"^predict: expected x to hold numbers, got pd\.NA at row 5, column 2 \('c'\)"):
        fa.predict(network(), frame)
    labels = pandas.Series(LABELS).astype(object)
    labels[7] = pandas.NA
    with pytest.raises(TypeError, match=r"expected y to hold numbers, got pd\.NA at row 7; drop or encode"):
        fa.evaluate(network(), X, labels)
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"]).assign(b="no")
    with pytest.raises(TypeError, match=r"got the text 'no' at row 0, column 1 \('b'\)"):
        fa.predict(network(), frame)
    frame["b"] = pandas.NaT
    with pytest.raises(TypeError, match=r"got pd\.NaT at row 0, column 1 \('b'\)"):
        fa.predict(network(), frame)
    frame["b"] = np.where(np.arange(12) == 4, np.nan, 1)
    with pytest.raises(ValueError, match=r"x holds NaN or infinity at row 4, column 1 \('b'\)"):
        fa.predict(network(), frame)


BAD_Y = {
    "too many": (
        [*LABELS.tolist(), 0],
        "softmax_cross_entropy",
        ValueError,
        r"class numbers of shape \(12,\).*got \(13,\)",
    ),
    "too large": (LABELS + 1, "softmax_cross_entropy", ValueError, "expected labels from 0 to 2"),
    "negative": (LABELS - 1, "softmax_cross_entropy", ValueError, "expected labels from 0 to 2"),
    "fractions": (
        VALUES[:, 0],
        "softmax_cross_entropy",
        ValueError,
        r"expected whole class numbers, got 0\.189053 at row 0",
    ),
    "NaN label": (
        np.r_[np.nan, np.ones(11)],
        "softmax_cross_entropy",
        ValueError,
        "whole class numbers, got nan at row 0",
    ),
    "names": (
        ["a", "b"] * 6,
        "softmax_cross_entropy",
        TypeError,
        r"text 'a' at row 0; .* np\.unique\(y, return_inverse=True\)",
    ),
    "probabilities": (np.ones((12, 2)), "softmax_cross_entropy", ValueError, r"probabilities of shape \(12, 3\)"),
    "NaN probability": (spoilt(1, 1, np.nan, VALUES), "softmax_cross_entropy", ValueError, "row 1, column 1"),
    "one of three": (VALUES[:, 0], "huber", ValueError, r"expected y of shape \(12, 3\), got \(12,\)"),
    "transposed": (VALUES.T, "huber", ValueError, r"expected y of shape \(12, 3\), got \(3, 12\)"),
    "NaN": (spoilt(4, 2, np.nan, VALUES), "squared_error", ValueError, "y holds NaN or infinity at row 4, column 2"),
    "infinite": (spoilt(4, 2, np.inf, VALUES), "quantile", ValueError, "y holds NaN or infinity at row 4, column 2"),
    "above 1": (1 + np.abs(VALUES), "bce_with_logits", ValueError, "expected y between 0 and 1, got"),
    "sparse": (Sparse(), "absolute_error", TypeError, "y is a sparse matrix"),
    "own": (VALUES[:5], lambda outputs, y: (0.0, outputs), ValueError, "expected y to have 12 rows as x"),
}


@pytest.mark.parametrize("case", BAD_Y)
def test_bad_targets(case):
    y, loss, error, message = BAD_Y[case]
    net = network()
    with pytest.raises(error, match=rf"^fit: .*{message}"):
        fa.fit(net, X, y, loss=loss, progress=False)
    with pytest.raises(error, match=rf"^evaluate: .*{message}"):
        fa.evaluate(net, X, y, loss)
    support.assert_same_bits(net.parameters, network().parameters)


def unweighted(outputs, targets):
    return 0.0, outputs


BAD_OPTIONS = {
    "net": ({"net": 3}, TypeError, "expected net to be a Sequential, got int"),
    "unknown loss": ({"loss": "mse"}, ValueError, "expected loss to be one of softmax_cross_entropy, .*got 'mse'"),
    "no loss": ({"loss": 3}, TypeError, "expected loss to be a name or a function, got int"),
    "single losses": (
        {"loss": functools.partial(fa.softmax_cross_entropy, reduction="none")}, ValueError, "reduction mean or sum",
    ),
    "bound out": ({"loss": functools.partial(fa.softmax_cross_entropy, out=X)}, ValueError, "out cannot be bound"),
    "optimizer": ({"optimizer": fa.optim.Adam}, TypeError, "an Optimizer, such as .*got the class Adam"),
    "epochs": ({"epochs": 0}, ValueError, "expected epochs to be at least 1"),
    "batch_size": ({"batch_size": 2.5}, TypeError, "expected batch_size to be a whole number"),
    "rng": ({"rng": "x"}, TypeError, "expected rng to be a seed or a numpy Generator"),
    "metrics": ({"metrics": "f1"}, ValueError, "expected metrics to be one of accuracy, got 'f1'"),
    "metric": ({"metrics": [3]}, TypeError, "expected metrics to be names or functions, got int"),
    "number of metrics": ({"metrics": 3}, TypeError, "expected metrics to be names or functions, got int"),
    "same metrics": ({"metrics": ["accuracy", "accuracy"]}, ValueError, "two results would be named 'accuracy'"),
    "metric loss": ({"metrics": {"loss": len}}, ValueError, "two results would be named 'loss'"),
    "r2 of labels": ({"metrics": "r2"}, ValueError, "expected metrics to be one of accuracy, got 'r2'"),
    "callbacks": ({"callbacks": [print]}, TypeError, "expected callbacks to be Callback objects"),
    "patience": ({"patience": 0}, ValueError, "EarlyStopping: expected patience to be at least 1"),
    "monitor": ({"callbacks": [fa.EarlyStopping()]}, ValueError, "monitor to be one of loss, rate.*validation="),
    "checkpoint": ({"checkpoint": "a.pt"}, ValueError, "Checkpoint: expected a file name that ends in"),
    "validation": ({"validation": X}, TypeError, r"expected validation to be \(x, y\), .* got an array"),
    "validation share": ({"validation": 3}, ValueError, "fraction that leaves rows on both sides, got 3.0 of 12 rows"),
    "class weights": (
        {"loss": functools.partial(fa.softmax_cross_entropy, class_weight=[1, 2])}, ValueError,
        r"softmax_cross_entropy: expected class_weight to have shape \(3,\), got \(2,\)",
    ),
    "several classes": (
        {"y": np.eye(3)[LABELS] + np.eye(3)[0]}, ValueError,
        r"probabilities that sum to 1.* at row \d+ .*bce_with_logits",
    ),
    "values for classes": ({"y": VALUES}, ValueError, "probabilities that sum to 1 .* loss='squared_error'"),
    "no callbacks": ({"callbacks": None}, TypeError, "fit: expected callbacks to be Callback objects, got NoneType"),
    "no path": ({"checkpoint": 3}, TypeError, "Checkpoint: expected a path, got int"),
    "validation ignored": (
        {"validation": (X, np.full(12, -100))}, ValueError, r"fit \(validation\): expected rows that count",
    ),
    "validation rows": ({"validation": (X[:0], LABELS[:0])}, ValueError, "at least one row of validation data"),
    "no rows": ({"x": X[:0], "y": LABELS[:0]}, ValueError, "at least one row of data, got none"),
    "weights": ({"sample_weight": np.ones(5)}, ValueError, r"expected sample_weight to have shape \(12,\), got \(5,\)"),
    "negative weight": ({"sample_weight": -np.ones(12)}, ValueError, "finite numbers >= 0"),
    "zero weights": ({"sample_weight": np.zeros(12)}, ValueError, "above 0 in at least one row"),
    "no weights": ({"sample_weight": np.ones(12), "loss": unweighted}, TypeError, "unweighted takes no sample_weight"),
    "ignored": ({"y": np.full(12, -100)}, ValueError, "expected rows that count"),
    "lone gradient": ({"loss": lambda outputs, y: outputs}, TypeError, r"to return \(loss, grad\)"),
    "loss of rows": ({"loss": lambda outputs, y: (outputs, outputs)}, TypeError, r"to return \(loss, grad\)"),
    "metric of rows": ({"metrics": [lambda outputs, y: outputs]}, TypeError, "the metric <lambda> to return a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(case):
    options, error, message = BAD_OPTIONS[case]
    arguments = {"net": network(), "x": X, "y": LABELS, "progress": False, **options}
    with pytest.raises(error, match=message):
        fa.fit(**arguments)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (functools.partial(fa.huber, delta=-1.0), ValueError, "huber: expected delta"),
        (functools.partial(fa.quantile, q=1.5), ValueError, "quantile: expected q below 1"),
        (functools.partial(fa.squared_error, factr=2), TypeError, "factr"),
        (functools.partial(fa.bce_with_logits, pos_weight=[1, 2]), ValueError, "bce_with_logits: expected pos_weight"),
    ],
)
def test_options_of_a_loss_are_looked_at_before_anything_is_written(loss, error, message):
    net = fa.Sequential(fa.Dense(4, 3), fa.BatchNorm(), rng=0)
    before, begun = net.buffers.copy(), []

    class Begun(fa.Callback):
        def on_train_begin(self, run):
            begun.append(run)

    with pytest.raises(error, match=message):
        fa.fit(net, X, abs(VALUES) % 1, loss=loss, callbacks=[Begun()], progress=False)
    assert not begun
    support.assert_same_bits(net.buffers, before)


def test_batches_of_one_row_and_batch_norm():
    net = fa.Sequential(fa.Dense(4, 4), fa.Residual(fa.BatchNorm()), fa.Dense(4, 3), rng=0)
    before = net.buffers.copy()
    for size in (11, 1):
        with pytest.raises(
            ValueError, match=rf"least 2 rows for BatchNorm, got a batch of 1 .*\(12 rows by {size}\); choose another"
        ):
            fa.fit(net, X, LABELS, batch_size=size, progress=False)
    assert (net.buffers == before).all()
    fa.fit(net, X, LABELS, batch_size=5, epochs=1, progress=False)


def test_a_layer_declares_the_rows_it_needs():
    class Ranks(fa.BatchNorm):
        min_batch_rows = 5

    def net():
        return fa.Sequential(fa.Dense(4, 4), fa.Residual(fa.Residual(Ranks())), fa.Dense(4, 3), rng=0)

    fa.fit(net(), X, LABELS, batch_size=6, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"at least 5 rows for Ranks, got a batch of 2 \(12 rows by 10\)"):
        fa.fit(net(), X, LABELS, batch_size=10, epochs=1, progress=False)


def test_labels_that_a_loss_ignores():
    loss = functools.partial(fa.softmax_cross_entropy, ignore_index=7)
    y = np.where(np.arange(12) < 3, 7, LABELS)
    trained(X, y, loss)
    with pytest.raises(ValueError, match="expected labels from 0 to 2"):
        trained(X, np.where(np.arange(12) < 3, -100, LABELS), loss)
