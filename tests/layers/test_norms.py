"""LayerNorm, BatchNorm and dropout kernels against float64 written out, on every engine; threads; statistics."""

import copy
import math
import pickle

import numpy as np
import pytest
from support import DTYPES, EXTENDED, FMA_SETS, INSTRUCTION_SETS, assert_same_bits, using_instruction_set

import fastact as fa
from fastact import backends
from fastact.layers.dropout import mixed

SHAPES = [(2, 1), (1, 3), (3, 2), (5, 15), (7, 16), (64, 33), (65, 8), (130, 70), (66, 140)]


def dropout(x, y, key, rate, scale, shift=0.0, dropped=0.0):
    backends.current().dropout(x, y, key, round(rate * 2**32), scale, shift, dropped)


EPS = 1e-5


def numbers(shape, dtype, seed=0, offset=0.0):
    return (offset + 2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def close(got, expected, dtype, factor=64.0):
    scale = np.abs(expected).max() if np.size(expected) else 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=factor * np.finfo(dtype).eps * max(scale, 1))


def jacobian_gradient(row, grad, weight):
    """dx of one normalised vector through the full Jacobian: d z_i / d x_j, no formula shared with the kernels."""
    n, mean = len(row), row.mean()
    deviation = math.sqrt(((row - mean) ** 2).mean() + EPS)
    d_apart = np.eye(n) - 1 / n
    d_deviation = (row - mean) / (n * deviation)
    jacobian = d_apart / deviation - np.outer(row - mean, d_deviation) / deviation**2
    return (grad * weight) @ jacobian


def layer_norm(x, weight, bias, grad, in_place=False):
    rows, columns = x.shape
    y, dx = np.empty_like(x), grad.copy() if in_place else np.empty_like(x)
    moments = [np.empty(rows, x.dtype) for _ in range(3)]
    dw, db = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    backends.current().layer_norm(x, weight, bias, y, *moments, EPS)
    backends.current().layer_norm_backward(dx if in_place else grad, x, *moments, weight, dx, dw, db)
    return y, dx, dw, db


def batch_norm(x, weight, bias, grad, in_place=False, factor=0.1):
    columns = x.shape[1]
    y, dx = np.empty_like(x), grad.copy() if in_place else np.empty_like(x)
    *moments, dw, db = (np.empty(columns, x.dtype) for _ in range(5))
    running_mean, running_var = np.full(columns, 0.5, x.dtype), np.full(columns, 2.0, x.dtype)
    backends.current().batch_norm(x, weight, bias, y, *moments, running_mean, running_var, EPS, factor)
    backends.current().batch_norm_backward(dx if in_place else grad, x, *moments, weight, dx, dw, db, False)
    return y, dx, dw, db, running_mean, running_var


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_layer_norm(shape, offset, dtype, engine):
    x, g = numbers(shape, dtype, 0, offset), numbers(shape, dtype, 1)
    weight, bias = numbers(shape[1], dtype, 2), numbers(shape[1], dtype, 3)
    y, dx, dw, db = layer_norm(x, weight, bias, g)
    wide, grad = x.astype(np.float64), g.astype(np.float64)
    z = (wide - wide.mean(axis=1, keepdims=True)) / np.sqrt(wide.var(axis=1, keepdims=True) + EPS)
    factor = 64 if dtype is np.float32 else 64 + 4 * offset  # what the reference's mean loses
    close(y, z * weight + bias, dtype, factor)
    close(dw, (grad * z).sum(axis=0), dtype, factor)
    close(db, grad.sum(axis=0), dtype)
    if shape[1] > 2:  # of two numbers the gradient is what eps leaves
        expected = np.array(
            [jacobian_gradient(*rows, weight.astype(np.float64)) for rows in zip(wide, grad, strict=True)]
        )
        close(dx, expected, dtype, factor)
    assert_same_bits(layer_norm(x, weight, bias, g, in_place=True)[1], dx)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] > 2], ids=str)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_batch_norm(shape, offset, dtype, engine):
    x, g = numbers(shape, dtype, 0, offset), numbers(shape, dtype, 1)
    weight, bias = numbers(shape[1], dtype, 2), numbers(shape[1], dtype, 3)
    y, dx, dw, db, running_mean, running_var = batch_norm(x, weight, bias, g)
    wide, grad = x.astype(np.float64), g.astype(np.float64)
    z = (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + EPS)
    factor = 64 if dtype is np.float32 else 64 + 4 * offset
    close(y, z * weight + bias, dtype, factor)
    close(dw, (grad * z).sum(axis=0), dtype, factor)
    close(db, grad.sum(axis=0), dtype)
    columns = zip(wide.T, grad.T, weight.astype(np.float64), strict=True)
    close(dx, np.array([jacobian_gradient(*column) for column in columns]).T, dtype, factor)
    close(running_mean, 0.9 * 0.5 + 0.1 * wide.astype(np.longdouble).mean(axis=0), dtype, 16)
    close(running_var, 0.9 * 2 + 0.1 * wide.var(axis=0, ddof=1), dtype, 4)
    assert_same_bits(batch_norm(x, weight, bias, g, in_place=True)[1], dx)
    folded = np.empty_like(x)
    backends.current().batch_norm_inference(x, weight, bias, folded, running_mean, running_var, EPS)
    mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
    close(folded, (wide - mean) / np.sqrt(var + EPS) * weight + bias, dtype, factor)


