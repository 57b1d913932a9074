"""NaN, infinities, zeros, subnormals and the largest numbers, at every place of every tail length."""

import numpy as np
import pytest
from support import (
    assert_same_bits,
    assert_ulp,
    backward,
    evaluated,
    forward,
    forward_bound,
    near,
    parameter_sets,
    reference_backward,
    reference_forward,
    reference_ulp,
    saved_by,
    special_values,
)

import fastact as fa
from fastact import registry

LENGTHS = (*range(1, 18), 33)


def placed(special, n, ordinary):
    """One row per special value and place in it."""
    rows = np.full((special.size, n, n), ordinary, special.dtype)
    places = np.arange(n)
    rows[:, places, places] = special[:, None]
    return rows.reshape(-1, n)


def by_rows(function, *arrays):
    """The function of each row, called for itself: a row is a whole array with its own tail."""
    result = np.empty_like(arrays[0])
    for i in range(len(result)):
        function(*[array[i] for array in arrays], out=result[i])
    return result


def test_forward_of_each_special_value(entry, dtype, instruction_set):
    x = np.concatenate([special_values(dtype), near([np.finfo(dtype).max, np.finfo(dtype).smallest_normal], dtype, 2)])
    for values in parameter_sets(entry):
        y = forward(entry, x, values)
        bound = forward_bound(entry, dtype, instruction_set, values) + reference_ulp(entry, values)
        assert_ulp(y, reference_forward(entry, x, values), dtype, bound, x)


def test_exact_at_landmarks(dtype, engine):
    """At zero the result is the nearest number, and 0 itself where the function goes through it."""
    zero = np.zeros(1, dtype)
    log_2 = dtype("0.69314718055994530941723212145817656807550013436026")
    landmarks = {"sigmoid": 0.5, "softplus": log_2, "log_sigmoid": -log_2, "hard_sigmoid": 0.5}
    through = ("gelu", "gelu_tanh", "silu", "mish", "tanh", "elu", "celu", "selu", "softsign", "tanh_shrink")
    for name, expected in (landmarks | dict.fromkeys(through, 0)).items():
        for x in (zero, -zero):
            assert getattr(fa, name)(x)[0] == expected, name


def test_forward_special_values_anywhere(entry, dtype, instruction_set):
    special = special_values(dtype)
    alone = by_rows(lambda x, out: forward(entry, x, out=out), special[:, None])
    ordinary = forward(entry, np.array([0.75], dtype))
    for n in LENGTHS:
        y = by_rows(lambda x, out: forward(entry, x, out=out), placed(special, n, 0.75))
        expected = np.full((special.size, n, n), ordinary[0], dtype)
        expected[:, np.arange(n), np.arange(n)] = alone
        assert_same_bits(y, expected.reshape(-1, n))


def pairs(entry, dtype, values=None):
    """Every special gradient with every special saved value; saved is what forward can produce."""
    info = np.finfo(dtype)
    x = np.concatenate([special_values(dtype), np.array([-0.5, 0.75, -30, 30], dtype)])
    saved = saved_by(entry, x, forward(entry, x, values))
    grad = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.0, info.smallest_normal * 4], dtype)
    grad, saved = np.meshgrid(grad, saved)
    return grad.ravel(), saved.ravel()


def test_backward_special_values(entry, dtype, engine):
    """NaN, infinity and zero come out exactly where the product has them."""
    for values in parameter_sets(entry):
        grad, saved = pairs(entry, dtype, values)
        if engine == "numpy":  # its slope as a number of its own may overflow where the product with grad does not
            kept = ~(np.isfinite(saved) & (np.abs(saved) > np.finfo(dtype).max / 4))
            grad, saved = grad[kept], saved[kept]
        dx = backward(entry, grad, saved, values)
        with np.errstate(all="ignore"):
            expected = reference_backward(entry, grad, saved, values).astype(dtype)
        # Where a smooth slope vanishes, it may round to 0 or not: an infinite gradient gives infinity or NaN there.
        slope = reference_backward(entry, np.ones_like(grad), saved, values)
        vague = (np.abs(slope) < 2 * np.finfo(dtype).smallest_normal) & ~((slope == 0) & entry.zero_blocks)
        sure = ~(vague & np.isinf(grad))
        context = np.stack([grad, saved, dx, expected])[:, sure]
        np.testing.assert_array_equal(np.isnan(dx[sure]), np.isnan(expected[sure]), str(context))
        np.testing.assert_array_equal(np.isinf(dx[sure]), np.isinf(expected[sure]), str(context))
        ordinary = sure & (np.abs(grad) >= 2.0**-20) & (np.abs(expected) >= np.finfo(dtype).smallest_normal)
        np.testing.assert_array_equal(np.sign(dx[ordinary]), np.sign(expected[ordinary]), str(context))
        assert not np.any(dx[(grad == 0) & np.isfinite(expected)])
        if not entry.zero_blocks:
            assert np.isnan(dx[np.isnan(grad)]).all()
        if entry.saves is not None:
            assert np.isnan(dx[np.isnan(saved)]).all()


