"""Losses against formulas in float64, finite differences and PyTorch; memory, threads, special values, errors."""

import functools
import math

import numpy as np
import pytest
from support import INSTRUCTION_SETS, using_instruction_set

import fastact as fa
from fastact import losses

POINTWISE = {
    "squared_error": {"factor": 0.5},
    "absolute_error": {},
    "huber": {"delta": 0.75},
    "quantile": {"q": 0.3},
    "bce_with_logits": {"pos_weight": 1.75},
    "poisson": {},
    "log_cosh": {},
    "hinge": {},
    "binary_cross_entropy": {},
}
SHAPES = [(1, 1), (3, 5), (70, 7), (2, 3, 11), (9001,)]
ROWS = [(1, 2), (7, 3), (70, 10), (33, 32), (5, 33), (130, 100), (3, 1), (65, 257)]
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def close(actual, expected, dtype, scale=1.0):
    tolerance = TOLERANCE[dtype] * scale
    np.testing.assert_allclose(actual, expected, rtol=4 * tolerance, atol=tolerance)


# ---------------------------------------------------------------------------------- independent float64 formulas


def softplus(x):
    return np.logaddexp(0, x)


def logistic(x):
    return np.exp(-softplus(-x))


def pointwise_oracle(name, x, t, factor=1.0, delta=1.0, q=0.5, pos_weight=1.0):
    x, t = x.astype(np.float64), t.astype(np.float64)
    d = x - t
    if name == "squared_error":
        return factor * d**2, 2 * factor * d
    if name == "absolute_error":
        return np.abs(d), np.sign(d)
    if name == "huber":
        return np.where(np.abs(d) < delta, d * d / 2, delta * np.abs(d) - delta**2 / 2), np.clip(d, -delta, delta)
    if name == "quantile":
        return np.maximum(q * -d, (q - 1) * -d), np.select([d > 0, d < 0], [1 - q, -q])
    if name == "poisson":
        return np.exp(x) - t * x, np.exp(x) - t
    if name == "log_cosh":
        return np.log(np.cosh(d)), np.tanh(d)
    if name == "hinge":
        return np.where(t * x < 1, 1 - t * x, 0), np.where(t * x < 1, -t, 0)
    if name == "binary_cross_entropy":
        return -t * np.log(x) - (1 - t) * np.log(1 - x), (x - t) / (x * (1 - x))
    loss = pos_weight * t * softplus(-x) + (1 - t) * softplus(x)
    return loss, (1 - t) * logistic(x) - pos_weight * t * logistic(-x)


def cross_entropy_oracle(z, probabilities, class_weight=None, smoothing=0.0):
    """Each row's loss and gradient."""
    z, p = z.astype(np.float64), probabilities.astype(np.float64)
    classes = z.shape[1]
    t = (p * (1 - smoothing) + smoothing / classes) * (1 if class_weight is None else class_weight)
    log_softmax = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    return -(t * log_softmax).sum(axis=1), np.exp(log_softmax) * t.sum(axis=1, keepdims=True) - t


def one_hot(labels, classes):
    return np.eye(classes)[labels]


def pair(rng, shape, dtype, name=""):
    x = rng.normal(0, 2, shape).astype(dtype)
    t = rng.random(shape).astype(dtype)
    if name == "hinge":
        t = np.where(t > 0.5, 1, -1).astype(dtype)
    elif name == "binary_cross_entropy":
        x = rng.uniform(0.05, 0.95, shape).astype(dtype)
    x.flat[0] = t.flat[0]  # an error of exactly 0
    return x, t


# ---------------------------------------------------------------------------------------- losses of single elements


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("shape", SHAPES)
def test_pointwise_against_formula(engine, dtype, rng, name, shape):
    x, t = pair(rng, shape, dtype, name)
    options = POINTWISE[name]
    loss, grad = pointwise_oracle(name, x, t, **options)
    function = getattr(fa, name)
    for reduction, value, scale in (("mean", loss.mean(), loss.size), ("sum", loss.sum(), 1), ("none", loss, 1)):
        result = function(x, t, reduction=reduction, **options)
        assert isinstance(result, losses.LossAndGradient)
        close(result.loss, value, dtype)
        close(result.grad, grad / scale, dtype)
        assert result.grad.dtype == dtype
        assert np.shape(result.loss) == np.shape(value)


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_defaults(name, engine, dtype, rng):
    x, t = pair(rng, (13, 3), dtype, name)
    loss, grad = pointwise_oracle(name, x, t)
    result = getattr(fa, name)(x, t)
    close(result.loss, loss.mean(), dtype)
    close(result.grad, grad / x.size, dtype)


