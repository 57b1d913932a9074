"""Every activation, direction, instruction set and awkward length, against the NumPy formula in more digits."""

import numpy as np
import pytest
from support import (
    LENGTHS,
    assert_gradient,
    assert_ulp,
    backward,
    backward_bound,
    forward,
    forward_bound,
    gradients,
    inputs,
    parameter_sets,
    reference_backward,
    reference_forward,
    reference_ulp,
    saved_by,
)


def slack(entry, dtype, values):
    return reference_ulp(entry, values) if dtype is np.float64 else 0.0


def test_forward(entry, dtype, instruction_set):
    for seed, values in enumerate(parameter_sets(entry)):
        pool = inputs(dtype, max(LENGTHS), seed)
        truth = reference_forward(entry, pool, values)
        bound = forward_bound(entry, dtype, instruction_set, values) + slack(entry, dtype, values)
        for n in LENGTHS:
            start = (pool.size - n) // 2
            x = pool[start : start + n].copy()
            y = forward(entry, x, values)
            assert y.dtype == dtype
            assert y.shape == (n,)
            assert_ulp(y, truth[start : start + n], dtype, bound, x)


def test_backward(entry, dtype, instruction_set):
    for seed, values in enumerate(parameter_sets(entry)):
        x = inputs(dtype, max(LENGTHS), seed)
        pool = saved_by(entry, x, forward(entry, x, values))
        grad_pool = gradients(dtype, pool.size, seed)
        truth = reference_backward(entry, grad_pool, pool, values)
        bound = backward_bound(entry, dtype, instruction_set) + slack(entry, dtype, values)
        for n in LENGTHS:
            start = (pool.size - n) // 2
            place = slice(start, start + n)
            grad, saved = grad_pool[place].copy(), pool[place].copy()
            dx = backward(entry, grad, saved, values)
            assert dx.dtype == dtype
            assert dx.shape == (n,)
            assert_gradient(entry, dx, truth[place], grad=grad, saved=saved, bound=bound)


def test_nothing_is_written_beyond_the_end(entry, dtype, instruction_set):
    for n in LENGTHS[:-1]:
        buffer = np.full(n + 32, 12345, dtype)
        x = inputs(dtype, n)
        y = forward(entry, x, out=buffer[16 : 16 + n])
        backward(entry, gradients(dtype, n), saved_by(entry, x, y.copy()), out=buffer[16 : 16 + n])
        assert np.all(buffer[:16] == 12345)
        assert np.all(buffer[16 + n :] == 12345)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5, 7), (2, 3, 4, 5)])
def test_shapes(entry, dtype, backend, shape):
    x = np.linspace(-2, 2, int(np.prod(shape)), dtype=dtype).reshape(shape)
    y = forward(entry, x)
    dx = backward(entry, np.ones_like(x), saved_by(entry, x, y))
    assert isinstance(y, np.ndarray)
    assert isinstance(dx, np.ndarray)
    assert y.shape == dx.shape == shape
    assert y.dtype == dx.dtype == dtype