def test_backward_special_values_anywhere(entry, dtype, instruction_set):
    grad, saved = pairs(entry, dtype)
    alone = by_rows(lambda g, s, out: backward(entry, g, s, out=out), grad[:, None], saved[:, None])
    ordinary_x = np.array([0.75], dtype)
    ordinary = saved_by(entry, ordinary_x, forward(entry, ordinary_x))
    usual = backward(entry, np.ones(1, dtype), ordinary)
    for n in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33):
        rows = placed(grad, n, 1.0), placed(saved, n, ordinary[0])
        dx = by_rows(lambda g, s, out: backward(entry, g, s, out=out), *rows)
        expected = np.full((grad.size, n, n), usual[0], dtype)
        expected[:, np.arange(n), np.arange(n)] = alone
        assert_same_bits(dx, expected.reshape(-1, n))


def test_zero_slope_selects_zero(entry, dtype, engine):
    """A piecewise-linear slope of 0 stops every gradient, NaN and infinity included."""
    if not entry.zero_blocks:
        pytest.skip("a smooth slope multiplies")
    for values in parameter_sets(entry):
        x = np.linspace(-50, 50, 1001, dtype=dtype)
        saved = saved_by(entry, x, forward(entry, x, values))
        zero = backward(entry, np.ones_like(x), saved, values) == 0
        flat = zero & np.roll(zero, 1) & np.roll(zero, -1)  # not a root of the slope
        for grad in (np.nan, np.inf, -np.inf, np.finfo(dtype).max):
            dx = backward(entry, np.full_like(x, grad), saved, values)
            assert not dx[flat].any()
            if not np.isfinite(grad):
                assert not np.isfinite(dx[~zero]).any()


def test_limits(entry, dtype, engine):
    for values in parameter_sets(entry):
        expected = [evaluated(limit, entry, values) for limit in entry.limits]
        y = forward(entry, np.array([-np.inf, np.inf], dtype), values)
        if 0 in values:  # a limit such as "-inf" is that of a positive slope
            truth = reference_forward(entry, np.array([-np.inf, np.inf], dtype), values)
            expected = [e if e == t else float(t) for e, t in zip(expected, truth, strict=True)]
        np.testing.assert_allclose(y, np.array(expected, dtype), rtol=2 * np.finfo(dtype).eps)


MONOTONE = (
    "relu", "sigmoid", "tanh", "elu", "celu", "selu", "softplus", "log_sigmoid", "softsign", "hard_sigmoid",
    "hard_tanh", "relu6",
)  # fmt: skip


@pytest.mark.parametrize("name", MONOTONE)
def test_no_value_goes_beyond_the_limits(name, dtype, instruction_set):
    """Not by a rounding either: what is saved is y, and a slope such as 1 - y^2 has no wrong sign."""
    entry = registry.ACTIVATIONS[name]
    low, high = (np.dtype(dtype).type(evaluated(limit, entry, entry.defaults)) for limit in entry.limits)
    size = np.random.default_rng(0).uniform(0, 45, 200_000).astype(dtype)
    x = np.concatenate([size, -size])
    y = forward(entry, x)
    np.testing.assert_array_equal(np.clip(y, low, high), y)
    assert backward(entry, np.ones_like(x), saved_by(entry, x, y)).min() >= 0