@pytest.mark.parametrize("name", POINTWISE)
def test_sample_weights_make_a_weighted_mean(engine, dtype, rng, name):
    x, t = pair(rng, (37, 3), dtype, name)
    loss, grad = pointwise_oracle(name, x, t)
    w = rng.random(37)
    function = getattr(fa, name)
    result = function(x, t, sample_weight=w)
    close(result.loss, (loss * w[:, None]).sum() / (3 * w.sum()), dtype)
    close(result.grad, grad * w[:, None] / (3 * w.sum()), dtype)
    each = rng.random(x.shape)
    result = function(x, t, sample_weight=each)
    close(result.loss, np.average(loss, weights=each), dtype)
    close(function(x, t, sample_weight=each, reduction="sum").loss, (loss * each).sum(), dtype)
    close(function(x, t, sample_weight=np.full(37, 3)).loss, loss.mean(), dtype)  # weights of one size cancel
    for size in (1e-300, 1e-40, 1e39, 1e307):
        result = function(x, t, sample_weight=w * size)
        close(result.loss, (loss * w[:, None]).sum() / (3 * w.sum()), dtype)
        close(result.grad, grad * w[:, None] / (3 * w.sum()), dtype)
        close(function(x, t, sample_weight=each * size).loss, np.average(loss, weights=each), dtype)
    nothing = function(x, t, sample_weight=np.zeros(37))
    assert math.isnan(nothing.loss)
    assert not nothing.grad.any()


def test_squared_error_of_the_lectures(engine):
    outputs, targets = np.array([0.75136507, 0.772928465]), np.array([0.01, 0.99])
    loss, grad = fa.squared_error(outputs, targets, factor=0.5, reduction="sum")
    assert loss == pytest.approx(0.298371109, abs=1e-8)
    np.testing.assert_allclose(grad, [0.74136507, -0.217071535], atol=1e-9)


def test_bce_positive_weight_per_column(engine, dtype, rng):
    x, t = pair(rng, (9, 3), dtype)
    w = np.array([0.5, 1, 3])
    loss, grad = pointwise_oracle("bce_with_logits", x, t, pos_weight=w)
    result = fa.bce_with_logits(x, t, pos_weight=w)
    close(result.loss, loss.mean(), dtype)
    close(result.grad, grad / x.size, dtype)


def test_bce_limits(engine, dtype):
    inf = np.inf
    z = np.array([inf, inf, -inf, -inf, inf, -inf], dtype)
    t = np.array([1, 0, 1, 0, 0.25, 0.25], dtype)
    loss, grad = fa.bce_with_logits(z, t, reduction="none")
    np.testing.assert_array_equal(loss, [0, inf, inf, 0, inf, inf])
    np.testing.assert_array_equal(grad, [0, 1, -1, 0, 0.75, -0.25])


def test_bce_keeps_relative_accuracy_in_the_tails(engine, dtype):
    z = np.array([-80, -30, -12, 12, 30, 80], dtype)
    loss, grad = fa.bce_with_logits(z, (z > 0).astype(dtype), reduction="none")
    tail = np.exp(-np.abs(z.astype(np.float64)))
    np.testing.assert_allclose(loss, np.log1p(tail), rtol=16 * np.finfo(dtype).eps)
    np.testing.assert_allclose(np.abs(grad), tail / (1 + tail), rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_special_values(engine, dtype, name):
    function = getattr(fa, name)
    nan = np.nan
    for x, t in ((nan, 0.5), (0.5, nan), (nan, 0.0), (nan, 1.0), (nan, nan)):
        loss, grad = function(np.array([0.25, x], dtype), np.array([0.25, t], dtype), reduction="none")
        assert np.isnan(loss[1])
        assert np.isnan(grad[1])
        assert np.isfinite(loss[0])
    assert math.isnan(function(np.array([nan, 1], dtype), np.array([0, 1], dtype)).loss)
    if name not in ("bce_with_logits", "poisson", "hinge", "binary_cross_entropy"):
        loss, grad = function(np.array([np.inf, -np.inf], dtype), np.zeros(2, dtype), reduction="none")
        assert (loss == np.inf).all()
        assert grad[0] > 0 > grad[1]


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_empty_and_scalar(engine, dtype, name):
    function = getattr(fa, name)
    empty = np.empty((0, 3), dtype)
    assert math.isnan(function(empty, empty).loss)
    assert function(empty, empty, reduction="sum").loss == 0
    assert function(empty, empty).grad.shape == (0, 3)
    loss, grad = function(np.array(0.75, dtype), np.array(1.0, dtype))
    assert grad.shape == ()
    close(loss, pointwise_oracle(name, np.array(0.75), np.array(1.0))[0], dtype)


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_finite_differences(engine, rng, name):
    x, t = pair(rng, (6, 5), "float64", name)
    x.flat[0] += 0.4 if name != "binary_cross_entropy" else -x.flat[0] + 0.4
    function, options, h = getattr(fa, name), POINTWISE[name], 1e-6
    _, grad = function(x, t, **options)
    for i in range(x.size):
        up, down = x.copy(), x.copy()
        up.flat[i] += h
        down.flat[i] -= h
        slope = (function(up, t, **options).loss - function(down, t, **options).loss) / (2 * h)
        assert grad.flat[i] == pytest.approx(slope, rel=1e-5, abs=1e-9)


# ------------------------------------------------------------------------------------------- softmax cross-entropy


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["numbers", "probabilities"])
def test_cross_entropy_against_formula(engine, dtype, rng, shape, smoothing, weighted, kind):
    rows, classes = shape
    z = rng.normal(0, 3, shape).astype(dtype)
    labels = rng.integers(0, classes, rows)
    w = rng.random(classes) + 0.1 if weighted else None
    weight_of_row = np.ones(rows)
    if kind == "numbers":
        goal = one_hot(labels, classes)
        weight_of_row = weight_of_row if w is None else w[labels]
    else:
        goal = rng.random(shape).astype(dtype)
        goal[0, 0] = 0
        labels = goal
    loss, grad = cross_entropy_oracle(z, goal, w, smoothing)
    for reduction, value, scale in (
        ("mean", loss.sum() / weight_of_row.sum(), weight_of_row.sum()),
        ("sum", loss.sum(), 1),
        ("none", loss, 1),
    ):
        result = fa.softmax_cross_entropy(z, labels, reduction=reduction, label_smoothing=smoothing, class_weight=w)
        assert result.grad.dtype == dtype
        close(result.loss, value, dtype, scale=max(1, classes / 8))
        close(result.grad, grad / scale, dtype, scale=max(1, classes / 8))


