"""The worked examples of the lectures on activation functions and backpropagation, computed with fastact.

``EXAMPLES`` has one function per example. It returns rows, and a row says what the lecture says, what comes out here,
and whether the two agree. Everything goes through public functions: a gate of a computation graph is a dense layer, a
maximum is ``maxout``, a neuron's error is one of the losses. ``fastact examples`` prints the rows.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from .. import diagnostics, functional, init, losses, optim, runtime
from ..layers import Dense, Maxout, PReLU
from ..losses import LossAndGradient
from ..measure.by_hand import numpy_threads
from ..network import Sequential
from .comparison import compare_activations

__all__ = ["EXAMPLES", "Row", "agrees", "run"]

Loss = Callable[[np.ndarray, np.ndarray], LossAndGradient]


@dataclass(frozen=True)
class Row:
    """One statement of a lecture: in its words, or its numbers as printed, and what comes out here."""

    name: str
    lecture: str
    fastact: str
    agrees: bool | None  # None: reported only, there is nothing to agree with


def agrees(printed: str, value: float) -> bool:
    """Whether value agrees with a printed number: within one unit of its last printed digit; a whole number exactly.

    One unit, because some lectures truncate where others round. The difference is taken in decimal, so that it is the
    printed number that counts and not the float beside it.
    """
    expected = Decimal(printed)
    exponent = expected.as_tuple().exponent
    if not isinstance(exponent, int) or not math.isfinite(value):
        return False
    unit = Decimal(1).scaleb(exponent) if exponent < 0 else Decimal(0)
    return abs(Decimal(value) - expected) <= unit


def _numbers(name: str, printed: str, values: Any) -> Row:
    """A row of numbers: as printed, with spaces between them, against as many values."""
    pairs = list(zip(printed.split(), np.asarray(values, np.float64).ravel().tolist(), strict=True))
    shown = " ".join(_beside(text, value) for text, value in pairs)
    return Row(name, printed, shown, all(agrees(text, value) for text, value in pairs))


def _beside(printed: str, value: float) -> str:
    """The value with two digits more than printed, so that one sees how the two differ."""
    if "e" in printed:
        return f"{value:.3e}"
    decimals = len(printed.partition(".")[2])
    return f"{value:.{decimals + 2 if decimals else 0}f}"


def _same(name: str, said: str, got: Any, expected: Any, tolerance: float = 1e-12) -> Row:
    """A row that says two arrays are the same, up to rounding relative to the larger of 1 and their largest number."""
    a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    difference = float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(b))))) if a.shape == b.shape else math.inf
    return Row(name, said, f"largest difference {difference:.1e}", difference <= tolerance)


def _fact(name: str, said: str, fastact: str, true: bool) -> Row:
    return Row(name, said, fastact, bool(true))


def _column(*values: float) -> np.ndarray:
    """Numbers below one another: the weight of a gate."""
    return np.array(values, np.float64)[:, np.newaxis]


def _gate(
    inputs: Sequence[float] | np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, activation: Any = None
) -> tuple[np.ndarray, Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """f = activation(inputs @ weight + bias), and a function from the gradient above it to those of its arguments."""
    x = np.array([inputs], np.float64)
    y, saved = functional.dense_forward(x, weight, bias, activation)

    def backward(*above: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dx, dw, db, _ = functional.dense_backward(np.array([above], np.float64), saved, x, weight)
        assert dx is not None
        return dx[0], dw, db

    return y[0], backward


X = np.array([10.0, 0.0, 1.0, -6.0])
UPSTREAM = np.array([10.0, -5.0, -0.4, 1.5])


def _forward_table() -> list[Row]:
    return [
        _numbers("sigmoid(10, 0, 1, -6)", "0.99995 0.50000 0.73105 0.00247", functional.sigmoid(X)),
        _numbers("tanh(10, 0, 1, -6)", "1.0 0.0 0.76159 -0.99999", functional.tanh(X)),
        _numbers("relu(10, 0, 1, -6)", "10 0 1 0", functional.relu(X)),
    ]


def _backward_table() -> list[Row]:
    mask = np.empty(1, np.uint8)
    functional.relu_masked(X, mask=mask)
    sigmoid = functional.sigmoid_backward(UPSTREAM, functional.sigmoid(X))
    tanh = functional.tanh_backward(UPSTREAM, functional.tanh(X))
    return [
        _numbers("sigmoid, gradients 10, -5, -0.4, 1.5", "0.0005 -1.2500 -0.0786 0.0037", sigmoid),
        _numbers("tanh, the same gradients", "0.0000 -5.0000 -0.1680 0.0000", tanh),
        _numbers("relu with the mask x >= 0", "10 -5 -0.4 0", functional.relu_masked_backward(UPSTREAM, mask)),
    ]


def _mask() -> list[Row]:
    x, dy = np.array([-5.5, 2.4, -0.5, 3.6]), np.array([0.3, -1.7, 2.9, 0.6])
    mask = np.empty(1, np.uint8)
    y = functional.relu_masked(x, mask=mask)
    m = np.unpackbits(mask, count=4, bitorder="little")
    return [
        _numbers("m of -5.5, 2.4, -0.5, 3.6", "0 1 0 1", m),
        _same("y = x * m", "y = x * m", y, x * np.array([0, 1, 0, 1])),
        _same("dx = dy * m", "dx = dy * m", functional.relu_masked_backward(dy, mask), dy * np.array([0, 1, 0, 1]), 0),
    ]


def _gates() -> list[Row]:
    rows = []
    f, back = _gate([5], _column(-2), np.array([3.0]))
    dx, dw, db = back(1)
    rows.append(_numbers("f = w x + b at w=-2, x=5, b=3", "-7", f))
    rows.append(_numbers("df/dw, df/dx, df/db", "5 -2 1", [dw.item(), *dx, *db]))

    q, back_q = _gate([-2, 5], _column(1, 1))
    f, back_f = _gate(q, _column(-4))
    dq, dz, _ = back_f(1)
    dx, _, _ = back_q(*dq)
    rows.append(_numbers("f = (x + y) z at x=-2, y=5, z=-4: q, f", "3 -12", [*q, *f]))
    rows.append(_numbers("df/dz, df/dq, df/dx, df/dy", "3 -4 -4 -4", [dz.item(), *dq, *dx]))

    _, back = _gate([4, -9], _column(1, 1))
    rows.append(_numbers("add distributes a gradient of 6", "6 6", back(6)[0]))
    f, back = _gate([4], _column(-9))
    dx, dw, _ = back(6)
    rows.append(_numbers("multiply switches: 4 * -9 and a gradient of 6", "24 -54", [dw.item(), *dx]))
    _, back = _gate([2], np.ones((1, 2)))
    rows.append(_numbers("at a branch gradients 3 and 4 add", "7", back(3, 4)[0]))

    top = functional.maxout(np.array([[-1.0, 2.0]]), 2)
    rows.append(_numbers("max(-1, 2)", "2", top.y))
    routed = functional.maxout_backward(np.array([[6.0]]), top.index, 2)
    rows.append(_numbers("its gradient of 6 goes to 2", "0 6", routed))
    tie = functional.maxout(np.array([[2.0, 2.0]]), 2)
    routed = functional.maxout_backward(np.array([[6.0]]), tie.index, 2)
    rows.append(_numbers("at a tie it goes to the first", "6 0", routed))

    q, back_q = _gate([7, 4], _column(1, -1))
    f, back_f = _gate(q, _column(-2))
    dq, dx, _ = back_f(1)
    rows.append(_numbers("f = x (y - z) at x=-2, y=7, z=4", "-6", f))
    rows.append(_numbers("df/dx, df/dy, df/dz", "3 -2 2", [dx.item(), *back_q(*dq)[0]]))

    rng = np.random.default_rng(4)
    net = Sequential(Dense(3, 8, "tanh"), Maxout(2), Dense(4, 4, "gelu"), Dense(4, 2), dtype="float64", rng=rng)
    net.forward(rng.normal(size=(6, 3)), training=True)
    below = net.backward(np.zeros((6, 2)), need_input_grad=True)
    assert below is not None
    largest = max(float(np.abs(array).max()) for array in (below, net.gradients))
    rows.append(_numbers("a gradient of 0 above makes all below it 0", "0", largest))
    return rows


def _neuron() -> list[Row]:
    x, w = [-1, -2], _column(2, -3)
    f, back = _gate(x, w, np.array([-3.0]), "sigmoid")
    dx, dw, db = back(1)
    linear = _gate(x, w, np.array([-3.0]))[1]
    rx, rw, rb = linear(round(db.item(), 2))
    passed_on = [rw[0, 0], rx[0], rw[1, 0], rx[1], rb.item()]
    return [
        _numbers("f at w = (2, -3, -3), x = (-1, -2)", "0.73", f),
        _numbers("df/d(pre-activation)", "0.20", db),
        _numbers("from 0.20: to w0, x0, w1, x1, w2", "-0.20 0.40 -0.40 -0.60 0.20", passed_on),
        _numbers("unrounded: to x0, w1, x1", "0.39 -0.39 -0.59", [dx[0], dw[1, 0], dx[1]]),
    ]


def _half_squares(pred: np.ndarray, target: np.ndarray) -> LossAndGradient:
    return losses.squared_error(pred, target, factor=0.5, reduction="sum")


def two_two_two() -> Sequential:
    """The 2-2-2 network of example 6 with its weights; the biases are frozen."""
    net = Sequential(Dense(2, 2, "sigmoid"), Dense(2, 2, "sigmoid"), dtype="float64")
    net.set_parameters(
        {
            "0.weight": np.array([[0.15, 0.25], [0.20, 0.30]]),
            "0.bias": np.full(2, 0.35),
            "1.weight": np.array([[0.40, 0.50], [0.45, 0.55]]),
            "1.bias": np.full(2, 0.60),
        }
    )
    net.freeze("*.bias")
    return net


def _two_two_two() -> list[Row]:
    net, x, target = two_two_two(), np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
    p = {name: array.copy() for name, array in net.named_parameters().items()}
    net_h = functional.dense(x, p["0.weight"], p["0.bias"])
    h = functional.sigmoid(net_h)
    out = net.forward(x, training=True)
    each, dout = losses.squared_error(out, target, factor=0.5, reduction="none")
    error, grad = _half_squares(out, target)
    dnet = functional.sigmoid_backward(dout, out)

    linear = functional.dense_forward(h, p["1.weight"], p["1.bias"])[1]

    def to_h1(first: float, second: float) -> float:
        """What of the gradients at the two outputs' sums arrives at out_h1."""
        back = functional.dense_backward(np.array([[first, second]]), linear, h, p["1.weight"])
        assert back.dx is not None
        return float(back.dx[0, 0])

    through_w5, from_o2 = to_h1(dnet[0, 0], 0), to_h1(0, dnet[0, 1])
    dh1 = to_h1(*dnet[0])
    rows = [
        _numbers("net_h1", "0.3775", net_h[0, 0]),
        _numbers("out_h1, out_h2", "0.593269992 0.596884378", h),
        _numbers("out_o1, out_o2", "0.75136507 0.772928465", out),
        _numbers("E_o1, E_o2, E", "0.274811083 0.023560026 0.298371109", [*np.asarray(each)[0], error]),
        _numbers("dE/dout_o1", "0.74136507", dout[0, 0]),
        _numbers("slope of o1", "0.186815602", functional.sigmoid_backward(np.ones((1, 2)), out)[0, 0]),
    ]
    net.backward(grad)
    rows.append(_numbers("dE/dw5", "0.082167041", net.layers[1].gradients["weight"][0, 0]))
    dw1 = net.layers[0].gradients["weight"][0, 0]
    optimizer = optim.SGD(lr=0.5)
    optimizer.step(net)
    w = net.named_parameters()
    rows += [
        _numbers("w5+, w6+", "0.35891648 0.408666186", w["1.weight"][:, 0]),
        _numbers("w7+, w8+", "0.511301270 0.561370121", w["1.weight"][:, 1]),
        _numbers("dE/dnet_o1", "0.138498562", dnet[0, 0]),
        _numbers("through w5", "0.055399425", through_w5),
        _numbers("from o2", "-0.019049119", from_o2),
        _numbers("the same from dE/dnet_o2 to 9 digits", "-0.0190491185", to_h1(0, round(dnet[0, 1], 9))),
        _numbers("dE/dout_h1", "0.036350306", dh1),
        _numbers("slope of h1", "0.241300709", functional.sigmoid_backward(np.ones((1, 2)), h)[0, 0]),
        _numbers("dE/dw1", "0.000438568", dw1),
        _numbers("w1+, w2+", "0.149780716 0.19956143", w["0.weight"][:, 0]),
        _numbers("w3+, w4+", "0.24975114 0.29950229", w["0.weight"][:, 1]),
        _same("the biases stay", "fixed", [*w["0.bias"], *w["1.bias"]], [0.35, 0.35, 0.60, 0.60], 0),
    ]
    for _ in range(9_999):
        net.backward(_half_squares(net.forward(x, training=True), target).grad)
        optimizer.step(net)
    rows.append(_numbers("E after 10 000 steps (computed)", "0.00003510188", _half_squares(net(x), target).loss))
    rows.append(_numbers("its outputs (computed)", "0.015913620 0.984064274", net(x)))
    return rows


