"""Python numbers and lists: they have no dtype, and become float64 or what stands beside them."""

import numpy as np
import pytest
from support import backward, forward, saved_by

import fastact as fa

LISTS = [[-1.5, 0.25, 3], [[1, 2], [3, -4]], (0.5, -2), [], [[]]]


def test_elementwise(entry, backend):
    for given in LISTS:
        array = np.array(given, np.float64)
        y = forward(entry, given)
        np.testing.assert_array_equal(y, forward(entry, array), strict=True)
        saved = saved_by(entry, array, y)
        expected = backward(entry, array, saved)
        for grad, kept in ((given, saved), (array, saved.tolist()), (given, saved.tolist())):
            np.testing.assert_array_equal(backward(entry, grad, kept), expected, strict=True)
    for number in (0.75, -2, 3):
        y = forward(entry, number)
        assert type(y) is np.float64
        assert y == forward(entry, np.array([number], np.float64))[0]
        assert type(backward(entry, number, y)) is np.float64


def test_what_stands_beside_decides_the_dtype(entry, backend):
    y = np.array([0.5, 0.25], np.float32)
    for dx in (backward(entry, [1.0, 2.0], y), backward(entry, y, [0.5, 0.25])):
        assert dx.dtype == np.float32
    out = np.empty(2, np.float32)
    assert forward(entry, [1, 2], out=out) is out
    np.testing.assert_array_equal(out, forward(entry, np.array([1, 2], np.float32)))


def test_the_others(backend):
    x, w, b = [[1.0, -2], [0.5, 3]], [[1, 0.5, 2], [-1, 4, 0]], [0.1, 0.2, 0.3]
    X, W, B = (np.array(each, np.float64) for each in (x, w, b))
    np.testing.assert_array_equal(fa.dense(x, w, b, "tanh"), fa.dense(X, W, B, "tanh"), strict=True)
    y, saved = fa.dense_forward(x, w, b, "gelu")
    _, expected = fa.dense_forward(X, W, B, "gelu")
    found = fa.dense_backward(y.tolist(), saved, x, w)
    for one, other in zip(found[:3], fa.dense_backward(y, expected, X, W)[:3], strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert fa.dense(X.astype(np.float32), w).dtype == np.float32
    for name in ("softmax", "log_softmax"):
        y = getattr(fa, name)(x)
        np.testing.assert_array_equal(y, getattr(fa, name)(X), strict=True)
        gradient = getattr(fa, f"{name}_backward")
        np.testing.assert_array_equal(gradient(x, y.tolist()), gradient(X, y), strict=True)
    np.testing.assert_array_equal(fa.maxout(x, 2).y, [[1.0], [3.0]], strict=True)
    np.testing.assert_array_equal(fa.prelu(x, [0.5, 0.25]), [[1, -0.5], [0.5, 3]], strict=True)
    assert type(fa.swish(0.5)) is type(fa.slope("tanh", 0.5)) is np.float64
    mask = np.zeros(1, np.uint8)
    np.testing.assert_array_equal(fa.relu_masked(x, mask=mask), [[1, 0], [0.5, 3]], strict=True)
    f32 = X.astype(np.float32)
    assert fa.prelu(f32, [0.5, 0.25]).dtype == np.float32


def test_losses(backend):
    for name in ("squared_error", "absolute_error", "huber", "quantile", "bce_with_logits"):
        loss = getattr(fa, name)
        a, b = [0.25, 2.0, -1], [1, 0.5, 0]
        value, grad = loss(a, b)
        expected = loss(np.array(a), np.array(b, np.float64))
        assert value == expected.loss
        np.testing.assert_array_equal(grad, expected.grad, strict=True)
        assert loss(np.array(a, np.float32), b).grad.dtype == np.float32
    z = [[0.5, 1.5, -1], [0, 2, 1]]
    for labels in ([0, 2], [[0.2, 0.8, 0], [0, 0, 1]]):
        found = fa.softmax_cross_entropy(z, labels)
        expected = fa.softmax_cross_entropy(np.array(z), np.array(labels))
        assert found.loss == expected.loss
        np.testing.assert_array_equal(found.grad, expected.grad, strict=True)


def test_networks_compute_with_lists(backend):
    net = fa.Sequential(fa.Dense(2, 3, "tanh"), fa.Dropout(0.0), fa.Dense(3, 1), rng=0)
    x = [[1, 2.5], [0.5, -1]]
    np.testing.assert_array_equal(net(x), net(np.array(x, np.float32)), strict=True)
    net.forward(x, training=True)
    net.backward([[1.0], [0.0]])
    assert net.gradients.any()
    assert net.layers[0].forward(x).dtype == np.float32


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        (True, TypeError, "expected x to be a NumPy array, got bool"),
        ([True, False], TypeError, "expected x to be a NumPy array, got list"),
        (["1.5"], TypeError, "got list; convert with np.asarray(x, dtype=np.float32)"),
        ([1j], TypeError, "got list"),
        ([None], TypeError, "got list"),
        ([10**400], TypeError, "got list"),
        ([[1.0, 2.0], [3.0]], ValueError, "expected x to be an array of numbers"),
        (np.int64(3), TypeError, "got a NumPy int64 scalar"),
        (np.arange(3), TypeError, "expected float32 or float64, got int64; convert with x.astype(np.float32)"),
    ],
)
def test_what_is_no_number_is_still_refused(given, kind, says, backend):
    for function in (fa.tanh, fa.softmax, fa.prelu):
        with pytest.raises(kind) as caught:
            function(given)
        assert str(caught.value).startswith(f"{function.__name__}: ")
        assert says in str(caught.value)


def test_the_hint_names_the_dtype_that_stands_beside(backend):
    wide, narrow, whole = np.ones((3, 3)), np.ones((3, 3), np.float32), np.ones((3, 3), int)
    for call in (
        lambda a: fa.tanh_backward(whole, a),
        lambda a: fa.tanh_backward(a, whole),
        lambda a: fa.relu(whole, out=a),
        lambda a: fa.dense(whole, a),
        lambda a: fa.dense(a, whole),
        lambda a: fa.dense(a, a, np.ones(3, int)),
        lambda a: fa.squared_error(a, whole),
        lambda a: fa.softmax_backward(whole, a),
        lambda a: fa.prelu_backward(a, whole),
    ):
        for array, name in ((wide, "float64"), (narrow, "float32")):
            with pytest.raises(TypeError, match=rf"got int64; convert with \w+\.astype\(np\.{name}\)"):
                call(array)
    for net in (fa.Sequential(fa.Dense(3, 2), dtype=dtype) for dtype in ("float32", "float64")):
        with pytest.raises(TypeError, match=rf"convert with x\.astype\(np\.{net.dtype}\)"):
            net(whole)