def test_nan_stays_nan(entry, dtype, engine):
    for values in parameter_sets(entry):
        for n in (1, 5, 64, 99):
            x = np.full(n, np.nan, dtype)
            y = forward(entry, x, values)
            assert np.isnan(y).all()
            if entry.saves is not None:
                assert np.isnan(backward(entry, np.ones_like(x), x, values)).all()


def test_subnormal_results_are_not_flushed(entry, dtype, instruction_set):
    """Where the true value is subnormal, so is the result."""
    info = np.finfo(dtype)
    x = np.concatenate(
        [near([info.smallest_normal / 3, info.smallest_subnormal * 9], dtype), np.linspace(-800, -10, 5000)]
    )
    x = x.astype(dtype)
    truth = reference_forward(entry, x)
    small = (np.abs(truth) < info.smallest_normal) & (np.abs(truth) > 4 * info.smallest_subnormal)
    assert np.all(forward(entry, x)[small] != 0)


ODD_AT_ZERO = ("tanh", "tanh_shrink", "softsign", "silu", "mish", "gelu", "gelu_tanh", "hard_swish")


@pytest.mark.parametrize("name", [*ODD_AT_ZERO, "identity", "relu", "leaky_relu", "elu", "celu", "selu"])
def test_minus_zero_stays(name, dtype, instruction_set):
    """As in C and PyTorch, in every lane."""
    zero = np.full(37, -0.0, dtype)
    zero[::3] = 0
    entry = registry.ACTIVATIONS[name]
    y = forward(entry, zero)
    assert not y.any()
    np.testing.assert_array_equal(np.signbit(y), np.signbit(zero))


def test_threshold_at_its_threshold(dtype, engine):
    """As in PyTorch: x stays only above it."""
    x = np.full(37, 0.5, dtype)
    np.testing.assert_array_equal(fa.threshold(x, 0.5, 7.0), np.full(37, 7, dtype))
    np.testing.assert_array_equal(fa.threshold_backward(x, x, 0.5, 7.0), np.zeros(37))


def test_a_slope_that_is_nothing_takes_no_large_gradient(entry, dtype, instruction_set):
    """So far to the left that the largest gradient times the slope underflows, the result is 0: an exponential that is
    cut off too early leaves a slope there.
    """
    info = np.finfo(dtype)
    x = -np.array([1500, 1e4, 1e15, info.max / 2, info.max], dtype)
    saved = saved_by(entry, x, forward(entry, x))
    truth = reference_backward(entry, np.full_like(x, info.max), saved)
    far = np.abs(truth) < truth.dtype.type(info.smallest_subnormal) / 4
    if not far.any():
        pytest.skip("its slope does not vanish there")
    for n in (1, 37):
        grad = np.full((5, n), info.max, dtype)
        dx = backward(entry, grad, np.repeat(saved[:, None], n, axis=1))
        assert not dx[far].any()


def test_parameters_at_the_ends_of_the_range(dtype, instruction_set):
    """Where x / alpha, 1 / alpha or beta y leave the normal numbers and the result does not."""
    info = np.finfo(dtype)
    tiny, small = info.smallest_subnormal, info.smallest_normal
    x = np.array([-info.max, -1, -small, -tiny, -0.0, 0, tiny, 1], dtype)
    for alpha in map(float, (tiny * 4, small / 2, small)):
        with np.errstate(all="ignore"):
            expected = np.where(x > 0, x, alpha * np.expm1(x.astype(np.longdouble) / alpha))
        np.testing.assert_allclose(fa.celu(x, alpha=alpha), expected.astype(dtype), rtol=8 * info.eps, atol=tiny)
    np.testing.assert_array_equal(fa.celu(x[2:], alpha=1000.0), x[2:])
    beta, y = 2.0**-9, np.array([small, small * 1.7, tiny * 8], dtype)
    grad = np.full_like(y, 2.0**20)
    expected = grad.astype(np.longdouble) * y * beta
    np.testing.assert_allclose(fa.softplus_backward(grad, y, beta=beta), expected.astype(dtype), rtol=8 * info.eps)
    for beta in map(float, (dtype(0.22) * small, dtype(0.7) * small, small)):  # 1 / beta may be infinite
        expected = np.full(50, np.log(np.longdouble(2)) / beta).astype(dtype)
        np.testing.assert_allclose(fa.softplus(np.zeros(50, dtype), beta=beta), expected, rtol=8 * info.eps)