@pytest.mark.parametrize("shape", [(1, 3), *SHAPES, (900, 130)], ids=str)
def test_batch_norm_with_given_statistics(shape, dtype, engine):
    x, g = numbers(shape, dtype), numbers(shape, dtype, 1)
    weight, mean, rstd = numbers(shape[1], dtype, 2), numbers(shape[1], dtype, 3), np.abs(numbers(shape[1], dtype, 4))
    z = (x.astype(np.float64) - mean) * rstd
    for scale in (weight, None):
        dx, dw, db = np.empty_like(x), np.empty_like(mean), np.empty_like(mean)
        backends.current().batch_norm_backward(g, x, mean, None, rstd, scale, dx, dw, db, True)
        close(dx, g * (rstd.astype(np.float64) * (1 if scale is None else scale)), dtype)
        close(dw, (g * z).sum(axis=0), dtype)
        close(db, g.sum(axis=0, dtype=np.float64), dtype)
        alone = g.copy()
        backends.current().batch_norm_backward(alone, x, mean, None, rstd, scale, alone, None, None, True)
        assert_same_bits(alone, dx)


def differences(net, x, grad, array):
    """Centred differences of sum(grad * outputs while training) by each element of an array."""
    result = np.empty_like(array)
    for i in np.ndindex(array.shape):
        value, sides = array[i], []
        for step in (1e-6, -1e-6):
            array[i] = value + step
            sides.append((grad * net.forward(x, training=True)).sum())
        array[i] = value
        result[i] = (sides[0] - sides[1]) / 2e-6
    return result


def normed(place="between", dtype="float64", **options):
    """A network with a batch normalisation, which has seen some batches, and its number."""
    norm = fa.BatchNorm(**options)
    middle = fa.Residual(fa.Dense(5, 5, "tanh"), norm) if place == "within" else norm
    net = fa.Sequential(fa.Dense(3, 5, "tanh"), middle, fa.Dense(5, 2), dtype=dtype, rng=0)
    for seed in range(3):
        net.forward(numbers((20, 3), dtype, seed, 1.0), training=True)
    for name, array in norm.parameters.items():
        array[...] = numbers(5, dtype, len(name))
    return net, norm