@pytest.mark.parametrize("classes", [3, 40])
def test_ignored_rows_and_sample_weights(engine, dtype, rng, classes):
    rows = 41
    z = rng.normal(0, 3, (rows, classes)).astype(dtype)
    labels = rng.integers(0, classes, rows)
    s = rng.random(rows)
    used = np.arange(rows) % 3 > 0
    loss, grad = cross_entropy_oracle(z, one_hot(labels, classes))
    labels[~used] = 77
    z[0] = np.nan  # ignored: nobody looks at it
    expected = np.where(used, s, 0)
    result = fa.softmax_cross_entropy(z, labels, ignore_index=77, sample_weight=s)
    close(result.loss, (loss * expected).sum() / expected.sum(), dtype)
    close(result.grad, np.where(used, s, 0)[:, None] / expected.sum() * grad, dtype)
    assert not result.grad[~used].any()
    alone = fa.softmax_cross_entropy(z[used], labels[used])
    both = fa.softmax_cross_entropy(z, np.where(used, labels, -100))  # the default, on the short road
    close(both.loss, alone.loss, dtype)
    close(both.grad[used], alone.grad, dtype)
    nothing = fa.softmax_cross_entropy(z, np.full(rows, -100))
    assert math.isnan(nothing.loss)
    assert not nothing.grad.any()


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e-40, 1e38, 1e300])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [3, 40])
def test_weights_of_any_size(engine, dtype, rng, classes, smoothing, size):
    """A mean knows the ratios of its weights alone, even where the weights are beyond float32, or all of a batch are
    tiny beside those of other classes and of rows that do not count."""
    z, labels = rng.normal(0, 3, (9, classes)).astype(dtype), rng.integers(0, 2, 9)
    s, w, there = rng.random(9), rng.random(classes), np.arange(9) != 4
    labels[4] = -100
    cross = functools.partial(fa.softmax_cross_entropy, z, labels, label_smoothing=smoothing)

    def same(result, expected):
        close(result.loss, expected.loss, dtype, 4)
        close(result.grad, expected.grad, dtype, 4)

    expected = cross(sample_weight=s)
    same(cross(sample_weight=s * size), expected)
    same(cross(sample_weight=np.where(there, s * size, 1e300)), expected)
    expected = cross(sample_weight=s, class_weight=w)
    same(cross(sample_weight=s, class_weight=w * size), expected)
    same(cross(sample_weight=s * size, class_weight=w * size), expected)
    if not smoothing:
        absent = np.arange(classes) > 1
        same(cross(sample_weight=s, class_weight=np.where(absent, 1e300, w * size)), expected)


@pytest.mark.parametrize("classes", [2, 5, 31, 33, 100])
def test_cross_entropy_extreme_logits(engine, dtype, classes):
    large = 1e4 if dtype == "float32" else 1e300
    z = np.zeros((4, classes), dtype)
    z[0, 0], z[1, 0], z[2, 1], z[3, 0] = large, large, -np.inf, -large
    labels = np.array([0, 1, 0, 1])
    loss, grad = fa.softmax_cross_entropy(z, labels, reduction="none")
    np.testing.assert_allclose(loss, [0, large, np.log(classes - 1), np.log(classes - 1)], rtol=1e-6, atol=1e-6)
    assert np.isfinite(grad).all()
    np.testing.assert_array_equal(grad[1, :2], [1, -1])
    assert grad[2, 1] == 0


