"""dense, dense_forward and dense_backward: activations, gradients, arguments, memory."""

import dataclasses
import itertools
import math
import re
import sys
import threading

import numpy as np
import pytest
import support
from numpy.testing import assert_allclose, assert_array_equal

import fastact as fa
from fastact import functional, registry


def case(dtype, shape=(9,), inputs=11, outputs=7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*shape, inputs)).astype(dtype)
    weight = (rng.standard_normal((inputs, outputs)) / inputs**0.5).astype(dtype)
    return x, weight, rng.standard_normal(outputs).astype(dtype), rng.standard_normal((*shape, outputs)).astype(dtype)


def tolerance(dtype):
    return 50 * float(np.finfo(dtype).eps)


# ------------------------------------------------------------------------------------------------- activations


def test_epilogue_is_the_activation(instruction_set, entry, dtype):
    """Value and gradient of every activation have the bits of the elementwise functions, at every column."""
    for values in support.parameter_sets(entry):
        bound = fa.activation(entry.name, **dict(zip([p.name for p in entry.parameters], values, strict=True)))
        for shape, outputs in (((1,), 21), ((3,), 1), ((50,), 1), ((50,), 37), ((210,), 5)):
            x, weight, bias, grad = case(dtype, shape, 11, outputs)
            z = fa.dense(3 * x, weight, bias)
            y, saved = fa.dense_forward(3 * x, weight, bias, bound)
            support.assert_same_bits(y, support.forward(entry, z, values))
            support.assert_same_bits(fa.dense(3 * x, weight, bias, bound), y)
            identity = fa.dense_forward(x, weight)[1]
            got = fa.dense_backward(grad, saved, x, weight)
            dz = support.backward(entry, grad, support.saved_by(entry, z, y), values)
            if entry.saves == "x":  # the slope was rounded before grad came
                slope = support.backward(entry, np.ones_like(grad), z, values)
                dz = np.where(slope == 0, 0, grad * slope) if entry.zero_blocks else grad * slope
            for a, b in zip(got[:3], fa.dense_backward(dz, identity, x, weight)[:3], strict=True):
                support.assert_same_bits(a, b)


@pytest.mark.parametrize("saver", support.BACKENDS)
@pytest.mark.parametrize("reader", support.BACKENDS)
def test_backends_understand_each_other(entry, dtype, saver, reader):
    x, weight, bias, grad = case(dtype)
    with fa.use_backend("numpy"):
        y, saved = fa.dense_forward(x, weight, bias, entry.name)
        expected = fa.dense_backward(grad, saved, x, weight)
    with fa.use_backend(saver):
        got, saved = fa.dense_forward(x, weight, bias, entry.name)
    assert_allclose(got, y, rtol=tolerance(dtype), atol=tolerance(dtype))
    with fa.use_backend(reader):
        gradients = fa.dense_backward(grad, saved, x, weight)
    for a, b in zip(gradients[:3], expected[:3], strict=True):
        assert_allclose(a, b, rtol=tolerance(dtype), atol=20 * tolerance(dtype))


def test_gradients_against_differences(engine, entry):
    x, weight, bias, grad = case(np.float64, (4,), 3, 5, seed=3)
    z = x @ weight + bias
    if any(np.abs(z - kink).min() < 1e-4 for kink in support.kinks(entry)):
        pytest.skip("a kink is too near")
    _, saved = fa.dense_forward(x, weight, bias, entry.name)
    gradients = fa.dense_backward(grad, saved, x, weight)
    step = 1e-6
    for array, gradient in zip((x, weight, bias), gradients[:3], strict=True):
        for i in np.ndindex(array.shape):
            value = array[i]
            array[i] = value + step
            above = (fa.dense(x, weight, bias, entry.name) * grad).sum()
            array[i] = value - step
            below = (fa.dense(x, weight, bias, entry.name) * grad).sum()
            array[i] = value
            assert abs((above - below) / (2 * step) - gradient[i]) < 1e-6


def test_a_custom_activation(engine, dtype):
    for saves in ("x", "y"):
        slope = (lambda x: 3 * x**2) if saves == "x" else (lambda y: 3 * np.cbrt(y) ** 2)
        cube = fa.custom_activation("cube", lambda x: x**3, slope, saves)
        x, weight, bias, grad = case(dtype)
        z = fa.dense(x, weight, bias)
        y, saved = fa.dense_forward(x, weight, bias, cube)
        assert_array_equal(y, fa.dense(x, weight, bias, cube))
        assert_allclose(y, z**3, rtol=tolerance(dtype))
        db = fa.dense_backward(grad, saved, x, weight).db
        assert_allclose(db, (grad * 3 * z**2).sum(axis=0), rtol=10 * tolerance(dtype), atol=tolerance(dtype))