@pytest.mark.parametrize("place", ["between", "within"])
@pytest.mark.parametrize("options", [{}, {"weight": False, "bias": False}, {"momentum": None, "bias": False}], ids=str)
@pytest.mark.parametrize("what", ["layer", "statistics", "everything"])
def test_a_frozen_batch_norm_trains_with_its_statistics(backend, place, options, what):
    net, norm = normed(place, **options)
    net.freeze(*{"layer": [norm], "statistics": ["1.*running_*"], "everything": []}[what])
    x, grad, before = numbers((4, 3), np.float64, 7), numbers((4, 2), np.float64, 8), net.buffers.copy()
    y = net.forward(x, training=True)
    assert_same_bits(y, net(x))
    assert_same_bits(net.forward(x[:1], training=True), net(x[:1]))  # no variance is asked of the batch
    net.forward(x, training=True)
    dx = net.backward(grad, need_input_grad=True)
    gradients = {name: array.copy() for name, array in net.named_gradients().items() if name not in net.frozen}
    np.testing.assert_allclose(dx, differences(net, x, grad, x), rtol=1e-6, atol=1e-8)
    left_out = {"layer": len(norm.parameters), "statistics": 0, "everything": len(net.segments)}[what]
    assert len(gradients) == len(net.segments) - left_out
    for name, gradient in gradients.items():
        expected = differences(net, x, grad, net.named_parameters()[name])
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
        assert gradient.any()
    assert_same_bits(net.buffers, before)
    net.unfreeze()
    net.forward(x, training=True)
    assert (net.buffers != before).any()
    with pytest.raises(ValueError, match="at least 2 rows"):
        net.forward(x[:1], training=True)


def test_what_else_is_frozen_leaves_the_statistics_moving():
    for which in ("*.weight", "*.bias", 0, ["1.weight", "1.bias"]):
        net, _ = normed()
        net.freeze(which)
        before = net.buffers.copy()
        x = numbers((6, 3), np.float64, 5)
        assert np.abs(net.forward(x, training=True) - net(x)).max() > 1e-3
        assert (net.buffers != before).any()


def test_fit_with_a_frozen_batch_norm(tmp_path):
    """Copies and files know that it is frozen; a last batch of one row will do; a check of gradients sees it."""
    net, norm = normed(dtype="float32")
    net.freeze(1)
    net.save(tmp_path / "net.safetensors")
    nets = [net, copy.deepcopy(net), pickle.loads(pickle.dumps(net)), fa.load(tmp_path / "net.safetensors")]
    before = net.buffers.copy()
    x, y = numbers((33, 3), np.float32, 5), np.arange(33) % 2
    for one in nets:
        assert set(one.frozen) == {f"1.{name}" for name in (*norm.parameters, *norm.buffers)}
        history = fa.fit(one, x, y, epochs=20, batch_size=32, progress=False, rng=0)
        assert history.loss[-1] < history.loss[0]
        assert_same_bits(one.buffers, before)
        assert_same_bits(one.parameters, net.parameters)
        assert fa.check_gradients(one, "softmax_cross_entropy", x[:5], y[:5]).ok
    nets[-1].unfreeze("1.running_*")
    assert fa.fit(nets[-1], x[:32], y[:32], epochs=1, progress=False)
    assert (nets[-1].buffers != before).any()


# mean and spread: an offset that leaves few digits, and numbers whose squares overflow
FAR = [(1e4, 1.0), (50.0, 5e-3), (-3e4, 2.0), (0.0, 1e20), (3e20, 1e20), (0.0, 1e30), (-2e30, 1e30)]
FAR_DOUBLE = [(1e4, 1.0), (3e160, 1e160), (-2e300, 1e300)]


def exact_norm(x, weight, bias, grad):
    """Of columns in 80 bits: y, grad, the normalised x, its Jacobian, mean and variance."""
    wide, grad, weight, bias = (a.astype(np.longdouble) for a in (x, grad, weight, bias))
    mean = wide.mean(axis=0)
    mean += (wide - mean).mean(axis=0)
    variance = ((wide - mean) ** 2).mean(axis=0)
    deviation = np.sqrt(variance + EPS)
    z = (wide - mean) / deviation
    n = len(x)
    jacobian = np.eye(n)[:, :, None] - np.longdouble(1) / n - z[:, None, :] * z[None, :, :] / n  # d z_i / d x_j
    return z * weight + bias, grad, z, jacobian / deviation, mean, variance


