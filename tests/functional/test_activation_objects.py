"""Activations as objects that are called, and slopes by name."""

import numpy as np
import pytest
from support import BACKENDS, kinks, parameter_sets, saved_by

import fastact as fa

X = np.linspace(-3.7, 4.1, 42).reshape(6, 7)


def made(entry, values):
    return fa.activation(entry.name, **{p.name: v for p, v in zip(entry.parameters, values, strict=True)})


def test_an_object_is_the_function_with_its_parameters(entry, dtype, backend):
    function, gradient = getattr(fa, entry.name), getattr(fa, f"{entry.name}_backward")
    for values in parameter_sets(entry):
        f, x = made(entry, values), X.astype(dtype)
        for given in (x, x[::2, ::-1], np.asfortranarray(x), x[0, 0], x[:0]):
            y = f(given)
            np.testing.assert_array_equal(y, function(given, *values), strict=True)
            assert np.asarray(y).flags.f_contiguous == np.asarray(function(given, *values)).flags.f_contiguous
            grad = np.cos(given)
            saved = saved_by(entry, given, y)
            expected = gradient(grad, saved, *values)
            np.testing.assert_array_equal(f.backward(grad, saved), expected, strict=True)
        out = np.empty_like(x)
        assert f(x, out=out) is out
        np.testing.assert_array_equal(out, function(x, *values))
        assert f.backward(x, out, out=out) is out


def test_slopes_are_derivatives(entry, backend):
    """Against centred differences of the function itself, away from the kinks."""
    for values in parameter_sets(entry):
        f, h = made(entry, values), 1e-6
        x = X[np.all([np.abs(X - kink) > 0.01 for kink in (0.0, *kinks(entry, values))], axis=0)]
        expected = (f(x + h) - f(x - h)) / (2 * h)
        np.testing.assert_allclose(fa.slope(f, x), expected, rtol=1e-6, atol=1e-8)
        assert len(x) > 30
        if values == entry.defaults:
            np.testing.assert_array_equal(fa.slope(entry.name, x), fa.slope(f, x), strict=True)


def test_slopes_of_learned_and_custom_activations(backend):
    np.testing.assert_array_equal(fa.slope("prelu", np.array([-2.0, 3.0])), [0.25, 1.0], strict=True)
    each = fa.activation("prelu", weight=np.array([0.5, -2.0]))
    np.testing.assert_array_equal(fa.slope(each, -np.ones((3, 2))), [[0.5, -2.0]] * 3)
    x = np.array([-1.3, 0.4])
    h = 1e-6
    np.testing.assert_allclose(fa.slope("swish", x), (fa.swish(x + h) - fa.swish(x - h)) / (2 * h), rtol=1e-8)
    cube = fa.custom_activation("cube", lambda x: x**3, lambda x: 3 * x**2)
    np.testing.assert_allclose(fa.slope(cube, x), 3 * x**2)
    np.testing.assert_allclose(cube(x), x**3)
    np.testing.assert_allclose(cube.backward(np.full(2, 2.0), x), 6 * x**2)
    out = np.array([-1.0, 1.0], np.float32)
    assert fa.slope("tanh", out, out=out) is out
    np.testing.assert_allclose(out, 1 - np.tanh(1.0) ** 2, rtol=1e-6)
    assert isinstance(fa.slope("tanh", np.float32(0.5)), np.float32)


@pytest.mark.parametrize("name", ["prelu", "swish"])
def test_learned_activations_are_called_with_their_weight(name, backend):
    function, gradient = getattr(fa, name), getattr(fa, f"{name}_backward")
    x, grad = X, np.cos(X)
    for weight in (0.3, np.linspace(-1, 2, 7)):
        f = fa.activation(name, **{"weight" if name == "prelu" else "beta": weight})
        np.testing.assert_array_equal(f(x), function(x, weight))
        for found, expected in zip(f.backward(grad, x), gradient(grad, x, weight), strict=True):
            np.testing.assert_array_equal(found, expected, strict=True)
        np.testing.assert_array_equal(f(x.T.copy().T), function(x, weight))


def test_maxout_is_called_with_its_pieces(backend):
    f, x = fa.activation("maxout", pieces=3), np.random.default_rng(2).normal(size=(4, 6))
    y, index = f(x)
    np.testing.assert_array_equal(y, x.reshape(4, 2, 3).max(axis=2))
    np.testing.assert_array_equal(index, x.reshape(4, 2, 3).argmax(axis=2))
    dx = f.backward(np.ones((4, 2)), index)
    np.testing.assert_array_equal(dx, (x.reshape(4, 2, 3) == y[:, :, None]).reshape(4, 6))


def test_mistakes():
    x = np.ones(3)
    for name in BACKENDS:
        with fa.use_backend(name):
            with pytest.raises(TypeError, match="relu: expected float32 or float64, got int64"):
                fa.activation("relu")(np.arange(3))
            with pytest.raises(TypeError, match="gelu_backward: expected grad and x to have one dtype"):
                fa.activation("gelu").backward(x, np.ones(3, np.float32))
            with pytest.raises(TypeError, match="slope: expected float32 or float64, got int64"):
                fa.slope("relu", np.arange(3))
            with pytest.raises(ValueError, match="slope: expected out to have shape"):
                fa.slope("relu", x, out=np.ones(4))
            with pytest.raises(TypeError, match=r"slope: expected an activation of one number, got maxout\(pieces=2\)"):
                fa.slope(fa.activation("maxout", pieces=2), x)
            with pytest.raises(ValueError, match="slope: unknown activation 'rellu'"):
                fa.slope("rellu", x)
            with pytest.raises(ValueError, match="out overlaps weight"):
                fa.activation("prelu", weight=x)(np.ones((1, 3)), out=x[None])