# ------------------------------------------------------------------------------------------------- shapes, memory


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 0, 3), (2, 1, 3, 2)])
def test_leading_dimensions(engine, dtype, shape):
    x, weight, bias, grad = case(dtype, shape)
    flat = x.reshape(-1, 11)
    y, saved = fa.dense_forward(x, weight, bias, "gelu" if "gelu" in registry.ACTIVATIONS else "sigmoid")
    assert y.shape == (*shape, 7)
    expected, kept = fa.dense_forward(flat, weight, bias, saved.activation)
    assert_array_equal(y.reshape(-1, 7), expected)
    got = fa.dense_backward(grad, saved, x, weight)
    wanted = fa.dense_backward(grad.reshape(-1, 7), kept, flat, weight)
    assert got.dx.shape == x.shape
    assert_array_equal(got.dx.reshape(-1, 11), wanted.dx)
    assert_array_equal(got.dw, wanted.dw)
    assert_array_equal(got.db, wanted.db)
    assert_array_equal(fa.dense(np.moveaxis(x, 0, -2), weight), fa.dense(np.moveaxis(x, 0, -2).copy(), weight)) if len(
        shape
    ) > 1 else None


def test_outputs_go_where_asked(engine, dtype):
    x, weight, bias, grad = case(dtype, (70,), 20, 33)
    y, saved = fa.dense_forward(x, weight, bias, "tanh")
    expected = fa.dense_backward(grad, saved, x, weight)
    for order in "CF":
        out = np.empty(y.shape, dtype, order)
        assert fa.dense(x, weight, bias, "tanh", out=out) is out
        assert_array_equal(out, y)
        assert fa.dense_forward(x, weight, bias, "tanh", out=out)[0] is out
        outs = [np.empty(shape, dtype, order) for shape in (x.shape, weight.shape, (66,))]
        outs[2] = outs[2][::2]
        got = fa.dense_backward(grad, saved, x, weight, out_input=outs[0], out_weight=outs[1], out_bias=outs[2])
        for a, b, c in zip(got[:3], outs, expected[:3], strict=True):
            assert a is b
            assert_array_equal(a, c)


def test_accumulate(engine, dtype):
    shapes = ((1, 1), (1, 9), (1, 70), (5, 10), (300, 1), (300, 10), (300, 70))
    for (rows, outputs), layout in itertools.product(shapes, "CF"):
        x, weight, bias, grad = case(dtype, (rows,), 600 if rows == 5 else 20, outputs)
        x = np.asarray(x, order=layout)
        _, saved = fa.dense_forward(x, weight, bias, "sigmoid")
        _, dw, db, _ = fa.dense_backward(grad, saved, x, weight)
        for order in "CF":
            old_w, old_b = np.full(dw.shape, 2, dtype, order), np.full(db.shape, 3, dtype)
            got = fa.dense_backward(
                grad, saved, x, weight, accumulate=True, out_weight=old_w, out_bias=old_b, need_input_grad=False
            )
            assert got.dx is None
            assert got.dw is old_w
            assert_allclose(old_w, 2 + dw, rtol=tolerance(dtype), atol=tolerance(dtype))
            assert_allclose(old_b, 3 + db, rtol=tolerance(dtype), atol=tolerance(dtype))
        old_w[...] = 2
        got = fa.dense_backward(grad, saved, x, weight, accumulate=True, out_weight=old_w)
        assert_allclose(old_w, 2 + dw, rtol=tolerance(dtype), atol=tolerance(dtype))
        assert_array_equal(got.db, db)


def test_nothing_but_the_outputs_is_written(engine, entry, dtype):
    arrays = case(dtype, (70,), 20, 33)
    for array in arrays:
        array.flags.writeable = False
    x, weight, bias, grad = arrays
    y, saved = fa.dense_forward(x, weight, bias, entry.name)
    y.flags.writeable = False
    first = fa.dense_backward(grad, saved, x, weight)
    again = fa.dense_backward(grad, saved, x, weight)
    for a, b in zip(first[:3], again[:3], strict=True):
        assert_array_equal(a, b)


def test_overwrite_grad(engine, entry, dtype):
    x, weight, bias, grad = case(dtype, (70,), 20, 33)
    _, saved = fa.dense_forward(x, weight, bias, entry.name)
    expected = fa.dense_backward(grad, saved, x, weight)
    for given in (grad.copy(), np.asfortranarray(grad)):
        got = fa.dense_backward(given, saved, x, weight, overwrite_grad=True)
        for a, b in zip(got[:3], expected[:3], strict=True):
            assert_array_equal(a, b)
    fixed = grad.copy()
    fixed.flags.writeable = False
    fa.dense_backward(fixed, saved, x, weight, overwrite_grad=True)
    assert_array_equal(fixed, grad)


# ------------------------------------------------------------------------------------------------- mistakes