@pytest.mark.parametrize("classes", [2, 5, 32, 33, 50, 70])
def test_the_largest_logit_may_be_anywhere(engine, dtype, classes):
    z = np.where(np.eye(classes, dtype=bool), 5000, 0).astype(dtype)
    loss, grad = fa.softmax_cross_entropy(z, np.arange(classes), reduction="none")
    assert not loss.any()
    assert not grad.any()
    loss, grad = fa.softmax_cross_entropy(z, np.roll(np.arange(classes), 1), reduction="none")
    np.testing.assert_array_equal(loss, np.full(classes, 5000))


@pytest.mark.parametrize("classes", [4, 50])
def test_a_target_of_zero_does_not_ask_for_its_logit(engine, dtype, classes):
    """0 times the logarithm of a probability of 0 is 0: probabilities, and class weights of 0."""
    z = np.zeros((3, classes), dtype)
    z[:, 1] = -np.inf
    p = np.zeros((3, classes), dtype)
    p[:, 2] = 1
    loss, grad = fa.softmax_cross_entropy(z, p, reduction="none")
    np.testing.assert_allclose(loss, np.full(3, np.log(classes - 1)), rtol=1e-6)
    assert np.isfinite(grad).all()
    weight = np.ones(classes, dtype)
    weight[1] = 0
    loss, grad = fa.softmax_cross_entropy(z, np.array([1, 2, 1]), class_weight=weight, reduction="none")
    np.testing.assert_allclose(loss, [0, np.log(classes - 1), 0], rtol=1e-6)
    assert not grad[[0, 2]].any()


@pytest.mark.parametrize("classes", [3, 50])
def test_cross_entropy_nan(engine, dtype, classes):
    for position, value in ((0, np.nan), (classes - 1, np.nan), (1, np.inf)):
        z = np.zeros((20, classes), dtype)
        z[3, position] = value
        loss, grad = fa.softmax_cross_entropy(z, np.arange(20) % classes, reduction="none")
        assert np.isnan(loss[3])
        assert np.isnan(grad[3]).all()
        assert np.isfinite(np.delete(loss, 3)).all()
        assert np.isfinite(np.delete(grad, 3, axis=0)).all()
    p = np.full((2, classes), 1 / classes, dtype)
    p[1, 0] = np.nan
    loss, grad = fa.softmax_cross_entropy(np.zeros((2, classes), dtype), p, reduction="none")
    assert np.isnan(loss).tolist() == [False, True]
    assert np.isnan(grad[1]).all()


def test_cross_entropy_rows_do_not_see_each_other(engine, dtype, rng):
    for classes in (3, 10, 47):
        z = rng.normal(0, 3, (29, classes)).astype(dtype)
        labels = rng.integers(0, classes, 29)
        loss, grad = fa.softmax_cross_entropy(z, labels, reduction="none")
        for i in range(29):
            one, g = fa.softmax_cross_entropy(z[i : i + 1], labels[i : i + 1], reduction="none")
            assert one[0] == loss[i]
            np.testing.assert_array_equal(g[0], grad[i])


def test_cross_entropy_no_rows(engine, dtype):
    empty = np.empty((0, 3), dtype)
    assert math.isnan(fa.softmax_cross_entropy(empty, np.empty(0, int)).loss)
    assert fa.softmax_cross_entropy(empty, np.empty(0, int), reduction="sum").loss == 0


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"class_weight": [0.5, 1, 2, 1]}])
def test_cross_entropy_finite_differences(engine, rng, options):
    z, labels, h = rng.normal(0, 2, (5, 4)), np.array([0, 3, 2, 2, 1]), 1e-6
    _, grad = fa.softmax_cross_entropy(z, labels, **options)
    for i in range(z.size):
        up, down = z.copy(), z.copy()
        up.flat[i] += h
        down.flat[i] -= h
        slope = (
            fa.softmax_cross_entropy(up, labels, **options).loss
            - fa.softmax_cross_entropy(down, labels, **options).loss
        ) / (2 * h)
        assert grad.flat[i] == pytest.approx(slope, rel=1e-5, abs=1e-9)


# --------------------------------------------------------------------------------------------- memory and threads


