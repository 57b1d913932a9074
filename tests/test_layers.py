"""Layers in every order against layers written out here in float64, out of place; and what networks do with them."""

import itertools

import numpy as np
import pytest

import fastact as fa
from fastact import _norms

ROWS = 5


# ------------------------------------------------------------------------------------------ the naive twins
# Each takes a layer of the library for its parameters and its mask, and nothing of what it computes. forward returns a
# new array; backward a new array and the gradients by name.


def logistic(x):
    return 1 / (1 + np.exp(-x))


class Naive:
    def __init__(self, layer):
        self.layer = layer
        self.p = {name: np.array(value, np.float64) for name, value in layer.parameters.items()}


class NaiveFunction(Naive):
    """Activation by value and slope at x."""

    functions = {  # noqa: RUF012
        "identity": (lambda x: x, np.ones_like),
        "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        "silu": (lambda x: x * logistic(x), lambda x: logistic(x) * (1 + x * (1 - logistic(x)))),
        "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
        "square": (lambda x: x**2, lambda x: 2 * x),
    }

    def forward(self, x):
        self.x = x.copy()
        bound = self.layer.activation
        self.value, self.slope = self.functions[bound if isinstance(bound, str) else bound.name]
        return self.value(x)

    def backward(self, g):
        return g * self.slope(self.x), {}


class NaiveSoftmax(Naive):
    def forward(self, x):
        e = np.exp(x)
        self.y = e / e.sum(axis=1, keepdims=True)
        return self.y.copy()

    def backward(self, g):
        jacobians = [np.diag(y) - np.outer(y, y) for y in self.y]
        return np.array([j @ row for j, row in zip(jacobians, g, strict=True)]), {}


class NaiveDense(NaiveFunction):
    def forward(self, x):
        self.given = x.copy()
        return super().forward(x @ self.p["weight"] + self.p.get("bias", 0))

    def backward(self, g):
        dz, _ = super().backward(g)
        gradients = {"weight": np.einsum("ri,ro->io", self.given, dz), "bias": dz.sum(axis=0)}
        return dz @ self.p["weight"].T, {name: gradients[name] for name in self.p}


class NaivePReLU(Naive):
    def forward(self, x):
        self.x = x.copy()
        return np.where(x > 0, x, self.p["weight"] * x)

    def backward(self, g):
        change = np.where(self.x > 0, 0, g * self.x)
        dw = change.sum(axis=0) if self.layer.per_channel else change.sum(keepdims=True).reshape(1)
        return np.where(self.x > 0, g, self.p["weight"] * g), {"weight": dw}


class NaiveSwish(Naive):
    def forward(self, x):
        self.x = x.copy()
        return x * logistic(self.p["beta"] * x)

    def backward(self, g):
        s = logistic(self.p["beta"] * self.x)
        change = g * self.x**2 * s * (1 - s)
        db = change.sum(axis=0) if self.layer.per_channel else np.array([change.sum()])
        return g * (s + self.p["beta"] * self.x * s * (1 - s)), {"beta": db}


class NaiveMaxout(Naive):
    def forward(self, x):
        groups = x.reshape(len(x), -1, self.layer.pieces)
        self.hot = np.eye(self.layer.pieces)[groups.argmax(axis=2)]  # the first of equals
        return groups.max(axis=2)

    def backward(self, g):
        return (self.hot * g[:, :, np.newaxis]).reshape(len(g), -1), {}


class NaiveDropout(Naive):
    """The mask is the library's own function of seed, counter and place (tested by itself); the rest is not."""

    def forward(self, x):
        state = self.layer.random_state()
        kept = np.empty_like(x)
        with fa.use_backend("numpy"):
            _norms.dropout_into(
                np.ones_like(x), kept, _norms.mixed(state["seed"], state["counter"]), self.layer.rate, 1
            )
        rate, limit = self.layer.rate, -1.7580993408473766
        if isinstance(self.layer, fa.AlphaDropout):
            a = ((1 - rate) * (1 + rate * limit**2)) ** -0.5
            self.factor = kept * a
            return a * np.where(kept, x, limit) - a * rate * limit
        self.factor = kept / (1 - rate)
        return x * self.factor

    def backward(self, g):
        return g * self.factor, {}


