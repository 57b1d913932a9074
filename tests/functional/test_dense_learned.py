"""Dense layers with a learned activation (prelu, swish) or maxout: values, gradients, bits, memory, mistakes."""

import copy
import pickle
import re

import numpy as np
import pytest
import support
from numpy.testing import assert_allclose, assert_array_equal

import fastact as fa

LEARNED = ("prelu", "swish")
# Single rows and columns, remainders of tiles, several blocks of 64 rows, chunks of K, several panels.
SHAPES = ((1, 5, 1), (1, 30, 37), (3, 7, 1), (9, 11, 7), (70, 600, 21), (200, 19, 70), (257, 40, 1))


def case(dtype, shape=(9, 11, 7), pieces=1, seed=0):
    """x, weight, bias, grad, and what a learned activation learns."""
    m, k, n = shape
    rng = np.random.default_rng((seed, m, k, n, pieces))
    arrays = (
        rng.standard_normal((m, k)),
        rng.standard_normal((k, n * pieces)) / k**0.5,
        rng.standard_normal(n * pieces),
        rng.standard_normal((m, n)),
        rng.uniform(0.1, 2, n),
    )
    return tuple(array.astype(dtype) for array in arrays)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def reference(name, x, weight, bias, grad, parameter):
    """y, dx, dw, db and the parameter's gradient of each element, in float64."""
    x, weight, bias, grad, parameter = (a.astype(np.float64) for a in (x, weight, bias, grad, parameter))
    z = x @ weight + bias
    if name == "prelu":
        y, slope, change = np.where(z > 0, z, parameter * z), np.where(z > 0, 1, parameter), np.minimum(z, 0)
    else:
        s = logistic(parameter * z)
        y, slope, change = z * s, s + z * parameter * s * (1 - s), z * z * s * (1 - s)
    dz = grad * slope
    return y, dz @ weight.T, x.T @ dz, dz.sum(axis=0), grad * change


def close(got, expected, dtype, terms):
    scale = np.abs(expected).max(initial=1.0)
    assert_allclose(got, expected, rtol=0, atol=20 * np.finfo(dtype).eps * scale * (2 + terms) ** 0.5)


@pytest.mark.parametrize("name", LEARNED)
def test_learned(engine, dtype, name):
    for shape in SHAPES:
        x, weight, bias, grad, each = case(dtype, shape)
        for parameter in (each, each[:1], np.asarray(each[0]), float(each[0])):
            bound = fa.activation(name, **{"weight" if name == "prelu" else "beta": parameter})
            y, dx, dw, db, change = reference(name, x, weight, bias, grad, np.asarray(parameter, dtype))
            got, saved = fa.dense_forward(x, weight, bias, bound)
            assert_array_equal(got, fa.dense(x, weight, bias, bound))
            assert got.dtype == dtype
            close(got, y, dtype, shape[1])
            gradients = fa.dense_backward(grad, saved, x, weight)
            close(gradients.dx, dx, dtype, shape[1])
            close(gradients.dw, dw, dtype, shape[0])
            close(gradients.db, db, dtype, shape[0])
            assert gradients.dparam.shape == np.shape(parameter)
            own = np.ndim(parameter) == 1 and len(parameter) == shape[2] > 1
            close(gradients.dparam, change.sum(axis=0 if own else None), dtype, change.size)


@pytest.mark.parametrize("name", LEARNED)
def test_bits_of_the_parts(instruction_set, dtype, name):
    """Fused or not: the same bits of y, dz and what follows from dz."""
    for shape in SHAPES:
        x, weight, bias, grad, each = case(dtype, shape)
        z = fa.dense(x, weight, bias)
        for parameter in (each, each[:1]):
            bound = fa.activation(name, **{"weight" if name == "prelu" else "beta": parameter})
            y, saved = fa.dense_forward(x, weight, bias, bound)
            support.assert_same_bits(y, getattr(fa, name)(z, parameter))
            support.assert_same_bits(
                fa.dense(x, weight, None, bound), getattr(fa, name)(fa.dense(x, weight), parameter)
            )
            dz = getattr(fa, f"{name}_backward")(grad, z, parameter)[0]
            got = fa.dense_backward(grad, saved, x, weight)
            expected = fa.dense_backward(dz, fa.dense_forward(x, weight)[1], x, weight)
            for a, b in zip(got[:3], expected[:3], strict=True):
                support.assert_same_bits(a, b)


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 17])
def test_maxout(engine, dtype, pieces):
    for m, k, n in SHAPES:
        x, weight, bias, grad, _ = case(dtype, (m, k, n), pieces)
        bound = fa.activation("maxout", pieces=pieces)
        y, saved = fa.dense_forward(x, weight, bias, bound)
        z = fa.dense(x, weight, bias).reshape(m, n, pieces)
        assert_array_equal(fa.dense(x, weight, bias, bound), y)
        if engine == "numpy":
            assert_allclose(y, z.max(axis=-1), rtol=50 * np.finfo(dtype).eps, atol=50 * np.finfo(dtype).eps)
        else:
            assert_array_equal(y, z.max(axis=-1))
        wide = (x.astype(np.float64) @ weight.astype(np.float64) + bias).reshape(m, n, pieces)
        close(y, wide.max(axis=-1), dtype, k)
        dz = np.where(np.arange(pieces) == z.argmax(axis=-1)[..., np.newaxis], grad[..., np.newaxis], 0)
        dz = dz.reshape(m, n * pieces).astype(np.float64)
        dx, dw, db, dparam = fa.dense_backward(grad, saved, x, weight)
        close(dx, dz @ weight.T, dtype, n * pieces)
        close(dw, x.T @ dz, dtype, m)
        close(db, dz.sum(axis=0), dtype, m)
        assert dparam is None