def calls(rng, dtype, shape=(61, 9)):
    """(function, raw outputs, the other argument, options): every loss on both of its roads."""
    weights = rng.random(shape[0])
    for name, options in POINTWISE.items():
        x, t = pair(rng, shape, dtype, name)
        yield getattr(fa, name), x, t, options
        yield getattr(fa, name), x, t, {**options, "sample_weight": weights}
    x, t = pair(rng, shape, dtype)
    labels = rng.integers(0, shape[1], shape[0])
    yield fa.softmax_cross_entropy, x, labels, {}
    yield fa.softmax_cross_entropy, x, t, {}
    yield fa.softmax_cross_entropy, x, labels, {"label_smoothing": 0.1, "sample_weight": weights}


def test_out(engine, dtype, rng):
    for function, x, t, options in calls(rng, dtype):
        loss, grad = function(x, t, **options)
        out = np.full_like(x, 7)
        result = function(x, t, out=out, **options)
        assert result.grad is out
        assert result.loss == loss
        np.testing.assert_array_equal(out, grad)
        inplace = x.copy()
        assert function(inplace, t, out=inplace, **options).grad is inplace
        np.testing.assert_array_equal(inplace, grad)
        strided = np.zeros((x.shape[0], 2 * x.shape[1]), dtype)[:, ::2]
        assert function(x, t, out=strided, **options).grad is strided
        np.testing.assert_array_equal(strided, grad)


def test_layouts(engine, dtype, rng):
    for function, x, t, options in calls(rng, dtype):
        loss, grad = function(x, t, **options)
        swapped = x.astype(x.dtype.newbyteorder())
        raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
        raw[...] = x
        frozen = x.copy()
        frozen.flags.writeable = False
        for other in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], swapped, raw, frozen):
            result = function(other, t, **options)
            assert result.loss == pytest.approx(loss, rel=1e-12)
            np.testing.assert_array_equal(result.grad, grad)


def test_overlapping_out_is_refused_before_anything_is_written(engine, dtype, rng):
    for function, x, t, options in calls(rng, dtype):
        memory = np.zeros(x.size + 4, dtype)
        inside = memory[: x.size].reshape(x.shape)
        inside[...] = x
        before = memory.copy()
        with pytest.raises(ValueError, match="overlaps"):
            function(inside, t, out=memory[4:].reshape(x.shape), **options)
        np.testing.assert_array_equal(memory, before)
        if t.dtype == x.dtype:
            with pytest.raises(ValueError, match="overlaps"):
                function(x, t, out=t, **options)
        longer = np.zeros(x.nbytes + t.nbytes + 8, np.uint8)  # out begins 8 bytes into the targets
        inside = longer[: t.nbytes].view(t.dtype).reshape(t.shape)
        inside[...] = t
        with pytest.raises(ValueError, match="overlaps"):
            function(x, inside, out=longer[8 : 8 + x.nbytes].view(x.dtype).reshape(x.shape), **options)
        np.testing.assert_array_equal(inside, t)
        readonly = np.zeros_like(x)
        readonly.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            function(x, t, out=readonly, **options)
        with pytest.raises(ValueError, match="shape"):
            function(x, t, out=np.zeros((2, 2), dtype), **options)
        with pytest.raises(TypeError):
            function(x, t, out=np.zeros(x.shape, "float32" if dtype == "float64" else "float64"), **options)


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_threads_change_no_bit(dtype, rng, name):
    with using_instruction_set(name):
        for shape in ((30_000, 9), (900, 301)):
            for function, x, t, options in calls(rng, dtype, shape):
                with fa.num_threads(1):
                    loss, grad = function(x, t, **options)
                for threads in (2, 3, 5):
                    with fa.num_threads(threads):
                        result = function(x, t, **options)
                    assert result.loss == loss
                    np.testing.assert_array_equal(result.grad, grad)


def test_sums_are_exact_to_double(engine):
    x = np.full(1_000_003, 0.1, np.float32)
    loss, _ = fa.absolute_error(x, np.zeros_like(x), reduction="sum")
    assert loss == pytest.approx(float(np.float32(0.1)) * 1_000_003, rel=1e-12)
    for classes in (3, 40):
        z, labels = np.zeros((5000, classes), np.float32), np.zeros(5000, np.int64)
        z[:, 0] = np.linspace(-3, 3, 5000)
        each = fa.softmax_cross_entropy(z, labels, reduction="none").loss
        assert each.dtype == np.float32
        total = fa.softmax_cross_entropy(z, labels, reduction="sum").loss
        assert total == pytest.approx(each.sum(dtype=np.float64), rel=1e-12)