def far_numbers(shape, dtype, mean, spread, axis):
    """Of a mean and a spread that differ a little from column to column (from row to row)."""
    x = np.random.default_rng(5).standard_normal(shape)
    each = 1 + np.arange(shape[axis]) / shape[axis] / 8
    each = each if axis else each[:, np.newaxis]
    return ((mean + spread * x) * each).astype(dtype)


@pytest.mark.parametrize("shape", [(7, 16), (64, 33), (130, 70), (33, 257)], ids=str)
@pytest.mark.parametrize(("mean", "spread"), FAR)
def test_numbers_far_from_zero_and_from_one(shape, mean, spread, engine):
    """Errors relative to the spread, which is 1 after normalisation, forward and backward, of float32."""
    check_far_numbers(shape, np.float32, mean, spread)


@pytest.mark.skipif(not EXTENDED, reason="needs a reference of more digits")
@pytest.mark.parametrize(("mean", "spread"), FAR_DOUBLE)
def test_float64_numbers_far_from_zero_and_from_one(mean, spread, engine):
    check_far_numbers((130, 70), np.float64, mean, spread)


def check_far_numbers(shape, dtype, mean, spread):
    eps = float(np.finfo(dtype).eps)
    grad = numbers(shape, dtype, 1)
    one, none = np.ones(shape[1], dtype), np.zeros(shape[1], dtype)
    for function, axis in ((layer_norm, 0), (batch_norm, 1)):
        x = far_numbers(shape, dtype, mean, spread, axis)
        columns, g = (x, grad) if axis else (np.ascontiguousarray(x.T), np.ascontiguousarray(grad.T))
        vectors = (one, none) if axis else (np.ones(shape[0], dtype), np.zeros(shape[0], dtype))
        y, wide, z, jacobian, exact_mean, variance = exact_norm(columns, *vectors, g)
        dx = np.einsum("ik,ijk->jk", wide, jacobian)
        got_y, got_dx, dweight, dbias, *running = function(x, None, None, grad, **({"factor": 1.0} if axis else {}))
        if not axis:
            got_y, got_dx, z, wide = got_y.T, got_dx.T, z.T, wide.T
        assert np.abs(got_y - y).max() <= (4 if dtype is np.float32 else 12) * eps  # sums of float64 are in float64
        assert (np.abs(got_dx - dx) / np.abs(dx).max(axis=0)).max() <= 12 * eps
        close(dweight, (wide * z).sum(axis=0), dtype)
        close(dbias, wide.sum(axis=0), dtype)
        if running:
            assert (np.abs(running[0] - exact_mean) <= np.spacing(np.abs(running[0]))).all()
            unbiased = variance * len(x) / (len(x) - 1)
            np.testing.assert_allclose(running[1], np.minimum(unbiased, np.finfo(dtype).max), rtol=16 * eps)


def test_running_variance_comes_back_from_beyond_the_largest_number(dtype, engine):
    layer = fa.BatchNorm(inputs=3)
    net = fa.Sequential(layer, dtype=np.dtype(dtype).name)
    x = numbers((50, 3), dtype)
    far = x * dtype(np.sqrt(np.finfo(dtype).max)) * dtype(64)
    for _ in range(3):
        assert np.isfinite(net.forward(far, training=True)).all()
        assert np.isfinite(net(far)).all()
    np.testing.assert_array_equal(layer.buffers["running_var"], np.finfo(dtype).max)
    assert np.isfinite(layer.buffers["running_mean"]).all()
    net.forward(x, training=True)
    assert (layer.buffers["running_var"] < np.finfo(dtype).max).all()


def test_variance_does_not_cancel(engine):
    """E[x^2] - mean^2 would leave nothing of a deviation of 0.5 about 30 000 in float32."""
    x = np.tile(np.array([30000.0, 30000.5, 29999.5, 30001.0, 29999.0, 30000.25], np.float32), (12, 5))
    wide = x.astype(np.float64)
    y = layer_norm(x, None, None, x)[0]
    close(y, (wide - wide.mean(axis=1, keepdims=True)) / np.sqrt(wide.var(axis=1, keepdims=True) + EPS), np.float32, 4)
    x = np.ascontiguousarray(x.T)
    wide = x.astype(np.float64)
    y, *_, running_var = batch_norm(x, None, None, x, factor=1.0)
    close(y, (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + EPS), np.float32, 4)
    close(running_var, wide.var(axis=0, ddof=1), np.float32, 16)