def test_maxout_ties_and_nan(engine, dtype):
    """The first of equals wins, the first NaN over everything; and only the winner learns."""
    x = np.array([[1.0], [np.nan], [np.inf]], dtype)
    weight = np.array([[2, 2, 1, 1, -3, 2]], dtype)
    y, saved = fa.dense_forward(x, weight, None, fa.activation("maxout", pieces=3))
    assert_array_equal(y, np.array([[2, 2], [np.nan, np.nan], [np.inf, np.inf]], dtype))
    db = fa.dense_backward(np.ones_like(y), saved, np.ones_like(x), weight).db
    assert_array_equal(db, [3, 0, 0, 2, 0, 1])  # (1, -3, 2), (NaN, NaN, NaN), (inf, -inf, inf)


@pytest.mark.parametrize("name", LEARNED)
def test_learned_nan_and_infinity(engine, dtype, name):
    x, weight, bias, _, parameter = case(dtype, (70, 5, 9))
    x[3, 1], x[40, 2] = np.nan, np.inf
    weight[2] = np.abs(weight[2]) + 1
    bound = fa.activation(name, **{"weight" if name == "prelu" else "beta": parameter})
    y, saved = fa.dense_forward(x, weight, bias, bound)
    assert np.isnan(y[3]).all()
    assert (y[40] == np.inf).all()
    assert np.isfinite(np.delete(y, (3, 40), axis=0)).all()
    assert np.isnan(fa.dense_backward(np.ones_like(y), saved, np.ones_like(x), weight).dparam).all()


def differences(call, array, step=1e-6):
    gradient = np.empty_like(array)
    for i in np.ndindex(array.shape):
        value = array[i]
        array[i] = value + step
        above = call()
        array[i] = value - step
        gradient[i] = (above - call()) / (2 * step)
        array[i] = value
    return gradient


@pytest.mark.parametrize("name", [*LEARNED, "maxout"])
def test_gradients_against_differences(engine, name):
    pieces = 3 if name == "maxout" else 1
    x, weight, bias, grad, parameter = case(np.float64, (4, 3, 5), pieces, seed=3)
    key = {"prelu": "weight", "swish": "beta"}.get(name)
    bound = fa.activation(name, **({key: parameter} if key else {"pieces": 3}))
    gradients = fa.dense_backward(grad, fa.dense_forward(x, weight, bias, bound)[1], x, weight)

    def loss():
        return (fa.dense(x, weight, bias, bound) * grad).sum()

    arrays = (x, weight, bias, parameter) if key else (x, weight, bias)
    for array, gradient in zip(arrays, gradients, strict=False):
        expected = differences(loss, array)
        assert_allclose(gradient, expected, atol=1e-6)


def bounds(dtype, n):
    parameter = np.linspace(0.1, 2, n).astype(dtype)
    return (
        (1, fa.activation("prelu", weight=parameter)),
        (1, fa.activation("swish", beta=parameter[:1])),
        (3, fa.activation("maxout", pieces=3)),
    )