def test_overlaps_are_refused(backend):
    memory = np.zeros(400, np.float32)
    x, weight = memory[:77].reshape(7, 11), memory[77:198].reshape(11, 11)
    _, saved = fa.dense_forward(x, weight)
    for out in (x, memory[1:78].reshape(7, 11), memory[80:157].reshape(7, 11)):
        with pytest.raises(ValueError, match="dense: out overlaps"):
            fa.dense(x, weight, out=out)
    grad = np.ones((7, 11), np.float32)
    with pytest.raises(ValueError, match="dense_backward: out_weight overlaps weight"):
        fa.dense_backward(grad, saved, x, weight, out_weight=weight)
    with pytest.raises(ValueError, match="dense_backward: out_input overlaps grad"):
        fa.dense_backward(grad, saved, x, weight, out_input=grad)
    shared = np.zeros(121 + 5, np.float32)
    with pytest.raises(ValueError, match="dense_backward: out_bias overlaps out_weight"):
        fa.dense_backward(grad, saved, x, weight, out_weight=shared[:121].reshape(11, 11), out_bias=shared[115:126])


def overlapping(first, second):
    """Zeros of the two shapes of which the last element of one is the first of the other."""
    size = math.prod(first)
    memory = np.zeros(size + math.prod(second) - 1, np.float32)
    return memory[:size].reshape(first), memory[size - 1 :].reshape(second)


def test_no_output_overlaps_any_array(backend):
    """Not with the end of one, nor with its beginning."""
    read = {"grad": (7, 5), "saved": (7, 5), "x": (7, 11), "weight": (11, 5), "bias": (5,)}
    written = {"out_input": (7, 11), "out_weight": (11, 5), "out_bias": (5,)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in read.items()}

    def pairs(shape, names):
        for name in names:
            yield name, *overlapping(shape, (read | written)[name])
            yield name, *reversed(overlapping((read | written)[name], shape))

    for name, out, other in pairs((7, 5), ("x", "weight", "bias")):
        given = arrays | {name: other}
        with pytest.raises(ValueError, match=f"dense: out overlaps {name}"):
            fa.dense(given["x"], given["weight"], given["bias"], "relu", out=out)
    _, saved = fa.dense_forward(arrays["x"], arrays["weight"], activation="sigmoid")
    for output, shape in written.items():
        for name, out, other in pairs(shape, (n for n in ("grad", "saved", "x", "weight", *written) if n != output)):
            given = arrays | {name: other}
            outputs = {output: out} | ({name: other} if name in written else {})
            kept = dataclasses.replace(saved, array=given["saved"])
            with pytest.raises(ValueError, match=r"dense_backward: .* overlaps"):
                fa.dense_backward(given["grad"], kept, given["x"], given["weight"], **outputs)
            assert not out.any()
            assert not other.any()