class NaiveNorm(Naive):
    axis = 1

    def forward(self, x):
        apart = x - x.mean(axis=self.axis, keepdims=True)
        self.deviation = np.sqrt((apart**2).mean(axis=self.axis, keepdims=True) + self.layer.eps)
        self.z = apart / self.deviation
        return self.z * self.p.get("weight", 1) + self.p.get("bias", 0)

    def backward(self, g):
        gradients = {"weight": (g * self.z).sum(axis=0), "bias": g.sum(axis=0)}
        dz = g * self.p.get("weight", 1)
        # through the deviation and the mean, one after the other
        n = g.shape[self.axis]
        apart = self.z * self.deviation
        d_deviation = -(dz * apart).sum(axis=self.axis, keepdims=True) / self.deviation**2
        d_apart = dz / self.deviation + d_deviation * apart / (n * self.deviation)
        dx = d_apart - d_apart.mean(axis=self.axis, keepdims=True)
        return dx, {name: gradients[name] for name in self.p}


class NaiveBatchNorm(NaiveNorm):
    axis = 0


class NaiveResidual(Naive):
    def __init__(self, layer):
        super().__init__(layer)
        self.block = [naive(inner) for inner in layer.block]

    def forward(self, x):
        y = x.copy()
        for inner in self.block:
            y = inner.forward(y)
        return x + y

    def backward(self, g):
        dx, gradients = g.copy(), {}
        for i, inner in reversed(list(enumerate(self.block))):
            dx, own = inner.backward(dx)
            gradients |= {f"{i}.{name}": value for name, value in own.items()}
        return g + dx, gradients


class Shift(fa.Layer):
    """One of the user's own: y = x + the mean of a learned row, returned as views where it can."""

    def __init__(self, width=None):
        super().__init__()
        self.inputs = width

    def parameter_specs(self):
        return {"row": fa.ParameterSpec((self.inputs,), "bias")}

    def initialize(self, rng):
        self.parameters["row"][...] = rng.normal(size=self.inputs)

    def describe(self):
        return {"layer": "Shift", "width": self.inputs}

    def forward(self, x, training=False):
        return x + self.parameters["row"].mean()

    def backward(self, grad, need_input_grad=True):
        self.gradients["row"][...] = grad.sum() / self.inputs
        return grad


class NaiveShift(Naive):
    def forward(self, x):
        return x + self.p["row"].mean()

    def backward(self, g):
        return g.copy(), {"row": np.full_like(self.p["row"], g.sum() / len(self.p["row"]))}


class Reverse(fa.Layer):
    """One of the user's own that returns views of what it is given."""

    def describe(self):
        return {"layer": "Reverse"}

    def forward(self, x, training=False):
        return x[:, ::-1]

    def backward(self, grad, need_input_grad=True):
        return grad[:, ::-1]


class NaiveReverse(Naive):
    def forward(self, x):
        return x[:, ::-1].copy()

    def backward(self, g):
        return g[:, ::-1].copy(), {}


def naive(layer):
    if isinstance(layer, fa.Activation) and layer.activation == "softmax":
        return NaiveSoftmax(layer)
    return {
        fa.Activation: NaiveFunction,
        fa.Dense: NaiveDense,
        fa.PReLU: NaivePReLU,
        fa.Swish: NaiveSwish,
        fa.Maxout: NaiveMaxout,
        fa.Dropout: NaiveDropout,
        fa.AlphaDropout: NaiveDropout,
        fa.LayerNorm: NaiveNorm,
        fa.BatchNorm: NaiveBatchNorm,
        fa.Residual: NaiveResidual,
        Shift: NaiveShift,
        Reverse: NaiveReverse,
    }[type(layer)](layer)


SQUARE = fa.custom_activation("square", lambda x: x * x, lambda x: 2 * x)