# ------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (TypeError, lambda x: fa.squared_error(x.astype(np.int64), x)),
        (TypeError, lambda x: fa.squared_error(x, x.astype(np.float32))),
        (TypeError, lambda x: fa.squared_error(x.astype(str).tolist(), x)),
        (TypeError, lambda x: fa.squared_error(x, x, factor="1")),
        (ValueError, lambda x: fa.squared_error(x, x[:, 0])),
        (ValueError, lambda x: fa.squared_error(x, x, factor=-1)),
        (ValueError, lambda x: fa.squared_error(x, x, factor=math.nan)),
        (ValueError, lambda x: fa.squared_error(x, x, reduction="avg")),
        (ValueError, lambda x: fa.squared_error(x, x, reduction=None)),
        (ValueError, lambda x: fa.squared_error(x, x, sample_weight=np.ones(3))),
        (ValueError, lambda x: fa.squared_error(x, x, sample_weight=-np.ones(4))),
        (ValueError, lambda x: fa.squared_error(x, x, sample_weight=np.full(4, np.nan))),
        (TypeError, lambda x: fa.squared_error(x, x, sample_weight=["a"] * 4)),
        (ValueError, lambda x: fa.huber(x, x, delta=0)),
        (ValueError, lambda x: fa.quantile(x, x, q=1.0)),
        (ValueError, lambda x: fa.quantile(x, x, q=0)),
        (ValueError, lambda x: fa.bce_with_logits(x, x, pos_weight=-1)),
        (ValueError, lambda x: fa.bce_with_logits(x, x, pos_weight=np.ones(5))),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, np.array([0, 1, 2, 3]))),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, np.array([0, 1, 2, -1]))),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, np.array([0, 1, 2]))),
        (TypeError, lambda x: fa.softmax_cross_entropy(x, np.array(["a"] * 4))),
        (TypeError, lambda x: fa.softmax_cross_entropy(x, x.astype(np.float32))),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, x[:3])),
        (ValueError, lambda x: fa.softmax_cross_entropy(x[0], [0])),
        (ValueError, lambda x: fa.softmax_cross_entropy(x[:, :0], [0, 0, 0, 0])),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, [0, 0, 0, 0], label_smoothing=1.5)),
        (TypeError, lambda x: fa.softmax_cross_entropy(x, [0, 0, 0, 0], ignore_index=0.5)),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, [0, 0, 0, 0], ignore_index=2**70)),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, [0, 0, 0, 0], class_weight=[1, 2])),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, [0, 0, 0, 0], sample_weight=np.ones((4, 1)))),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, [0, 0, 0, 0], reduction="all")),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, np.full((4, 3), 1 / 3), ignore_index=1)),
        (ValueError, lambda x: fa.softmax_cross_entropy(x, np.full((4, 3), 1 / 3), ignore_index=-1)),
    ],
)
def test_errors_write_nothing(engine, kind, call):
    x = np.linspace(-1, 1, 12).reshape(4, 3)
    before = x.copy()
    with pytest.raises(kind, match=r"^(squared_error|huber|quantile|bce_with_logits|softmax_cross_entropy): "):
        call(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: fa.squared_error(x, x, factor=1e39),
        lambda x: fa.huber(x, x, delta=1e39),
        lambda x: fa.bce_with_logits(x, x, pos_weight=1e39),
        lambda x: fa.bce_with_logits(x, x, pos_weight=[1, 1e39, 1]),
        lambda x: fa.squared_error(x, x, sample_weight=[1, 1, 1e39, 1], reduction="sum"),
        lambda x: fa.squared_error(x, x, sample_weight=np.full((4, 3), 1e39), reduction="none"),
        lambda x: fa.softmax_cross_entropy(x, [0, 1, 2, 0], sample_weight=[1, 1, 1e39, 1], reduction="sum"),
        lambda x: fa.softmax_cross_entropy(x, [0, 1, 2, 0], class_weight=[1e39, 1, 1], reduction="none"),
        lambda x: fa.softmax_cross_entropy(
            x, [0, 1, 2, 0], class_weight=[1e20, 1, 1], sample_weight=np.full(4, 1e20), reduction="sum"
        ),
        lambda x: fa.softmax_cross_entropy(x, np.full_like(x, 1 / 3), class_weight=[1e39, 1, 1]),
    ],
)
def test_numbers_too_large_for_float32_are_refused_there(engine, call):
    x = np.full((4, 3), 0.5, np.float32)
    with pytest.raises(ValueError, match=r"^\w+: (factor|delta|\w+_weight) holds 1e\+\d\d, too large for float32"):
        call(x)
    assert np.isfinite(call(x.astype(np.float64)).loss).all()


def test_labels_of_other_kinds(engine, rng):
    z = rng.normal(size=(4, 3))
    expected = fa.softmax_cross_entropy(z, np.array([0, 2, 1, 1]))
    strided = np.array([0, 9, 2, 9, 1, 9, 1, 9])[::2]
    for labels in ([0, 2, 1, 1], np.array([0, 2, 1, 1], np.uint8), np.array([0, 2, 1, 1], ">i4"), strided):
        result = fa.softmax_cross_entropy(z, labels)
        assert result.loss == expected.loss
        np.testing.assert_array_equal(result.grad, expected.grad)