def _train(net: Sequential, loss: Loss, optimizer: optim.Optimizer, x: np.ndarray, y: np.ndarray, steps: int) -> float:
    """Full-batch training by hand; the loss before the last step."""
    value = math.nan
    for _ in range(steps):
        result = loss(net.forward(x, training=True), y)
        net.backward(result.grad)
        optimizer.step(net)
        value = float(result.loss)
    return value


def _xor() -> list[Row]:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
    y = np.array([[0], [1], [1], [0]], np.float64)
    rows = []
    for name, learns, layers in (
        ("2-4-1, tanh", True, (Dense(2, 4, "tanh"), Dense(4, 1))),
        ("2-1, linear", False, (Dense(2, 1),)),
    ):
        net = Sequential(*layers, dtype="float64", rng=0)
        loss = _train(net, losses.bce_with_logits, optim.SGD(lr=0.5, momentum=0.9), x, y, 400)
        right = int(np.sum((net(x) > 0) == (y > 0.5)))
        said = "learns XOR" if learns else "does not (the best it can is a loss of log 2)"
        true = right == 4 and loss < 0.01 if learns else right < 4 and abs(loss - math.log(2)) < 1e-6
        rows.append(_fact(name, said, f"loss {loss:.4f}, {right} of 4 right", true))
    return rows