@pytest.mark.parametrize("bias", [None, 0.25])
def test_a_long_column(engine, dtype, bias):
    """One output over more rows than are treated at a time: bits of the steps one by one, and the slope's gradient."""
    rng = np.random.default_rng(0)
    x, weight, grad = (rng.standard_normal(shape).astype(dtype) for shape in ((1700, 3), (3, 1), (1700, 1)))
    bias = None if bias is None else np.array([bias], dtype)
    z = fa.dense(x, weight, bias)
    y, saved = fa.dense_forward(x, weight, bias, "gelu")
    assert_array_equal(y, fa.gelu(z))
    dx = fa.dense_backward(grad, saved, x, weight).dx
    dz = fa.gelu_backward(grad, z).astype(np.float64)
    assert_allclose(dx, dz @ weight.T.astype(np.float64), rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_a_slope_of_zero_stops_what_a_smooth_one_multiplies(engine, dtype, fill):
    """What is true of the activations alone is true of the layer that saved the slope."""
    x, weight = np.full((3, 1), -1000, dtype), np.ones((1, 37), dtype)
    grad = np.full((3, 37), fill, dtype)
    for name, expected in (("hard_swish", 0.0), ("relu_squared", 0.0), ("gelu", np.nan), ("silu", np.nan)):
        _, saved = fa.dense_forward(x, weight, activation=name)
        _, _, dbias, _ = fa.dense_backward(grad, saved, x, weight)
        assert_array_equal(dbias, np.full(37, expected, dtype))


def test_messages(backend):
    x, weight, bias, grad = case(np.float32)
    _, saved = fa.dense_forward(x, weight, bias)
    frozen = np.zeros((9, 7), np.float32)
    frozen.flags.writeable = False
    wrong = [
        (TypeError, "dense: expected float32 or float64, got int64", lambda: fa.dense(np.ones((2, 11), int), weight)),
        (TypeError, "dense: expected x to be a NumPy array, got list", lambda: fa.dense([["1.0"]], weight)),
        (TypeError, "expected x and weight to have one dtype", lambda: fa.dense(x, weight.astype(float))),
        (TypeError, "expected x and bias to have one dtype", lambda: fa.dense(x, weight, bias.astype(float))),
        (ValueError, "expected weight to be a matrix (inputs, outputs)", lambda: fa.dense(x, bias)),
        (ValueError, "pass weight.T if yours is the other way round", lambda: fa.dense(x, weight.T)),
        (ValueError, "pass weight.T if yours is the other way round", lambda: fa.dense(x[0, 0], weight)),
        (ValueError, "expected bias to have shape (7,), one per output", lambda: fa.dense(x, weight, bias[1:])),
        (ValueError, "dense: unknown activation 'rleu'", lambda: fa.dense(x, weight, bias, "rleu")),
        (TypeError, "dense: ", lambda: fa.dense(x, weight, bias, 3)),
        (TypeError, "expected out to be a NumPy array or None", lambda: fa.dense(x, weight, out=[1])),
        (ValueError, "expected out to have shape (9, 7)", lambda: fa.dense(x, weight, out=np.empty_like(x))),
        (ValueError, "dense: out is read-only", lambda: fa.dense(x, weight, out=frozen)),
        (TypeError, "expected out to be float32", lambda: fa.dense(x, weight, out=np.empty((9, 7)))),
        (TypeError, "what dense_forward returned beside y", lambda: fa.dense_backward(grad, grad, x, weight)),
        (ValueError, "expected grad to have shape (9, 7)", lambda: fa.dense_backward(grad[1:], saved, x, weight)),
        (TypeError, "one dtype", lambda: fa.dense_backward(grad.astype(float), saved, x, weight)),
        (ValueError, "accumulate=True adds to", lambda: fa.dense_backward(grad, saved, x, weight, accumulate=True)),
        (ValueError, "need_input_grad", lambda: fa.dense_backward(grad, saved, x, weight, False, out_input=x)),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=re.escape(message)):
            call()
    x, weight = np.ones((3, 4), np.float32), np.ones((4, 2), np.float32)
    y, saved = fa.dense_forward(x, weight)
    with pytest.raises(ValueError, match="dense_backward: out_input is given but need_input_grad is False"):
        fa.dense_backward(y, saved, x, weight, need_input_grad=False, out_input=np.empty_like(x))


# ------------------------------------------------------------------------------------------------- cost, threads


@pytest.mark.skipif("native" not in support.BACKENDS, reason="needs the compiled core")
def test_training_allocates_no_array():
    net = fa.Sequential(fa.Dense(40, 70, "sigmoid"), fa.Dense(70, 3), rng=0)
    optimizer = fa.optim.SGD(lr=0.01, momentum=0.9)
    x = np.random.default_rng(0).standard_normal((300, 40)).astype(np.float32)
    labels = np.arange(300) % 3
    grad = np.empty((300, 3), np.float32)

    def step():
        z = net.forward(x, training=True)
        loss, _ = fa.softmax_cross_entropy(z, labels, out=grad)
        net.backward(grad)
        optimizer.step(net)
        return loss

    step()
    import tracemalloc

    tracemalloc.start()
    for _ in range(20):
        step()
    current, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8000, (current, peak)


def test_many_threads_at_once(instruction_set):
    """Inference from several Python threads, with shapes that need different workspaces."""
    cases = [case(np.float32, (rows,), 90, 70) for rows in (1, 60, 300)]
    expected = [fa.dense(x, weight, bias, "tanh") for x, weight, bias, _ in cases]
    wrong = []

    def work(i):
        x, weight, bias, _ = cases[i % 3]
        for _ in range(100):
            if not np.array_equal(fa.dense(x, weight, bias, "tanh"), expected[i % 3]):
                wrong.append(i)

    context = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in context:
        thread.start()
    for thread in context:
        thread.join()
    sys.setswitchinterval(interval)
    assert not wrong


def test_documented():
    for name in ("dense", "dense_forward", "dense_backward"):
        assert name in functional.__all__
        assert getattr(fa, name).__doc__


@pytest.mark.parametrize("activation", ["sigmoid", "gelu", "prelu", "swish"])
@pytest.mark.parametrize("shared", ["x", "weight", "saved"])
def test_overwriting_grad_spares_what_lies_in_its_place(engine, activation, shared):
    rng = np.random.default_rng(5)
    x, weight = rng.normal(size=(2, 6, 6))
    _, saved = fa.dense_forward(x, weight, activation=activation)
    given = {"x": x, "weight": weight, "saved": saved.array}[shared]
    expected = fa.dense_backward(given.copy(), saved, x, weight)
    before = given.copy()
    found = fa.dense_backward(given, saved, x, weight, overwrite_grad=True)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert_array_equal(a, b)
    assert_array_equal(given, before)