#: kind -> the layer for so many inputs. Every way of keeping and of overwriting is there.
KINDS = {
    "dense": lambda n: fa.Dense(n, 6),
    "dense-tanh": lambda n: fa.Dense(n, 6, "tanh", bias_init="small_positive"),
    "dense-silu": lambda n: fa.Dense(n, 6, "silu", bias=False),
    "dense-square": lambda n: fa.Dense(n, 6, SQUARE),
    "tanh": lambda n: fa.Activation("tanh"),
    "silu": lambda n: fa.Activation("silu"),
    "identity": lambda n: fa.Activation("identity"),
    "square": lambda n: fa.Activation(SQUARE),
    "softmax": lambda n: fa.Activation("softmax"),
    "prelu": lambda n: fa.PReLU(),
    "swish": lambda n: fa.Swish(per_channel=True),
    "maxout": lambda n: fa.Maxout(1 if n == 3 else 2),
    "dropout": lambda n: fa.Dropout(0.4),
    "alpha-dropout": lambda n: fa.AlphaDropout(0.3),
    "layer-norm": lambda n: fa.LayerNorm(),
    "batch-norm": lambda n: fa.BatchNorm(),
    "residual-in-place": lambda n: fa.Residual(fa.Dropout(0.25), fa.Activation("tanh")),
    "residual-norm": lambda n: fa.Residual(fa.LayerNorm(), fa.Dense(n, n, "relu"), fa.Dropout(0.5)),
    "residual-own": lambda n: fa.Residual(Reverse(), fa.Dense(n, n)),
    "own": lambda n: Shift(),
    "own-views": lambda n: Reverse(),
}
# In triples, one of each way to keep and overwrite is enough.
TRIPLES = [
    "dense", "dense-tanh", "dense-silu", "tanh", "silu", "swish", "maxout", "dropout", "layer-norm", "batch-norm",
    "residual-in-place", "residual-norm", "own", "own-views",
]  # fmt: skip


def build(kinds, width=6, dtype="float64", seed=0):
    layers = []
    for kind in kinds:
        layer = KINDS[kind](width)
        if layer.inputs is None:
            layer.connect(width)
        width = layer.outputs
        layers.append(layer)
    net = fa.Sequential(*layers, dtype=dtype, rng=seed)
    rng = np.random.default_rng(seed + 1)
    net.parameters += 0.3 * rng.normal(size=net.parameters.shape)
    return net


def compare(net, rng, rtol=1e-9):
    """One step of the network, in place where it likes, against the naive layers."""
    x = rng.normal(size=(ROWS, net.inputs)).astype(net.dtype)
    grad = rng.normal(size=(ROWS, net.outputs)).astype(net.dtype)
    twins = [naive(layer) for layer in net.layers]
    y = x.astype(np.float64)
    for twin in twins:
        y = twin.forward(y)
    dx, expected = grad.astype(np.float64), {}
    for i, twin in reversed(list(enumerate(twins))):
        dx, own = twin.backward(dx)
        expected |= {f"{i}.{name}": value for name, value in own.items()}
    given_x, given_grad = x.copy(), grad.copy()
    got_y = net.forward(x, training=True)
    kept_y = got_y.copy()
    got_dx = net.backward(grad, need_input_grad=True)
    close = {"rtol": rtol, "atol": rtol}
    np.testing.assert_allclose(kept_y, y, **close)
    np.testing.assert_array_equal(got_y, kept_y, "backward changed the output")
    np.testing.assert_array_equal(x, given_x, "x was changed")
    np.testing.assert_array_equal(grad, given_grad, "grad was changed")
    np.testing.assert_allclose(got_dx, dx, **close)
    named = {s.name: net.gradients[s.start : s.stop].reshape(s.shape) for s in net.segments}
    assert set(named) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(named[name], value, err_msg=name, **close)


@pytest.mark.parametrize("kind", KINDS)
def test_alone_pairs_and_triples(kind, backend):
    rng = np.random.default_rng(5)
    others = [(), *((k,) for k in KINDS)]
    others += itertools.product(TRIPLES, TRIPLES) if kind in TRIPLES and backend == "native" else []
    for rest in others:
        net = build((kind, *rest))
        try:
            compare(net, rng, rtol=1e-8)
        except AssertionError as error:
            raise AssertionError(f"{(kind, *rest)}: {error}") from None