def _collapse() -> list[Row]:
    rng = np.random.default_rng(8)
    net = Sequential(
        Dense(7, 5, bias=False), Dense(5, 6, bias=False), Dense(6, 3, bias=False), dtype="float64", rng=rng
    )
    x = rng.normal(size=(11, 7))
    w1, w2, w3 = (layer.parameters["weight"] for layer in net.layers)
    one = functional.dense(functional.dense(w1, w2), w3)
    return [_same("W3 (W2 (W1 x))", "equals one matrix", net(x), functional.dense(x, one))]


def _binary_cross_entropy() -> list[Row]:
    z, y = np.array([-3.0, -0.5, 0.0, 1.25, 4.0]), np.array([0.0, 1.0, 0.25, 1.0, 0.9])
    n = np.exp(-z)  # node by node: multiply by -1, exp, add 1, reciprocal, then log p and log (1 - p)
    d = 1 + n
    p = 1 / d
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    dp = -(y / p - (1 - y) / (1 - p))
    dz = dp * (-1 / d**2) * n * -1
    each, grad = losses.bce_with_logits(z, y, reduction="none")
    through = functional.sigmoid_backward(dp, functional.sigmoid(z))
    return [
        _same("the logistic, node by node", "exp, add, reciprocal", functional.sigmoid(z), p),
        _same("L", "-(y log p + (1 - y) log(1 - p))", each, loss),
        _same("dL/dz, node by node", "the chain's product", grad, dz),
        _same("dL/dp through the logistic", "p - y", through, p - y),
        _same("dL/dz, fused", "p - y", grad, p - y),
    ]


