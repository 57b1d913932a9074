"""Backward is the derivative of forward: against fourth-order central differences in float64."""

import numpy as np
from support import backward, evaluated, forward, kinks, parameter_sets, saved_by


def differences(function, x, h):
    """f' with an error of h^4; the steps are exact in binary."""
    near = function(x + h) - function(x - h)
    far = function(x + 2 * h) - function(x - 2 * h)
    return (8 * near - far) / (12 * h)


def points(entry, values, h):
    x = np.concatenate([np.linspace(-8, 8, 1601), np.random.default_rng(3).normal(0, 2, 500)])
    x = np.round(x * 2**20) / 2**20  # so that x + h is exact
    for kink in (0.0, *kinks(entry, values)):  # at 0 the second derivative of some jumps
        x = x[np.abs(x - kink) > 3 * h]
    return x


def test_backward_is_the_derivative(entry, engine):
    h = 2.0**-10
    for values in parameter_sets(entry):
        x = points(entry, values, h)
        y = forward(entry, x, values)
        grad = np.random.default_rng(4).normal(0, 1, x.size)
        dx = backward(entry, grad, saved_by(entry, x, y), values)
        expected = grad * differences(lambda v, p=values: forward(entry, v, p), x, h)
        np.testing.assert_allclose(dx, expected, rtol=2e-9, atol=2e-10)


def test_backward_is_linear_in_grad(entry, dtype, engine):
    """Powers of two scale exactly."""
    x = np.linspace(-5, 5, 101, dtype=dtype)
    saved = saved_by(entry, x, forward(entry, x))
    one = backward(entry, np.ones_like(x), saved)
    for factor in (-1, 0.25, 1024):
        scaled = backward(entry, np.full_like(x, factor), saved)
        np.testing.assert_array_equal(scaled, one * dtype(factor))


def slope_at(kink, entry):
    """The registered slope there: of "0" or "0 at -3, 1 at 3"."""
    slopes = dict(reversed(part.split(" at ")) for part in entry.at_kink.split(", ") if " at " in part)
    return slopes[kink] if slopes else entry.at_kink


def test_slope_at_the_kink(entry, dtype, engine):
    for values in parameter_sets(entry):
        expected = [evaluated(slope_at(kink, entry), entry, values) for kink in entry.kinks]
        x = np.array(kinks(entry, values), dtype)
        slope = backward(entry, np.ones_like(x), saved_by(entry, x, forward(entry, x, values)), values)
        np.testing.assert_allclose(slope, np.array(expected, dtype), rtol=4 * np.finfo(dtype).eps)