def test_means_are_corrected(engine):
    """Sums of numbers near 3 300 000 lose more than their deviation; what the second pass finds makes that good."""
    rng = np.random.default_rng(0)
    x = (3_300_000 + rng.integers(-4, 5, (2, 100_000)) * 0.25).astype(np.float32)
    wide = x.astype(np.float64)
    y, rstd = np.empty_like(x), np.empty(2, np.float32)
    backends.current().layer_norm(x, None, None, y, np.empty(2, np.float32), np.empty(2, np.float32), rstd, EPS)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(wide.var(axis=1) + EPS), rtol=1e-2)
    assert np.abs(y.mean(axis=1, dtype=np.float64)).max() < 0.3  # half a unit in the last place of the mean
    columns = np.ascontiguousarray(x[:, :1300].reshape(100, 26))
    wide = columns.astype(np.float64)
    *_, running_mean, running_var = batch_norm(columns, None, None, columns, factor=1.0)
    np.testing.assert_allclose(running_mean, wide.mean(axis=0), rtol=0, atol=0.13)
    np.testing.assert_allclose(running_var, wide.var(axis=0, ddof=1), rtol=1e-3)


@pytest.mark.parametrize("shape", [(5, 15), (66, 140)], ids=str)
def test_no_weight_is_a_weight_of_one_and_no_bias_one_of_zero(shape, dtype, engine):
    x, grad = numbers(shape, dtype), numbers(shape, dtype, 1)
    one, zero = np.ones(shape[1], dtype), np.zeros(shape[1], dtype)
    for function in (layer_norm, batch_norm):
        for got, expected in zip(function(x, None, None, grad), function(x, one, zero, grad), strict=True):
            close(got, expected, dtype, 4)


def test_constant_rows_and_not_a_number(dtype, engine):
    x = np.full((4, 5), 7, dtype)
    bias = np.arange(5, dtype=dtype)
    for function in (layer_norm, batch_norm):
        y, dx, *_ = function(x, None, bias, np.ones_like(x))
        np.testing.assert_array_equal(y, np.broadcast_to(bias, y.shape))
        assert np.isfinite(dx).all()
    x[1, 2] = np.nan
    nan = np.isnan(layer_norm(x, None, None, np.ones_like(x))[0])
    assert nan[1].all()
    assert not np.delete(nan, 1, axis=0).any()
    nan = np.isnan(batch_norm(x, None, None, np.ones_like(x))[0])
    assert nan[:, 2].all()
    assert not np.delete(nan, 2, axis=1).any()