def _categorical_cross_entropy() -> list[Row]:
    rng = np.random.default_rng(10)
    z, labels = rng.normal(0, 2, (6, 5)), np.array([0, 4, 2, 2, 1, 3])
    y = np.eye(5)[labels]
    e = np.exp(z)
    p = e / e.sum(axis=1, keepdims=True)
    loss, grad = losses.softmax_cross_entropy(z, labels, reduction="sum")
    by_rows = losses.softmax_cross_entropy(z, y, reduction="sum").grad
    return [
        _same("softmax", "exp(z) / sum exp(z)", functional.softmax(z), p),
        _same("loss", "-sum y log p", loss, -np.sum(y * np.log(p))),
        _same("gradient at the logits", "p - y", grad, p - y),
        _same("from rows of probabilities", "p - y", by_rows, p - y),
        _same("-y/p through softmax", "p - y", functional.softmax_backward(-y / p, functional.softmax(z)), p - y),
    ]


@functools.cache
def _twenty_lines_of_numpy() -> list[float]:
    """The lecture's program: the loss of each of its 2000 steps."""
    x, y, w1, w2 = _twenty_lines_start()
    trajectory = []
    for _ in range(2000):
        h = 1 / (1 + np.exp(-x.dot(w1)))
        y_pred = h.dot(w2)
        loss = np.square(y_pred - y).sum()
        trajectory.append(float(loss))
        grad_y_pred = 2.0 * (y_pred - y)
        grad_w2 = h.T.dot(grad_y_pred)
        grad_h = grad_y_pred.dot(w2.T)
        grad_w1 = x.T.dot(grad_h * h * (1 - h))
        w1 -= 1e-4 * grad_w1
        w2 -= 1e-4 * grad_w2
    return trajectory


def _twenty_lines_start() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(11)
    shapes = (64, 1000), (64, 10), (1000, 100), (100, 10)  # N, D_in, H, D_out = 64, 1000, 100, 10
    return tuple(rng.standard_normal(shape) for shape in shapes)