# ------------------------------------------------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_against_pytorch(engine, rng, reduction):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    z, t = rng.normal(0, 2, (12, 5)), rng.random((12, 5))
    labels = rng.integers(0, 5, 12)
    labels[3] = -100
    w = rng.random(5)
    wt, tt, lt = torch.tensor(w), torch.tensor(t), torch.tensor(labels)
    cross = functional.cross_entropy
    options = {"reduction": reduction}
    smooth = {**options, "label_smoothing": 0.1}
    for ours, theirs in (
        (fa.softmax_cross_entropy(z, labels, **options), lambda x: cross(x, lt, **options)),
        (fa.softmax_cross_entropy(z, labels, class_weight=w, **smooth), lambda x: cross(x, lt, weight=wt, **smooth)),
        (fa.softmax_cross_entropy(z, t, class_weight=w, **smooth), lambda x: cross(x, tt, weight=wt, **smooth)),
        (
            fa.bce_with_logits(z, t, pos_weight=w, **options),
            lambda x: functional.binary_cross_entropy_with_logits(x, tt, pos_weight=wt, **options),
        ),
        (fa.squared_error(z, t, **options), lambda x: functional.mse_loss(x, tt, **options)),
        (fa.absolute_error(z, t, **options), lambda x: functional.l1_loss(x, tt, **options)),
        (fa.huber(z, t, delta=0.7, **options), lambda x: functional.huber_loss(x, tt, delta=0.7, **options)),
    ):
        x = torch.tensor(z, requires_grad=True)
        loss = theirs(x)
        loss.sum().backward()
        np.testing.assert_allclose(ours.loss, loss.detach().numpy(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(ours.grad, x.grad.numpy(), rtol=1e-11, atol=1e-13)


def test_class_numbers_of_other_types_are_told_what_to_do():
    """In particular, floats of one dimension are no rows of probabilities."""
    z = np.zeros((4, 3), np.float32)
    for labels in (np.array([0.0, 1.0, 2.0, 0.0]), np.ones(4, np.float32), np.ones(4, bool), [0.0, 1.0, 0.0, 1.0]):
        with pytest.raises(TypeError, match=r"whole class numbers .* convert .* with labels.astype\(np.int64"):
            fa.softmax_cross_entropy(z, labels)


LEVELS = [0.1, 0.5, 0.75, 0.9, 0.99]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 7, 130])
def test_several_quantiles_are_each_its_own_loss(dtype, rng, rows, weighted, reduction):
    """A column a quantile, of one column of targets or of one each."""
    pred = rng.normal(size=(rows, 5)).astype(dtype)
    target = rng.normal(size=rows).astype(dtype)
    weight = rng.uniform(0.5, 2, rows) if weighted else None
    each = np.stack([np.where(target > p, q * (target - p), (1 - q) * (p - target))
                     for q, p in zip(LEVELS, pred.astype(np.float64).T, strict=True)], axis=1)  # fmt: skip
    scale = np.ones(rows) if weight is None else weight
    weighed = each * scale[:, None]
    with np.errstate(invalid="ignore"):
        expected = {"none": weighed, "sum": weighed.sum(), "mean": weighed.sum() / (5 * scale.sum())}[reduction]
    if reduction == "none" and weighted:
        expected = weighed
    options = {"q": LEVELS, "reduction": reduction, "sample_weight": weight}
    loss, grad = fa.quantile(pred, target, **options)
    close(loss, expected, dtype, 4)
    above = pred > target[:, None]
    slopes = np.where(above, 1 - np.array(LEVELS), -np.array(LEVELS)) * scale[:, None]
    close(grad, slopes / (5 * scale.sum() or 1.0) if reduction == "mean" else slopes, dtype)
    for same in (target[:, None], np.repeat(target[:, None], 5, axis=1)):
        again, same_grad = fa.quantile(pred, same, **options)
        np.testing.assert_array_equal(again, loss)
        np.testing.assert_array_equal(same_grad, grad)
    with fa.use_backend("numpy"):
        twin, twin_grad = fa.quantile(pred, target, **options)
    close(twin, loss, dtype, 4)
    close(twin_grad, grad, dtype)