@pytest.mark.skipif(not INSTRUCTION_SETS, reason="no compiled core")
def test_bits_do_not_depend_on_threads_or_neighbours(dtype):
    x, g = numbers((1111, 130), dtype), numbers((1111, 130), dtype, 1)
    weight, bias = numbers(130, dtype, 2), numbers(130, dtype, 3)
    results = []
    for n in (1, 2, 3):
        with fa.num_threads(n):
            y = np.empty_like(x)
            dropout(x, y, (3, 4), 0.3, 2.0, 0.5, -1.0)
            results.append([*layer_norm(x, weight, bias, g), *batch_norm(x, weight, bias, g), y])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_same_bits(b, a)
    alone = np.empty((1, 130), dtype)
    backends.current().layer_norm(x[77:78], weight, bias, alone, None, None, None, EPS)
    assert_same_bits(alone[0], results[0][0][77])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_is_the_same_everywhere(rate):
    """One mask for a seed, counter and place: on every instruction set, in NumPy, in both dtypes, for any batch."""
    key = mixed(12345, 6)
    x = numbers((37, 531), np.float64)
    with fa.use_backend("numpy"):
        expected = np.empty_like(x)
        dropout(x, expected, key, rate, 1 / (1 - rate), 0.25, -3.0)
    kept = expected != -3.0
    np.testing.assert_array_equal(expected[kept], (x * (1 / (1 - rate)) + 0.25)[kept])
    assert abs(kept.mean() - (1 - rate)) < 0.02
    for name in INSTRUCTION_SETS:
        with using_instruction_set(name):
            for dtype in DTYPES:
                narrow = x.astype(dtype)
                y = np.empty_like(narrow)
                dropout(narrow, y, key, rate, 1 / (1 - rate), 0.25, -3.0)
                np.testing.assert_array_equal(y == -3, expected == -3)
                if dtype is np.float64:
                    assert_same_bits(y, expected)
                part = np.empty((5, 531), dtype)
                dropout(np.ascontiguousarray(narrow[:5]), part, key, rate, 1 / (1 - rate), 0.25, -3.0)
                assert_same_bits(part, y[:5])
                dropout(narrow, narrow, key, rate, 1 / (1 - rate), 0.25, -3.0)
                assert_same_bits(narrow, y)


def test_dropout_masks_depend_on_both_words_of_the_key(engine):
    masks = []
    for key in ((7, 1), (7, 2), (8, 1), (7, 1 + (1 << 31))):
        y = np.empty((256, 256), np.float32)
        dropout(np.ones_like(y), y, key, 0.5, 1.0)
        masks.append(y == 0)
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert abs((one == other).mean() - 0.5) < 5 * 0.5 / 256


def test_dropout_statistics(engine):
    """Shares, rows, columns, neighbours, and masks one after another look like independent draws."""
    x = np.ones((512, 512), np.float32)
    masks = []
    for counter in range(3):
        y = np.empty_like(x)
        dropout(x, y, mixed(99, counter), 0.3, 1.0)
        masks.append(y == 0)
    sigma = math.sqrt(0.21)
    for mask in masks:
        assert abs(mask.mean() - 0.3) < 5 * sigma / 512
        for axis in (0, 1):
            assert abs(mask.mean(axis=axis).std() / (sigma / math.sqrt(512)) - 1) < 0.2
        for step in (1, 2, 512):
            flat = mask.ravel()
            assert abs(np.corrcoef(flat[step:], flat[:-step])[0, 1]) < 5 / 512
    assert abs(np.corrcoef(masks[0].ravel(), masks[1].ravel())[0, 1]) < 5 / 512
    assert abs(np.corrcoef(masks[1].ravel(), masks[2].ravel())[0, 1]) < 5 / 512


def test_alpha_dropout_keeps_mean_and_variance(backend):
    x = np.random.default_rng(0).standard_normal((2000, 200))
    for rate in (0.05, 0.2, 0.5):
        net = fa.Sequential(fa.AlphaDropout(rate, inputs=200), dtype="float64", rng=1)
        y = net.forward(x, training=True)
        assert abs(y.mean()) < 0.01
        assert abs(y.var() - 1) < 0.02
        kept = 1 - rate
        a = 1 / math.sqrt(kept + 1.7580993408473766**2 * kept * rate)  # as in the paper
        dropped = a * -1.7580993408473766 + a * rate * 1.7580993408473766
        assert np.isclose(y, dropped, rtol=1e-12).mean() == pytest.approx(rate, abs=0.01)


@pytest.mark.skipif(len(FMA_SETS) < 2, reason="needs two instruction sets with FMA")
def test_same_bits_wherever_there_is_fma(dtype):
    x, g = numbers((150, 77), dtype, 0, 3.0), numbers((150, 77), dtype, 1)
    weight, bias = numbers(77, dtype, 2), numbers(77, dtype, 3)
    results = []
    for name in FMA_SETS:
        with using_instruction_set(name):
            results.append([*layer_norm(x, weight, bias, g), *batch_norm(x, weight, bias, g)])
    for a, b in zip(results[0], results[-1], strict=True):
        assert_same_bits(b, a)