def _twenty_lines() -> list[Row]:
    theirs = _twenty_lines_of_numpy()
    x, y, w1, w2 = _twenty_lines_start()
    net = Sequential(Dense(1000, 100, "sigmoid", bias=False), Dense(100, 10, bias=False), dtype="float64")
    net.set_parameters({"0.weight": w1, "1.weight": w2})
    optimizer, ours = optim.SGD(lr=1e-4), []
    for _ in theirs:
        ours.append(_train(net, lambda p, t: losses.squared_error(p, t, reduction="sum"), optimizer, x, y, 1))
    worst = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))
    return [
        _fact("loss of 2000 steps against NumPy", "within 1e-9 at every step", f"within {worst:.1e}", worst <= 1e-9),
        _fact("the loss", "falls", f"from {ours[0]:.0f} to {ours[-1]:.3g}", ours[-1] < 0.01 * ours[0]),
    ]


def _three_layers() -> list[Row]:
    rng = np.random.default_rng(12)
    net = Sequential(Dense(3, 4, "sigmoid"), Dense(4, 4, "sigmoid"), Dense(4, 1), dtype="float64", rng=rng)
    for name, array in net.named_parameters().items():
        if name.endswith("bias"):
            array[...] = rng.normal(size=array.shape)
    p = {name: array.T for name, array in net.named_parameters().items()}  # the lecture's W x, with W (out, in)

    def f(z: Any) -> Any:
        return 1.0 / (1.0 + np.exp(-z))

    x = rng.normal(size=3)
    h1 = f(np.dot(p["0.weight"], x) + p["0.bias"])
    h2 = f(np.dot(p["1.weight"], h1) + p["1.bias"])
    out = np.dot(p["2.weight"], h2) + p["2.bias"]
    inputs, w, b = rng.normal(size=5), rng.normal(size=5), 0.7
    firing = functional.dense(inputs, w[:, np.newaxis], np.array([b]), activation="sigmoid")
    return [
        _same("3-4-4-1", "W3 f(W2 f(W1 x + b1) + b2) + b3", net(x[np.newaxis])[0], out),
        _same("a single neuron", "1 / (1 + exp(-(sum(inputs * w) + b)))", firing[0], f(np.sum(inputs * w) + b)),
    ]


def _saturation() -> list[Row]:
    points = np.linspace(-10, 10, 2001)
    slope = functional.sigmoid_backward(np.ones(2001), functional.sigmoid(points))
    # each layer's unit sees 0: weight 1, bias -1/2, where its slope is largest
    depth = 4
    centred = init.Constant(-0.5)
    chain = Sequential(
        Dense(1, 1, "sigmoid", weight_init=init.Constant(1.0)),
        *(Dense(1, 1, "sigmoid", weight_init=init.Constant(1.0), bias_init=centred) for _ in range(depth - 1)),
        dtype="float64",
    )
    shrunk = []
    for x in (0.0, 1.0):
        chain.forward(np.array([[x]]), training=True)
        dx = chain.backward(np.ones((1, 1)), need_input_grad=True)
        assert dx is not None
        shrunk.append(float(dx[0, 0]))
    wide = np.linspace(-20, 20, 4001)
    means = {}
    for name in ("sigmoid", "tanh"):
        net = Sequential(Dense(1, 1, name, weight_init=init.Constant(1.0)), dtype="float64")
        with diagnostics.observe(net) as stats:
            net.forward(wide[:, np.newaxis], training=True)
        means[name] = stats.layers[0].mean
    return [
        _numbers("slope of the logistic at -10, 0, 10", "4.5e-5 0.25 4.5e-5", slope[[0, 1000, 2000]]),
        _numbers("its maximum", "0.25", slope.max()),
        _fact(
            f"{depth} logistic layers",
            f"a gradient of at most 1/4^{depth} = {0.25**depth:.6f}",
            f"{shrunk[0]:.6f} at best, {shrunk[1]:.6f} elsewhere",
            abs(shrunk[0] - 0.25**depth) < 1e-15 and 0 < shrunk[1] < shrunk[0],
        ),
        _same("tanh(x)", "2 s(2x) - 1", functional.tanh(wide), 2 * functional.sigmoid(2 * wide) - 1),
        _fact("mean output, logistic", "not zero-centred", f"{means['sigmoid']:.3f}", means["sigmoid"] > 0.4),
        _fact("mean output, tanh", "zero-centred", f"{means['tanh']:.3f}", abs(means["tanh"]) < 1e-12),
    ]