def test_several_quantiles_in_place_and_of_deeper_arrays(dtype, rng):
    pred = rng.normal(size=(3, 4, 2)).astype(dtype)
    target = rng.normal(size=(3, 4)).astype(dtype)
    expected = fa.quantile(pred, target, q=(0.2, 0.8))
    flat = fa.quantile(pred.reshape(12, 2), target.reshape(12), q=np.array([0.2, 0.8], np.float32))
    assert flat.loss == pytest.approx(expected.loss, rel=1e-6)
    inside = pred.copy()
    assert fa.quantile(inside, target, q=(0.2, 0.8), out=inside).grad is inside
    np.testing.assert_array_equal(inside, expected.grad)


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [
        (ValueError, "a column for each q", lambda x: fa.quantile(x, x, q=[0.1, 0.9])),
        (ValueError, "a column for each q", lambda x: fa.quantile(x[:, 0], x[:, 0], q=[0.5])),
        (ValueError, "q below 1", lambda x: fa.quantile(x, x, q=[0.1, 0.5, 1.0])),
        (ValueError, "expected q", lambda x: fa.quantile(x, x, q=[0.1, 0.0, 0.2])),
        (TypeError, "expected q", lambda x: fa.quantile(x, x, q=[[0.1], [0.2], [0.3]])),
        (TypeError, "expected q", lambda x: fa.quantile(x, x, q="0.5")),
        (TypeError, "expected q", lambda x: fa.quantile(x, x, q=[[0.1], [0.2, 0.3], 0.5])),
        (ValueError, "pred's shape", lambda x: fa.quantile(x, x[:, :2], q=[0.1, 0.5, 0.9])),
        (ValueError, "pred's shape", lambda x: fa.quantile(x, x[:1, 0], q=[0.1, 0.5, 0.9])),
        (ValueError, "out overlaps target", lambda x: fa.quantile(x.copy(), x[:, 0], q=[0.1, 0.5, 0.9], out=x)),
    ],
)  # fmt: skip
def test_wrong_quantiles(kind, message, call):
    x = np.ones((4, 3))
    with pytest.raises(kind, match=f"^quantile: .*{message}"):
        call(x)
    np.testing.assert_array_equal(x, 1)


@pytest.mark.parametrize("name", ["poisson", "log_cosh", "binary_cross_entropy"])
def test_relative_accuracy_over_the_whole_range(engine, dtype, name):
    """Of each loss by itself, near its zero and far from it, against 40 digits."""
    mpmath = pytest.importorskip("mpmath")
    info = np.finfo(dtype)
    sizes = np.concatenate([np.geomspace(float(info.tiny), 1, 40), np.linspace(1, 80, 40)]).astype(dtype)
    with mpmath.workdps(40):
        if name == "poisson":
            x, t = np.concatenate([-sizes, sizes]), np.zeros(160, dtype)
            right = [mpmath.exp(mpmath.mpf(float(v))) for v in x]
        elif name == "log_cosh":
            sizes = np.concatenate([np.geomspace(float(info.tiny) ** 0.49, 1, 40), np.linspace(1, 80, 40)]).astype(
                dtype
            )
            x, t = np.concatenate([-sizes, sizes]), np.zeros(160, dtype)
            right = [mpmath.log1p(2 * mpmath.sinh(mpmath.mpf(float(v)) / 2) ** 2) for v in x]
        else:
            near = 1 - np.geomspace(float(info.eps) / 2, 0.5, 40)
            x = np.concatenate([sizes[:40], near.astype(dtype), sizes[:40], near.astype(dtype)])
            t = np.repeat(np.array([0, 1], dtype), 80)
            right = [
                -mpmath.log(mpmath.mpf(float(v))) if yes else -mpmath.log1p(-mpmath.mpf(float(v)))
                for v, yes in zip(x, t, strict=True)
            ]
        loss = getattr(fa, name)(x, t, reduction="none").loss
        errors = [abs(float((mpmath.mpf(float(a)) - b) / b)) for a, b in zip(loss, right, strict=True) if b]
    assert max(errors) < 8 * float(info.eps)


def test_limits_of_the_newer_losses(engine, dtype):
    inf, nan = np.inf, np.nan
    for name, x, t, losses_, slopes in (
        ("binary_cross_entropy", [0, 1, 0, 1, 0, 1, 0.5, 2], [0, 1, 1, 0, 0.5, 0.5, 0, 0],
         [0, 0, inf, inf, inf, inf, np.log(2), nan], [1, -1, -inf, inf, -inf, inf, 2, 0]),
        ("poisson", [inf, -inf, -inf, inf, 0], [3, 0, 2, 0, 1], [inf, 0, inf, inf, 1], [inf, 0, -2, inf, 0]),
        ("hinge", [1, -1, inf, -inf, 0.5, 2], [1, -1, 1, 1, -1, 1], [0, 0, 0, inf, 1.5, 0], [0, 0, 0, -1, 1, 0]),
        ("log_cosh", [inf, 1e30, -inf], [0, 0, 0], [inf, 1e30, inf], [1, 1, -1]),
    ):  # fmt: skip
        loss, grad = getattr(fa, name)(np.array(x, dtype), np.array(t, dtype), reduction="none")
        np.testing.assert_allclose(loss, np.array(losses_), rtol=1e-6, err_msg=name)
        kept = ~np.isnan(loss)
        np.testing.assert_allclose(grad[kept], np.array(slopes)[kept], rtol=1e-6, err_msg=name)
