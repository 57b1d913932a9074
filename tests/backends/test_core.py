"""The kernels on plain arrays, called as the layers call them: the public functions go through the doors instead."""

import inspect

import numpy as np
import pytest

import fastact as fa
from fastact import backends
from fastact.dtypes import FLOATS

pytestmark = pytest.mark.skipif(not backends.compiled, reason="no compiled core")
core = backends.engine
dtypes = pytest.mark.parametrize("dtype", [row.dtype for row in FLOATS], ids=lambda d: d.name)


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_every_function_tells_its_signature():
    functions = {name: value for name, value in vars(core).items() if inspect.isbuiltin(value)}
    functions = {name: value for name, value in functions.items() if not name.startswith("__")}
    assert {"forward", "maxout", "dense_backward", "try_dense"} <= set(functions)
    for function in functions.values():
        parameters = inspect.signature(function).parameters.values()
        assert all(p.default is p.empty and p.annotation is p.empty for p in parameters), function
    assert list(inspect.signature(core.learned).parameters) == ["number", "x", "weight", "y"]


@dtypes
def test_elementwise_and_rows(dtype):
    x, g = numbers((7, 33), dtype), numbers((7, 33), dtype, 1)
    y, dx = np.empty_like(x), np.empty_like(x)
    core.forward(core.activation_names().index("tanh"), x, y, 0.0, 0.0)
    core.backward(core.activation_names().index("tanh"), g, y, dx, 0.0, 0.0)
    assert y.tobytes() == fa.tanh(x).tobytes()
    assert dx.tobytes() == fa.tanh_backward(g, y).tobytes()
    core.rows(core.row_function_names().index("softmax"), x, y)
    core.rows_backward(core.row_function_names().index("softmax"), g, y, dx)
    assert y.tobytes() == fa.softmax(x).tobytes()
    assert dx.tobytes() == fa.softmax_backward(g, y).tobytes()


@dtypes
def test_maxout_and_masked_relu(dtype):
    x, g = numbers((6, 12), dtype), numbers((6, 4), dtype, 1)
    y, index, dx = np.empty_like(g), np.empty(g.shape, np.uint8), np.empty_like(x)
    core.maxout(x, y, index, 3)
    core.maxout_backward(g, index, dx, 3)
    expected = fa.maxout(x, 3)
    assert (y.tobytes(), index.tobytes()) == (expected.y.tobytes(), expected.index.tobytes())
    assert dx.tobytes() == fa.maxout_backward(g, index, 3).tobytes()
    mask, bits = np.empty(9, np.uint8), np.empty(9, np.uint8)
    core.relu_masked(x, dx, mask)
    assert dx.tobytes() == fa.relu_masked(x, mask=bits).tobytes()
    assert mask.tobytes() == bits.tobytes()
    core.relu_masked_backward(x, mask, dx)
    assert dx.tobytes() == fa.relu_masked_backward(x, bits).tobytes()


@dtypes
@pytest.mark.parametrize("activation", ["identity", "tanh", "gelu", "relu6", "threshold", "prelu", "swish", "maxout"])
@pytest.mark.parametrize("rows", [5, 200])
def test_dx_alone_is_the_dx_of_all_gradients(activation, rows, dtype):
    """As where all parameters of a layer are frozen."""
    networks = [fa.Sequential(fa.Dense(9, 13, act(activation)), dtype=dtype, rng=4) for _ in range(2)]
    networks[1].freeze()
    networks[1].gradients[...] = 7
    x, grad = numbers((rows, 9), dtype), numbers((rows, 13), dtype, 1)
    results = []
    for net in networks:
        net.forward(x, training=True)
        results.append(net.backward(grad, need_input_grad=True))
    assert results[0].tobytes() == results[1].tobytes()
    assert (networks[1].gradients == 7).all()


def act(name):
    return fa.activation(name, pieces=2) if name == "maxout" else name


def test_the_scalars_of_an_update():
    rule = core.Update()
    assert (rule.rate, rule.shrink, rule.gain, rule.correction, rule.nesterov) == (0.0, 0.0, 1.0, 1.0, False)
    rule.rate, rule.nesterov = 0.5, True
    assert (rule.rate, rule.nesterov) == (0.5, True)
    p, g = np.ones(70, np.float32), np.full(70, 2, np.float32)
    core.update(core.optimizer_names().index("sgd"), p, g, (None,), 3, 70, 1.0, np.inf, rule)
    assert (p[:3] == 1).all()
    assert (p[3:] == 0).all()


def test_the_network_and_its_stack_count_passes():
    net = fa.Sequential(fa.Dense(4, 6, "relu"), fa.Dense(6, 2), rng=1)
    x, grad = numbers((3, 4), np.float32), numbers((3, 2), np.float32, 1)
    net.forward(x, training=True)
    net.backward(grad)
    stack = net._stack
    assert stack.saved(0) is None
    net.forward(x, training=True)
    assert stack.number == net._passes.count
    assert stack.saved(0)[0] is x
    assert stack.saved(1)[0] is stack.saved(0)[1]  # relu: the output is what backward reads
    net.layers[1].backward(grad)
    assert stack.backward(grad, False, False, True) is None
    net.forward(x, training=True)
    assert stack.backward(grad, False, False, True) is True
    assert (stack.saved(0), stack.number) == (None, net._passes.count)


def test_frozen_between_forward_and_backward():
    """The stack that went forward is gone by then; its state is not."""
    one, other = (fa.Sequential(fa.Dense(4, 6, "relu"), fa.Dense(6, 2), rng=1) for _ in range(2))
    x, grad = numbers((3, 4), np.float32), numbers((3, 2), np.float32, 1)
    for net in (one, other):
        for _ in range(2):
            net.forward(x, training=True)
        net.freeze(0) if net is one else None
        net.backward(grad)
    assert one.layers[1].gradients["weight"].tobytes() == other.layers[1].gradients["weight"].tobytes()