def _samples(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def _unit_with_bias(activation: str, bias: float, dtype: str, x: np.ndarray) -> diagnostics.LayerStatistics:
    """What the diagnostics say of a single unit that sees x + bias."""
    one = init.Constant(1.0)
    layer = Dense(1, 1, activation, weight_init=one, bias_init=init.Constant(bias))
    net = Sequential(layer, dtype=dtype)
    with diagnostics.observe(net) as stats:
        net.forward(x.astype(dtype), training=True)
    return stats.layers[0]


def _dead_relu() -> list[Row]:
    x, y = _samples(64, 6, 14), _samples(64, 2, 15)

    def network(activation: str, unit_3: float | None = None, **options: Any) -> Sequential:
        net = Sequential(Dense(6, 8, activation, **options), Dense(8, 2), dtype="float64", rng=0)
        if unit_3 is not None:
            net.layers[0].parameters["bias"][3] = unit_3
        return net

    def watch(net: Sequential, x: np.ndarray, rate: float, steps: int) -> diagnostics.Observer:
        with diagnostics.observe(net) as stats:
            _train(net, losses.squared_error, optim.SGD(lr=rate), x, y, steps)
        return stats

    net = network("relu", -100)
    before = net.layers[0].parameters["weight"][:, 3].copy()
    gradients = 0.0
    for _ in range(50):
        stats = watch(net, x, 0.05, 1)
        unit_3 = net.layers[0].gradients
        gradients = max(gradients, float(np.abs(unit_3["weight"][:, 3]).max()), abs(float(unit_3["bias"][3])))
    moved = float(np.abs(net.layers[0].parameters["weight"][:, 3] - before).max())
    rows = [
        _numbers("relu, bias -100 at unit 3: its gradients in 50 steps, its move", "0 0", [gradients, moved]),
        _numbers("the dead unit, as the diagnostics name it", "3", stats.dead_units(0)),
    ]

    net, positive = network("relu"), np.abs(x)
    start = watch(net, positive, 3.0, 1).layers[0].dead or 0.0
    dead = watch(net, positive, 0.001, 50).layers[0].dead or 0.0
    after = f"{start:.0%} of units dead before, {dead:.0%} in all 50 steps after"
    rows.append(_fact("relu, one step at rate 3", "units die for good", after, dead > 0.5 > start))

    alive = watch(network("leaky_relu", -100), x, 0.05, 1)
    rows.append(_numbers("leaky_relu, bias -100: dead units", "0", len(alive.dead_units(0))))
    all_low = Dense(6, 8, bias_init=init.Constant(-100.0))
    alive = watch(Sequential(all_low, PReLU(), Dense(8, 2), dtype="float64", rng=0), x, 0.05, 1)
    rows.append(_numbers("prelu, bias -100: dead units", "0", len(alive.dead_units(1))))
    low = np.full((1, 5), -100.0)
    prelu = functional.prelu_backward(np.ones((1, 5)), low, 0.25)
    learned = [prelu.dx[0, 0], prelu.dweight.item()]
    rows.append(_numbers("prelu at -100, five samples: gradients of input and slope", "0.25 -500", learned))
    top = functional.maxout(np.array([[-101.0, -100.0]]), 2)
    routed = functional.maxout_backward(np.ones((1, 1)), top.index, 2)
    rows.append(_numbers("maxout of -101, -100: a gradient arrives", "0 1", routed))

    for bias, said in ((-16.0, "alive: its slope is not 0"), (-18.0, "saturated, not dead")):
        unit = _unit_with_bias("elu", bias, "float32", np.zeros((3, 1)))
        slope = functional.elu_backward(np.ones(1, np.float32), functional.elu(np.full(1, bias, np.float32)))[0]
        shown = f"dead {unit.dead:.0%}, saturated {unit.saturated:.0%}, slope {slope:.1e}"
        true = unit.dead == 0 and unit.saturated == 1 and (slope > 0) == (bias == -16)
        rows.append(_fact(f"elu at {bias:g} in float32", said, shown, true))

    healthy = watch(network("relu", weight_init="he_normal", bias_init="small_positive"), x, 0.05, 200)
    rows.append(_numbers("He and a small positive bias, 200 steps: dead units", "0", len(healthy.dead_units(0))))
    w = np.abs(_samples(6, 8, 16))
    linear, bent = functional.dense(positive, w), functional.dense(positive, w, activation="relu")
    rows.append(_same("positive inputs only", "dense + relu is linear", bent, linear, 0))
    return rows


def _selu() -> list[Row]:
    rng = np.random.default_rng(15)
    layers = [Dense(256, 256, "selu", weight_init="lecun_normal") for _ in range(32)]
    net = Sequential(*layers, dtype="float64", rng=rng)
    with diagnostics.observe(net) as stats:
        net.forward(rng.normal(size=(512, 256)), training=True)
    means = [s.mean for s in stats.layers]
    variances = [s.variance for s in stats.layers]
    largest = max(map(abs, means))
    # the map of Klambauer et al. 2017 (arXiv:1706.02515), equations 4 and 5, at weights of sum 0 and square sum 1:
    # z ~ N(0 * mean, variance), so the derivatives by the mean are 0 and those by the variance are expectations of
    # f'(t) t / 2 and of f(t) f'(t) t. Gauss-Legendre on both sides of the kink, 12 standard deviations far.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t = np.concatenate([6 * (nodes - 1), 6 * (nodes + 1)])
    density = np.concatenate([weights, weights]) * 6 * np.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    f = functional.selu(t)
    slope = functional.selu_backward(np.ones_like(t), f)
    mean, square = np.sum(density * f), np.sum(density * f * f)
    by_mean = 0 * np.sum(density * slope)
    by_variance = [np.sum(density * slope * t) / 2, np.sum(density * f * slope * t)]
    return [
        _fact("32 layers: means", "|mean| < 0.1", f"at most {largest:.3f}", largest < 0.1),
        _fact(
            "variances",
            "0.8 to 1.25",
            f"{min(variances):.3f} to {max(variances):.3f}",
            min(variances) > 0.8 and max(variances) < 1.25,
        ),
        _same("mean and variance of selu of a standard normal", "0 and 1", [mean, square - mean**2], [0, 1], 1e-9),
        _numbers("Jacobian, first row", "0 0.088835", [by_mean, by_variance[0]]),
        _numbers("Jacobian, second row", "0 0.782648", [by_mean, by_variance[1] - 2 * mean * by_variance[0]]),
    ]


def _comparison() -> list[Row]:
    names = ("relu", "tanh", "sigmoid")
    results = compare_activations([functional.activation(name) for name in names], seeds=2, epochs=10)
    return [
        Row(
            r.activation,
            "reported (fastact compare for the whole table)",
            f"accuracy {100 * r.accuracy_mean:.1f} +- {100 * r.accuracy_spread:.1f} %, "
            f"{'-' if r.epochs is None else f'{r.epochs:g}'} epochs to 1 % training error, dead {r.dead:.0%}, "
            f"saturated {r.saturated:.0%}, zeros {r.zeros:.0%}, {r.microseconds:.0f} us a step",
            None,
        )
        for r in results
    ]


def _gradient_descent() -> list[Row]:
    x = np.concatenate([_samples(50, 3, 17), np.ones((50, 1))], axis=1)
    y = _samples(50, 1, 18)
    a, m = 0.1, len(x)
    w = np.zeros((4, 1))
    net = Sequential(Dense(4, 1, bias=False, weight_init="zeros"), dtype="float64")
    optimizer, apart = optim.SGD(lr=a), 0.0
    for _ in range(1000):
        w = w - a / m * (x.T @ (x @ w - y))
        _train(net, lambda p, t: losses.squared_error(p, t, factor=0.5), optimizer, x, y, 1)
        apart = max(apart, float(np.abs(net.layers[0].parameters["weight"] - w).max()))
    solution = np.linalg.lstsq(x, y, rcond=None)[0]
    return [
        _fact("1000 steps", "W := W - a (1/m) sum (W x - y) x", f"largest difference {apart:.1e}", apart < 1e-12),
        _same("where they lead", "the least-squares solution", net.layers[0].parameters["weight"], solution, 1e-9),
    ]


def _homework() -> list[Row]:
    rng = np.random.default_rng(18)
    x, labels = rng.normal(size=(7, 5)), np.array([0, 2, 1, 1, 0, 2, 2])
    w1, b1, w2, b2 = rng.normal(size=(5, 6)), rng.normal(size=6), rng.normal(size=(6, 3)), rng.normal(size=3)
    h1 = np.maximum(0, x @ w1 + b1)
    scores = h1 @ w2 + b2
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(7), labels]).mean()
    dscores = (p - np.eye(3)[labels]) / 7
    dh1 = dscores @ w2.T
    dz1 = dh1 * (h1 > 0)

    ours_h1, saved1 = functional.dense_forward(x, w1, b1, "relu")
    ours, saved2 = functional.dense_forward(ours_h1, w2, b2)
    value, grad = losses.softmax_cross_entropy(ours, labels)
    second = functional.dense_backward(grad, saved2, ours_h1, w2)
    assert second.dx is not None
    first = functional.dense_backward(second.dx, saved1, x, w1, need_input_grad=False)
    return [
        _same("scores", "max(0, x W1 + b1) W2 + b2", ours, scores),
        _same("loss", "mean of -log p", value, loss),
        _same("dscores", "(p - y) / N", grad, dscores),
        _same("dW2", "h1.T dscores", second.dw, h1.T @ dscores),
        _same("db2", "sum of dscores", second.db, dscores.sum(axis=0)),
        _same("dh1", "dscores W2.T", second.dx, dh1),
        _same("dW1", "x.T (dh1 where h1 > 0)", first.dw, x.T @ dz1),
        _same("db1", "sum of the same", first.db, dz1.sum(axis=0)),
    ]