@pytest.mark.parametrize("saver", support.BACKENDS)
@pytest.mark.parametrize("reader", support.BACKENDS)
def test_backends_understand_each_other(dtype, saver, reader):
    for pieces, bound in bounds(dtype, 7):
        x, weight, bias, grad, _ = case(dtype, (130, 11, 7), pieces)
        with fa.use_backend("numpy"):
            y, saved = fa.dense_forward(x, weight, bias, bound)
            expected = fa.dense_backward(grad, saved, x, weight)
        with fa.use_backend(saver):
            got, saved = fa.dense_forward(x, weight, bias, bound)
        close(got, y, dtype, 11)
        with fa.use_backend(reader):
            gradients = fa.dense_backward(grad, saved, x, weight)
        for a, b in zip(gradients, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                close(a, b, dtype, 130)


def test_batch_and_threads_do_not_change_bits(instruction_set, dtype, everything_shared):
    for n in (1, 33):
        for pieces, bound in bounds(dtype, n):
            x, weight, bias, grad, _ = case(dtype, (300, 70, n), pieces)
            whole, saved = fa.dense_forward(x, weight, bias, bound)
            gradients = fa.dense_backward(grad, saved, x, weight)
            for m in (1, 2, 5, 8, 33, 64, 193, 257):
                part = slice(41, 41 + m)
                y, kept = fa.dense_forward(x[part], weight, bias, bound)
                assert_array_equal(y, whole[part])
                assert_array_equal(fa.dense_backward(grad[part], kept, x[part], weight).dx, gradients.dx[part])
            for threads in (2, 3):
                with fa.num_threads(threads):
                    y, saved = fa.dense_forward(x, weight, bias, bound)
                    assert_array_equal(y, whole)
                    got = fa.dense_backward(grad, saved, x, weight)
                for a, b in zip(got, gradients, strict=True):
                    assert (a is None and b is None) or (a == b).all()


@pytest.mark.parametrize("shape", [(), (2, 3), (2, 0, 3)])
def test_leading_dimensions(engine, dtype, shape):
    for pieces, bound in bounds(dtype, 7):
        _, weight, bias, _, _ = case(dtype, (9, 11, 7), pieces)
        x = np.linspace(-1, 1, int(np.prod(shape)) * 11).reshape(*shape, 11).astype(dtype)
        y, saved = fa.dense_forward(x, weight, bias, bound)
        assert y.shape == (*shape, 7)
        flat, kept = fa.dense_forward(x.reshape(-1, 11), weight, bias, bound)
        assert_array_equal(y.reshape(-1, 7), flat)
        got = fa.dense_backward(y, saved, x, weight)
        expected = fa.dense_backward(flat, kept, x.reshape(-1, 11), weight)
        assert got.dx.shape == x.shape
        for a, b in zip(got[1:], expected[1:], strict=True):
            assert (a is None and b is None) or (a == b).all()


def test_outputs_and_accumulation(engine, dtype):
    for rows in (9, 200):
        for pieces, bound in bounds(dtype, 7):
            x, weight, bias, grad, _ = case(dtype, (rows, 11, 7), pieces)
            out = np.empty((rows, 14), dtype)[:, ::2]
            y, saved = fa.dense_forward(x, weight, bias, bound, out=out)
            assert y is out
            assert_array_equal(y, fa.dense(x, weight, bias, bound))
            expected = fa.dense_backward(grad, saved, x, weight)
            again = fa.dense_backward(grad.copy(), saved, x, weight, overwrite_grad=True)
            old = [None if a is None else np.full_like(a, 2) for a in expected]
            keywords = {"out_weight": old[1], "out_bias": old[2]}
            if expected.dparam is not None:
                keywords["out_parameter"] = old[3]
            got = fa.dense_backward(grad, saved, x, weight, need_input_grad=False, accumulate=True, **keywords)
            assert got.dx is None
            for a, b, c, d in list(zip(got, expected, old, again, strict=True))[1:]:
                assert a is c
                if a is not None:
                    assert_allclose(a, 2 + b, rtol=1e-5, atol=300 * np.finfo(dtype).eps)
                    assert_array_equal(d, b)
            saved_again = fa.dense_forward(x, weight, bias, bound)[1]
            got = fa.dense_backward(grad, saved_again, x, weight, out_parameter=keywords.get("out_parameter"))
            for a, b in zip(got, expected, strict=True):
                assert (a is None and b is None) or (a == b).all()


def test_weight_gradient_of_a_long_batch(engine, dtype, everything_shared):
    """Few weights and a large batch: parts of the batch, the same whoever sums them, and added to what is there."""
    for m, k, n in ((1025, 3, 5), (5000, 16, 10), (2050, 1, 1), (2300, 7, 1), (1200, 1, 40), (1537, 20, 33)):
        x, weight, _, grad, _ = case(dtype, (m, k, n))
        saved = fa.dense_forward(x, weight)[1]
        expected = x.T.astype(np.float64) @ grad.astype(np.float64)
        dw = fa.dense_backward(grad, saved, x, weight).dw
        close(dw, expected, dtype, m)
        total = np.full_like(dw, 3)
        fa.dense_backward(grad, saved, x, weight, accumulate=True, out_weight=total)
        close(total, 3 + expected, dtype, m)
        if engine != "numpy":
            for threads in (2, 3):
                with fa.num_threads(threads):
                    assert_array_equal(fa.dense_backward(grad, saved, x, weight).dw, dw)


def test_messages(backend):
    x, weight, bias, grad, parameter = case(np.float32)
    prelu = fa.activation("prelu", weight=parameter)
    _, saved = fa.dense_forward(x, weight, bias, prelu)
    plain = fa.dense_forward(x, weight, bias, "relu")[1]
    maxout = fa.activation("maxout", pieces=3)
    wrong = [
        (ValueError, "one number or shape (7,)", lambda: fa.dense(x, weight, None, fa.activation("prelu", weight=x))),
        (
            TypeError,
            "dense: expected beta to be float32",
            lambda: fa.dense(x, weight, None, fa.activation("swish", beta=parameter.astype(float))),
        ),
        (ValueError, "expected weight to have pieces=3 neighbouring", lambda: fa.dense(x, weight, bias, maxout)),
        (ValueError, "pieces from 1 to 256", lambda: fa.activation("maxout", pieces=257)),
        (ValueError, "pieces to be at least 1", lambda: fa.activation("maxout", pieces=0)),
        (TypeError, "fastact.activation('maxout', pieces=2)", lambda: fa.dense(x, weight, bias, "maxout")),
        (TypeError, "prelu has no parameter 'alpha'; it takes weight", lambda: fa.activation("prelu", alpha=1.0)),
        (ValueError, "expected weight to be a finite number", lambda: fa.activation("prelu", weight=np.inf)),
        (TypeError, "expected weight to be a NumPy array", lambda: fa.activation("prelu", weight="0.1")),
        (
            ValueError,
            "dense: out overlaps activation",
            lambda: fa.dense(x[:1], weight, None, prelu, out=parameter[None]),
        ),
        (
            ValueError,
            "out_parameter overlaps activation",
            lambda: fa.dense_backward(grad, saved, x, weight, out_parameter=parameter),
        ),
        (
            ValueError,
            "relu has no learned weight",
            lambda: fa.dense_backward(grad, plain, x, weight, out_parameter=parameter),
        ),
        (
            ValueError,
            "expected out_parameter to have shape (7,)",
            lambda: fa.dense_backward(grad, saved, x, weight, out_parameter=parameter[:3]),
        ),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=re.escape(message)):
            call()
    assert str(fa.activation("prelu")) == "prelu(weight=0.25)"
    assert str(prelu) == "prelu(weight=7 learned)"
    assert str(maxout) == "maxout(pieces=3)"
    assert_array_equal(fa.dense(x, weight, bias, "swish"), fa.dense(x, weight, bias, fa.activation("swish", beta=1.0)))


# ------------------------------------------------------------------------------------------------- as layers


def network(activation, dtype, bias=True):
    hidden = fa.Dense(5, 6, activation, bias=bias)
    return fa.Sequential(hidden, fa.Dense(6, 3), dtype=dtype, rng=3)


ACTIVATIONS = {
    "prelu": lambda: fa.activation("prelu", weight=np.linspace(0.1, 0.6, 6)),
    "prelu-one": lambda: "prelu",
    "swish": lambda: fa.activation("swish", beta=1.5),
    "maxout": lambda: fa.activation("maxout", pieces=3),
}


@pytest.mark.parametrize("make", ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_layer_gradients(engine, make, bias):
    """All parameters and the input, against differences of the loss."""
    net = network(make(), "float64", bias)
    x, *_, grad, _ = case(np.float64, (9, 5, 3))

    def loss():
        return (net(x) * grad).sum()

    net.forward(x, training=True)
    dx = net.backward(grad, need_input_grad=True)
    assert_allclose(net.gradients[: net.parameters.size], differences(loss, net.parameters), atol=1e-6)
    assert_allclose(dx, differences(loss, x), atol=1e-6)
    net.freeze()
    net.forward(x, training=True)
    assert_allclose(net.backward(grad, need_input_grad=True), dx, atol=1e-12)


@pytest.mark.parametrize("make", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_layer_is_kept(make, dtype, tmp_path):
    """Saved and loaded, copied, and trained: the same outputs, and the activation learns too."""
    net = network(make(), dtype)
    x, *_, grad, _ = case(dtype, (9, 5, 3))
    start = {name: array.copy() for name, array in net.named_parameters().items()}
    for _ in range(2):
        net.forward(x, training=True)
        net.backward(grad)
        fa.optim.SGD(lr=0.1).step(net)
    for name, array in net.named_parameters().items():
        assert (array != start[name]).any(), name
        assert not name.endswith("activation") or (array != start[name]).all(), name
    net.save(tmp_path / "net.safetensors")
    for twin in (fa.load(tmp_path / "net.safetensors"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_array_equal(twin(x), net(x))


def test_layer_messages():
    with pytest.raises(ValueError, match=re.escape("Dense: expected weight to be one number or shape (6,)")):
        fa.Dense(5, 6, fa.activation("prelu", weight=np.ones(5)))
    with pytest.raises(TypeError, match=re.escape("fastact.activation('maxout', pieces=2)")):
        fa.Dense(5, 6, "maxout")