def _spread(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Biases that spread the units' bends over the interval."""
    return rng.uniform(-math.pi, math.pi, shape)


def _approximation() -> list[Row]:
    x = np.linspace(-math.pi, math.pi, 101)[:, np.newaxis]
    net = Sequential(Dense(1, 20, "sigmoid", bias_init=_spread), Dense(20, 1), dtype="float64", rng=19)
    steps = 3000
    _train(net, losses.squared_error, optim.Adam(lr=optim.Cosine(0.03, steps)), x, np.sin(x), steps)
    between = np.linspace(-math.pi, math.pi, 1001)[:, np.newaxis]
    error = float(np.abs(net(between) - np.sin(between)).max())
    return [_fact("20 sigmoids fit sin on [-pi, pi]", "to 0.02", f"largest error {error:.4f}", error <= 0.02)]


def _signs() -> list[Row]:
    x, y = _samples(32, 5, 20), _samples(32, 1, 21)
    rows = []
    for below, said in (("sigmoid", "one sign for each sample"), ("tanh", "signs of both kinds")):
        net = Sequential(Dense(5, 8, below), Dense(8, 6, "tanh"), Dense(6, 1), dtype="float64", rng=20)
        with diagnostics.observe(net) as stats:
            for sample in range(32):
                out = net.forward(x[sample : sample + 1], training=True)
                net.backward(losses.squared_error(out, y[sample : sample + 1]).grad)
                stats.collect()
        share = stats.layers[1].one_sign
        assert share is not None
        agree = share == 1 if below == "sigmoid" else share < 0.9
        rows.append(_fact(f"weights of units above {below}", said, f"{share:.0%} of one sign", agree))
    return rows


EXAMPLES: dict[int, tuple[str, Callable[[], list[Row]]]] = {
    1: ("Forward table", _forward_table),
    2: ("Backward table", _backward_table),
    3: ("The mask of ReLU", _mask),
    4: ("Gates", _gates),
    5: ("A sigmoid neuron", _neuron),
    6: ("The 2-2-2 network", _two_two_two),
    7: ("XOR", _xor),
    8: ("Linear collapse", _collapse),
    9: ("Binary cross-entropy", _binary_cross_entropy),
    10: ("Softmax and categorical cross-entropy", _categorical_cross_entropy),
    11: ("A two-layer network in twenty lines", _twenty_lines),
    12: ("Three-layer forward pass", _three_layers),
    13: ("Saturation", _saturation),
    14: ("Dead ReLU", _dead_relu),
    15: ("SELU keeps mean 0 and variance 1", _selu),
    16: ("Comparison of activations on the digits", _comparison),
    17: ("Gradient descent on linear regression", _gradient_descent),
    18: ("Two-layer network with softmax", _homework),
    19: ("Universal approximation", _approximation),
    20: ("Signs of gradients above positive inputs", _signs),
}


#: How rows are made, of which the code of an example says nothing.
REPORTING = (agrees, _numbers, _beside, _same, _fact)


def name(number: int) -> str:
    """An example's short name: "xor"."""
    return EXAMPLES[number][1].__name__.strip("_<>")


def code(number: int) -> str:
    """The source of an example, after that of the functions here that it calls."""
    found: dict[Callable[..., Any], str] = {}

    def collect(function: Callable[..., Any]) -> None:
        if function in REPORTING or function in found:
            return
        source = found[function] = inspect.getsource(function)
        for word in re.findall(r"\w+", source):
            used = globals().get(word)
            if inspect.isfunction(used) and used.__module__ == __name__:
                collect(used)

    collect(EXAMPLES[number][1])
    return "\n\n".join(text for _, text in sorted(found.items(), key=lambda item: item[0].__code__.co_firstlineno))


def run(number: int) -> tuple[str, list[Row]]:
    """An example's title and rows. Raises KeyError for a number that is not in ``EXAMPLES``."""
    title, function = EXAMPLES[number]
    with numpy_threads(1), runtime.num_threads(1):  # nothing here is large enough to gain by more
        return title, function()


def text(rows: Sequence[Row]) -> str:
    """The rows, for reading."""
    marks = {True: "agrees", False: "DIFFERS", None: "-"}
    return "\n".join(
        f"   {row.name}\n      lecture  {row.lecture}\n      fastact  {row.fastact}   {marks[row.agrees]}"
        for row in rows
    )
