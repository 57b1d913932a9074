"""Layers in every order against layers written out here in float64, out of place; and what networks do with them."""

import copy
import itertools
import json
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import BACKENDS

import fastact as fa
from fastact import backends
from fastact.layers.catalogue import LAYERS, layer_from
from fastact.layers.dropout import mixed

ROWS = 5


# ------------------------------------------------------------------------------------------ the naive twins
# Each takes a layer of the library for its parameters and its mask, and nothing of what it computes. forward returns a
# new array; backward a new array and the gradients by name.


def logistic(x):
    return 1 / (1 + np.exp(-x))


def network_from(descriptions, dtype, custom=None):
    return fa.Sequential(*(layer_from(d, custom) for d in descriptions), dtype=dtype)


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
        self.value, self.slope = self.functions[bound.name]
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
            key, threshold = mixed(state["seed"], state["counter"]), round(self.layer.rate * 2**32)
            backends.current().dropout(np.ones_like(x), kept, key, threshold, 1.0, 0.0, 0.0)
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


class NaiveStandardize(Naive):
    def forward(self, x):
        self.scale = self.layer.buffers["scale"].astype(np.float64)
        return (x - self.layer.buffers["mean"].astype(np.float64)) / self.scale

    def backward(self, g):
        return g / self.scale, {}


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
    if isinstance(layer, fa.Activation) and str(layer.activation) == "softmax":
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
        fa.Standardize: NaiveStandardize,
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
    "standardize": lambda n: fa.Standardize(),
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
    for layer in net.layers:
        if isinstance(layer, fa.Standardize):
            layer.measure(rng.normal(3, 2, size=(7, layer.inputs)).astype(dtype))
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
    named = net.named_gradients()
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


def test_float32_and_many_rows(backend):
    """Several blocks of rows, the other dtype."""
    rng = np.random.default_rng(0)
    for kinds in (("layer-norm", "dense-tanh", "batch-norm", "swish"), ("dense-silu", "residual-norm", "prelu")):
        net = build(kinds, width=5, dtype="float32")
        x, grad = (rng.normal(size=(150, n)).astype(np.float32) for n in (net.inputs, net.outputs))
        twin = build(kinds, width=5)
        twin.set_parameters({k: v.astype(np.float64) for k, v in net.named_parameters().items()})
        twin.set_random_state(net.random_state())
        y = net.forward(x, training=True).copy()
        dx = net.backward(grad, need_input_grad=True)
        close = {"rtol": 1e-3, "atol": 2e-4}
        np.testing.assert_allclose(y, twin.forward(x.astype(np.float64), training=True), **close)
        np.testing.assert_allclose(dx, twin.backward(grad.astype(np.float64), need_input_grad=True), **close)
        for mine, theirs in zip(net.segments, twin.segments, strict=True):
            got, expected = net.gradients[mine.start : mine.stop], twin.gradients[theirs.start : theirs.stop]
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-3)


# ------------------------------------------------------------------------------------------ networks

#: Every layer in one network.
EVERYTHING = (
    "dense-tanh", "prelu", "dropout", "layer-norm", "residual-norm", "swish", "batch-norm", "maxout", "dense-silu",
    "alpha-dropout", "residual-in-place", "silu", "tanh", "dense",
)  # fmt: skip


def step(net, rows=ROWS, seed=3):
    rng = np.random.default_rng(seed)
    y = net.forward(rng.normal(size=(rows, net.inputs)).astype(net.dtype), training=True)
    net.backward(rng.normal(size=y.shape).astype(net.dtype))
    return y.copy()


def test_inference_matches_layer_by_layer(backend):
    net = build(EVERYTHING)
    for _ in range(3):
        step(net)
    x = np.random.default_rng(1).normal(size=(9, 6))
    given, array = x.copy(), x
    for layer in net.layers:
        array = layer.forward(array.copy())
    y = net(x)
    np.testing.assert_allclose(y, array, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(x, given)
    assert not np.may_share_memory(y, x)
    for kind in ("dropout", "own-views", "identity"):
        alone = build((kind,))
        assert not np.may_share_memory(alone(x), x)
    assert net(x[:0]).shape == (0, net.outputs)


def test_inference_from_several_threads():
    """Threads share the network and nothing else: each gets the result of one alone."""
    net = build(EVERYTHING, dtype="float32")
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(40 + 7 * i, 6)).astype(np.float32) for i in range(8)]
    expected = [net(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(net, inputs * 25))
    for got, wanted in zip(results, expected * 25, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.skipif("native" not in BACKENDS, reason="no compiled core")
def test_nothing_is_allocated_after_the_first_epoch():
    """Columns are wide, so that even an array of one row would show; the short last batch included."""
    width = 4096
    layers = [
        fa.Activation("silu", inputs=width), fa.PReLU(), fa.Dropout(0.2), fa.LayerNorm(), fa.Activation("tanh"),
        fa.Residual(fa.BatchNorm(), fa.Activation("relu"), fa.AlphaDropout(0.1)), fa.Swish(per_channel=True),
        fa.Activation("softmax"), fa.BatchNorm(), fa.Maxout(256), fa.Dense(16, 16, "gelu"), fa.Dense(16, 4, "relu"),
    ]  # fmt: skip
    net = fa.Sequential(*layers, rng=0)
    x = np.random.default_rng(0).normal(size=(20, width)).astype(np.float32)
    grad = np.ones((8, 4), np.float32)

    def epoch():
        for start in range(0, 20, 8):
            net.forward(x[start : start + 8], training=True)
            net.backward(grad[: len(x[start : start + 8])], need_input_grad=True, accumulate=True)

    epoch()
    tracemalloc.start()
    try:
        epoch()
        before = tracemalloc.take_snapshot()
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        epoch()
        _, peak = tracemalloc.get_traced_memory()
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    arrays = [tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)]
    kept = after.filter_traces(arrays).compare_to(before.filter_traces(arrays), "lineno")
    assert sum(line.size_diff for line in kept) <= 0
    assert peak - held < width * 4  # not even one row of float32


@pytest.mark.skipif(not backends.compiled, reason="needs the compiled core")
@pytest.mark.parametrize("threads", [1, 2])
def test_no_workspace_is_allocated_after_the_first_epoch(threads):
    """What the kernels ask of the system themselves, which tracemalloc does not see."""
    net = fa.Sequential(
        fa.Dense(40, 300, "gelu"), fa.BatchNorm(), fa.PReLU(), fa.Dense(300, 200, "prelu"), fa.LayerNorm(),
        fa.Dropout(0.1), fa.Dense(200, 100, fa.activation("maxout", pieces=2)), fa.Swish(), fa.Dense(100, 10), rng=0,
    )  # fmt: skip
    dense = fa.Sequential(fa.Dense(40, 300, "relu"), fa.Dense(300, 1), rng=0)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(700, 40)).astype(np.float32), rng.integers(0, 10, 700)
    adam, sgd = fa.optim.Adam(), fa.optim.SGD(clip_norm=1.0)

    def epoch():
        for start in range(0, 700, 256):
            some, wanted = x[start : start + 256], labels[start : start + 256]
            net.backward(fa.softmax_cross_entropy(net.forward(some, training=True), wanted).grad)
            adam.step(net)
            y = dense.forward(some, training=True)
            dense.backward(fa.huber(y, np.zeros_like(y)).grad)
            sgd.step(dense)
            dense(some)

    with fa.num_threads(threads):
        epoch()
        epoch()  # blocks have grown to the largest of their use
        before = backends.engine.allocations()
        epoch()
        assert backends.engine.allocations() == before
        assert before > 0


def test_frozen_layers(backend):
    """What is not frozen has the gradients it had; what is frozen has none where that saves work."""
    for kinds in (EVERYTHING, ("dense-tanh", "dense-silu", "dense-square", "dense", "layer-norm")):
        net = build(kinds)
        state = net.random_state()
        step(net)
        full = {s.name: net.gradients[s.start : s.stop].copy() for s in net.segments}
        for which in (0, "3.*", "*.bias", "*.weight", len(kinds) - 1):
            net.unfreeze()
            net.freeze(which)
            net.set_random_state(state)
            net.gradients[...] = 7
            step(net)
            for s in net.segments:
                if not s.frozen:
                    np.testing.assert_allclose(net.gradients[s.start : s.stop], full[s.name], rtol=1e-9, err_msg=s.name)
            net.set_random_state(state)
            rng = np.random.default_rng(3)
            y = net.forward(rng.normal(size=(ROWS, 6)), training=True)
            dx = net.backward(rng.normal(size=y.shape), need_input_grad=True).copy()
            net.unfreeze()
            net.set_random_state(state)
            rng = np.random.default_rng(3)
            y = net.forward(rng.normal(size=(ROWS, 6)), training=True)
            np.testing.assert_allclose(dx, net.backward(rng.normal(size=y.shape), need_input_grad=True), rtol=1e-9)


def test_a_frozen_stack_below_is_not_run_backward():
    calls = []

    class Spy(Shift):
        def backward(self, grad, need_input_grad=True):
            calls.append(need_input_grad)
            return super().backward(grad, need_input_grad)

    net = fa.Sequential(Spy(4), Spy(), fa.Dense(4, 4), Spy(), dtype="float64", rng=0)
    net.freeze(0, 1, "2.weight")
    step(net)
    assert calls == [True]
    net.freeze()
    step(net)
    assert calls == [True]
    net.unfreeze(1)
    step(net)
    assert calls == [True, True, False]


def test_what_is_frozen_is_named_in_many_ways():
    net = build(("dense", "residual-norm", "dense"))
    block = net.layers[1].block
    for which, expected in (
        (1, ["1.0.bias", "1.0.weight", "1.1.bias", "1.1.weight"]),
        (net.layers[1], ["1.0.bias", "1.0.weight", "1.1.bias", "1.1.weight"]),
        (block[1], ["1.1.bias", "1.1.weight"]),
        ("1.*.weight", ["1.0.weight", "1.1.weight"]),
        ("*.bias", ["0.bias", "1.0.bias", "1.1.bias", "2.bias"]),
    ):
        net.freeze(which)
        assert sorted(s.name for s in net.segments if s.frozen) == expected
        assert block[1].frozen == {n.split(".")[-1] for n in expected if n.startswith("1.1.")}
        net.unfreeze(which)
        assert not any(s.frozen for s in net.segments)
    for wrong in (7, "weight", fa.Dense(2, 2), block[2]):
        with pytest.raises(ValueError, match="freeze: expected layers"):
            net.freeze(0, wrong)
    assert not any(s.frozen for s in net.segments)


def test_gradients_accumulate(backend):
    for kinds in (EVERYTHING, ("dense-tanh", "dense-silu")):
        net = build(kinds)
        net.freeze("0.bias")
        state = net.random_state()
        rng = np.random.default_rng(0)
        batches = [(rng.normal(size=(ROWS, 6)), rng.normal(size=(ROWS, net.outputs))) for _ in range(3)]
        total = np.zeros_like(net.gradients)
        for x, g in batches:
            net.forward(x, training=True)
            net.backward(g)
            total += net.gradients
        net.set_random_state(state)
        for i, (x, g) in enumerate(batches):
            net.forward(x, training=True)
            net.backward(g, accumulate=i > 0)
        for s in net.segments:
            if not s.frozen:
                np.testing.assert_allclose(net.gradients[s.start : s.stop], total[s.start : s.stop], rtol=1e-9)


def test_copies_and_pickles(backend):
    """Parameters, buffers, random state and what is frozen go along; the copies then train alike and apart."""
    net = build((*EVERYTHING, "own"), dtype="float32")
    net.freeze("0.*")
    net.metadata["note"] = "kept"
    step(net)
    twins = [copy.deepcopy(net), copy.copy(net), pickle.loads(pickle.dumps(net))]
    for twin in twins:
        assert twin.segments == net.segments
        assert twin.random_state() == net.random_state()
        assert twin.metadata == net.metadata
        assert twin.describe() == net.describe()
        for mine, theirs in (("parameters", net.parameters), ("gradients", net.gradients), ("buffers", net.buffers)):
            np.testing.assert_array_equal(getattr(twin, mine), theirs)
            assert not np.may_share_memory(getattr(twin, mine), theirs)
    expected = step(net)
    for twin in twins:
        np.testing.assert_array_equal(step(twin), expected)
        np.testing.assert_array_equal(twin.gradients, net.gradients)
        np.testing.assert_array_equal(twin.buffers, net.buffers)
        twin.parameters += 1
    assert not np.array_equal(twins[0].parameters, net.parameters)
    # a copy in the middle of a step forgets the step
    net.forward(np.zeros((3, 6), np.float32), training=True)
    with pytest.raises(RuntimeError, match="call forward"):
        copy.deepcopy(net).backward(np.zeros((3, net.outputs), np.float32))


def test_described_networks_come_back():
    net = build((*EVERYTHING, "dense-square", "own", "softmax"))
    described = json.loads(json.dumps(net.describe()))
    twin = network_from(described, "float64", {"Shift": Shift, "square": SQUARE, "Reverse": Reverse})
    assert twin.describe() == net.describe()
    twin.set_parameters(net.named_parameters())
    twin.set_buffers(net.named_buffers())
    twin.set_random_state(json.loads(json.dumps(net.random_state())))
    x = np.random.default_rng(0).normal(size=(4, 6))
    np.testing.assert_array_equal(twin(x), net(x))
    np.testing.assert_array_equal(step(twin), step(net))
    with pytest.raises(ValueError, match=r"unknown activation 'square'.*custom="):
        network_from(described, "float64", {"Shift": Shift})
    with pytest.raises(ValueError, match=r"unknown layer 'Shift'.*custom=\{'Shift'"):
        network_from(described, "float64", {"square": SQUARE})


def test_dropout_resumes_and_draws_anew():
    net = fa.Sequential(fa.Dropout(0.5, inputs=50), rng=3)
    x = np.ones((20, 50), np.float32)
    first, second = net.forward(x, training=True).copy(), net.forward(x, training=True).copy()
    assert not np.array_equal(first, second)
    state = net.random_state()
    assert state == [{"seed": state[0]["seed"], "counter": 2}]
    third = net.forward(x, training=True).copy()
    net.set_random_state(state)
    np.testing.assert_array_equal(net.forward(x, training=True), third)
    seeded = fa.Sequential(fa.Dropout(0.5, inputs=50, seed=state[0]["seed"]), rng=99)
    np.testing.assert_array_equal(seeded.forward(x, training=True), first)
    assert not np.array_equal(fa.Sequential(fa.Dropout(0.5, inputs=50), rng=4).forward(x, training=True), first)
    for wrong in ([], [{}], [{"seed": -1, "counter": 0}], [{"seed": 1}], [{"seed": 2**64, "counter": 0}]):
        with pytest.raises(ValueError, match="expected"):
            net.set_random_state(wrong)


def test_slopes(backend):
    """The slope that each activation had in forward, by central differences of the layer's own function."""
    kinds = (
        "dense-tanh",
        "silu",
        "prelu",
        "swish",
        "tanh",
        "dense-silu",
        "dense-square",
        "dense",
        "dropout",
        "softmax",
    )
    net = build(kinds)
    seen = {}

    class Observer:
        def forward(self, i, layer, x, y):
            given = seen[i - 1][2] if i else x.copy()  # x itself may have been written over
            seen[i] = layer.slope(), given, y.copy()

        def backward(self, i, layer, grad):
            out = None if seen[i][0] is None else np.empty_like(seen[i][0])
            again = layer.slope(out)
            assert again is out
            if out is not None:
                np.testing.assert_array_equal(out, seen[i][0])

    net.observer = Observer()
    step(net)
    h = 1e-6
    for i, layer in enumerate(net.layers):
        slope, x, _ = seen[i]
        if kinds[i] in ("dense", "dropout", "softmax"):
            assert slope is None
            continue
        if isinstance(layer, fa.Dense):
            z = x @ layer.parameters["weight"] + layer.parameters.get("bias", 0)
            function = NaiveFunction.functions[layer.activation.name][0]
        else:
            z, function = x, layer.forward
        np.testing.assert_allclose(slope, (function(z + h) - function(z - h)) / (2 * h), rtol=1e-6, atol=1e-7)
        with pytest.raises(RuntimeError, match="call forward"):
            layer.slope()


def test_observer_sees_every_layer():
    net = build(EVERYTHING)
    seen = []

    class Observer:
        def forward(self, i, layer, x, y):
            assert layer is net.layers[i]
            assert (x.shape, y.shape) == ((ROWS, layer.inputs), (ROWS, layer.outputs))
            seen.append(i)

        def backward(self, i, layer, grad):
            assert grad.shape == (ROWS, layer.outputs)
            seen.append(-i)

    state = net.random_state()
    expected = step(net)
    gradients = net.gradients.copy()
    net.set_random_state(state)
    net.observer = Observer()
    np.testing.assert_array_equal(step(net), expected)
    np.testing.assert_array_equal(net.gradients, gradients)
    count = len(net.layers)
    assert seen == [*range(count), *range(1 - count, 1)]


def test_batch_norm_needs_two_rows_and_averages():
    net = fa.Sequential(fa.BatchNorm(momentum=None, inputs=3), dtype="float64")
    rng = np.random.default_rng(0)
    batches = [rng.normal(i, 1 + i, size=(6, 3)) for i in range(4)]
    for batch in batches:
        net.forward(batch, training=True)
    np.testing.assert_allclose(net.named_buffers()["0.running_mean"], np.mean([b.mean(0) for b in batches], axis=0))
    np.testing.assert_allclose(
        net.named_buffers()["0.running_var"], np.mean([b.var(0, ddof=1) for b in batches], axis=0)
    )
    before = net.buffers.copy()
    with pytest.raises(ValueError, match=r"^BatchNorm.forward: expected at least 2 rows in training, got 1"):
        net.forward(np.zeros((1, 3)), training=True)
    np.testing.assert_array_equal(net.buffers, before)
    assert net(np.zeros((1, 3))).shape == (1, 3)


# ------------------------------------------------------------------------------------------ names and layouts


def test_state_dict_is_pytorchs_layout():
    net = fa.Sequential(
        fa.Dense(3, 5, "relu"), fa.BatchNorm(), fa.Residual(fa.LayerNorm(), fa.Dense(5, 5)), fa.PReLU(), rng=0
    )
    step(net)
    state = net.state_dict()
    assert list(state) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
        "2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias", "3.weight",
    ]  # fmt: skip
    assert state["0.weight"].shape == (5, 3)
    assert state["0.weight"].flags.c_contiguous
    np.testing.assert_array_equal(state["0.weight"], net.named_parameters()["0.weight"].T)
    assert state["1.num_batches_tracked"].dtype == np.int64
    assert state["1.num_batches_tracked"].shape == ()
    assert int(state["1.num_batches_tracked"]) == 1
    state["0.weight"][...] = 0
    assert net.named_parameters()["0.weight"].any()


def test_load_state_dict_by_name_and_by_position():
    net = fa.Sequential(fa.Dense(3, 5, "relu"), fa.BatchNorm(), fa.Dense(5, 2), rng=0)
    other = fa.Sequential(fa.Dense(3, 5, "relu"), fa.BatchNorm(), fa.Dense(5, 2), rng=1, dtype="float64")
    step(net)
    state = net.state_dict()
    other.load_state_dict(state)
    for name, array in {**net.named_parameters(), **net.named_buffers()}.items():
        np.testing.assert_array_equal({**other.named_parameters(), **other.named_buffers()}[name], array)
    # PyTorch counts the ReLU, and old files have no num_batches_tracked
    renamed = {"0.": "hidden.", "1.": "norm.", "2.": "3."}
    by_position = {renamed[k[:2]] + k[2:]: v for k, v in state.items() if not k.endswith("tracked")}
    third = fa.Sequential(fa.Dense(3, 5, "relu"), fa.BatchNorm(), fa.Dense(5, 2), rng=2)
    third.load_state_dict(by_position)
    np.testing.assert_array_equal(third.parameters, net.parameters)
    assert third.named_buffers()["1.num_batches_tracked"][0] == 0

    class Tensor:  # what is asked of a CPU tensor
        def __init__(self, array):
            self.array = array

        def detach(self):
            return self.array

    third.load_state_dict({name: Tensor(2 * array) for name, array in state.items()})
    np.testing.assert_array_equal(third.parameters, 2 * net.parameters)

    before = third.parameters.copy()
    wrong = [
        (
            ValueError,
            r"0.weight to have shape \(5, 3\), \(out, in\) for weights",
            {**state, "0.weight": np.ones((3, 5), "f4")},
        ),
        (
            TypeError,
            "2.bias to be float32, got float64.* network of dtype=.float64",
            {**state, "2.bias": np.ones(2)},
        ),
        (TypeError, "0.bias to be float32, got int64; convert it$", {**state, "0.bias": np.ones(5, np.int64)}),
        (ValueError, "expected values for 0.weight", {k: v for k, v in state.items() if k != "2.bias"}),
        (ValueError, "expected values for 0.weight", {**state, "4.weight": np.ones(3, "f4")}),
        (TypeError, "expected a mapping", [1]),
    ]
    for error, message, values in wrong:
        with pytest.raises(error, match=message):
            third.load_state_dict(values)
    np.testing.assert_array_equal(third.parameters, before)


def test_summary():
    net = fa.Sequential(fa.Dense(20, 64, "gelu"), fa.BatchNorm(), fa.Dropout(0.2), fa.Dense(64, 10), rng=0)
    net.freeze(1)
    text = net.summary(128)
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "memory"]
    assert "0 Dense(20 -> 64" in lines[2]
    assert "(128, 64)" in lines[2]
    assert " 1344 " in lines[2]
    assert "128 (128 frozen)" in lines[3]
    assert str(20 * 64 + 64 + 128 + 640 + 10) in lines[-2]
    assert "workspaces for 128 rows" in lines[-1]
    # what it says of the first layer: parameters and gradients, and for each row the output and the slope
    assert lines[2].endswith(f"{(2 * 1344 + 128 * 2 * 64) * 4 / 1024:.1f} KiB")


def test_kinds_and_decay():
    net = build(("dense-tanh", "layer-norm", "prelu", "swish"))
    assert {s.name: s.kind for s in net.segments} == {
        "0.weight": "weight", "0.bias": "bias", "1.weight": "norm", "1.bias": "norm", "2.weight": "activation",
        "3.beta": "activation",
    }  # fmt: skip
    assert [s.name for s in net.segments if s.decayed] == ["0.weight"]
    starts = [s.start for s in net.segments]
    assert starts == sorted(starts)
    assert all(start % 8 == 0 for start in starts)


# ------------------------------------------------------------------------------------------ one's own


class Scale(fa.Layer):
    """The README's example: y = x * weight, one weight a column."""

    def __init__(self, start=1.0):
        super().__init__()
        self.start = start

    def parameter_specs(self):
        return {"weight": fa.ParameterSpec((self.inputs,), "norm")}

    def initialize(self, rng):
        self.parameters["weight"][...] = self.start

    def forward(self, x, training=False):
        if training:
            self.x = x
        return x * self.parameters["weight"]

    def backward(self, grad, need_input_grad=True):
        np.sum(grad * self.x, axis=0, out=self.gradients["weight"])
        return grad * self.parameters["weight"] if need_input_grad else None

    def describe(self):
        return {"layer": "Scale", "start": self.start}


def test_a_layer_of_ones_own_trains(backend):
    net = fa.Sequential(fa.Dense(8, 16, "gelu"), Scale(0.5), fa.Dense(16, 3), rng=0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    labels = x[:, :3].argmax(axis=1)
    history = fa.fit(net, x, labels, epochs=8, optimizer=fa.optim.Adam(lr=0.01), rng=0, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]
    weight = net.named_parameters()["1.weight"]
    assert weight.shape == (16,)
    assert np.ptp(weight) > 0.01
    twin = network_from(json.loads(json.dumps(net.describe())), "float32", custom={"Scale": Scale})
    twin.set_parameters(net.named_parameters())
    np.testing.assert_array_equal(twin(x.astype(np.float32)), net(x.astype(np.float32)))
    np.testing.assert_array_equal(copy.deepcopy(net)(x.astype(np.float32)), net(x.astype(np.float32)))


class Same(fa.Activation):
    """A subclass of a layer of the library that returns what it is given."""

    def __init__(self):
        super().__init__("identity")

    def forward(self, x, training=False):
        return x

    def backward(self, grad, need_input_grad=True):
        return grad


def test_subclasses_of_the_librarys_layers_are_ones_own(backend):
    net = fa.Sequential(fa.Dense(3, 4, "tanh"), Same(), fa.Dropout(0.5), fa.Activation("silu"), Same(), dtype="float64")
    twin = fa.Sequential(fa.Dense(3, 4, "tanh"), fa.Dropout(0.5), fa.Activation("silu"), dtype="float64")
    twin.set_parameters(net.named_parameters())
    twin.set_random_state([{}, net.random_state()[2], {}])
    rng = np.random.default_rng(0)
    x, grad = rng.normal(size=(6, 3)), rng.normal(size=(6, 4))
    given = grad.copy()
    np.testing.assert_array_equal(net(x), twin(x))
    np.testing.assert_array_equal(net.forward(x, training=True), twin.forward(x, training=True))
    dx = net.backward(grad, need_input_grad=True)
    np.testing.assert_array_equal(grad, given)
    np.testing.assert_array_equal(dx, twin.backward(grad, need_input_grad=True))
    np.testing.assert_array_equal(net.gradients, twin.gradients)


# every layer of the library that has a forward of its own to override, with its arguments
OVERRIDABLE = [
    (fa.Dense, (4, 4, "tanh")),
    (fa.Dense, (4, 4, "prelu")),
    (fa.Activation, ("silu",)),
    (fa.PReLU, ()),
    (fa.Swish, ()),
    (fa.Maxout, (1,)),
    (fa.Dropout, (0.5,)),
    (fa.AlphaDropout, (0.5,)),
    (fa.LayerNorm, ()),
    (fa.BatchNorm, ()),
    (fa.Standardize, ()),
]


def test_every_layer_can_be_overridden():
    assert {kind for kind, _ in OVERRIDABLE} | {fa.Residual} == set(LAYERS.values())


@pytest.mark.parametrize("inside", [False, True], ids=["chain", "residual"])
@pytest.mark.parametrize(("kind", "arguments"), OVERRIDABLE, ids=lambda v: getattr(v, "__name__", None))
def test_a_subclass_that_overrides_forward_is_asked_in_inference_too(kind, arguments, inside, backend):
    class Doubled(kind):
        def forward(self, x, training=False):
            return super().forward(x, training) * 2

    def network(layer):
        layer = fa.Residual(fa.Dense(4, 4), layer) if inside else layer
        return fa.Sequential(fa.Dense(3, 4), layer, rng=0)

    net, plain = network(Doubled(*arguments)), network(kind(*arguments))
    plain.set_parameters(net.named_parameters())
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    first = plain.layers[0].forward(x)
    if inside:
        before, layer = plain.layers[1].block
        expected = 2 * layer.forward(before.forward(first)) + first
    else:
        expected = 2 * plain.layers[1].forward(first)
    for name, outputs in {
        "call": net(x),
        "forward": net.forward(x),
        "outputs_of": net.outputs_of(x)[-1],
        "predict": fa.predict(net, x, batch_size=4),
    }.items():
        np.testing.assert_array_equal(outputs, expected, err_msg=name)


@pytest.mark.parametrize("block", [False, True], ids=["residual", "nested"])
def test_a_subclass_of_residual_that_overrides_forward_is_asked_in_inference_too(block, backend):
    class Twice(fa.Residual):
        def forward(self, x, training=False):
            return super().forward(x, training) * 2

    inner = Twice(fa.Dense(3, 3, "relu"))
    net = fa.Sequential(fa.Residual(inner) if block else inner, rng=0)
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    y = 2 * (inner.block[0].forward(x) + x)
    np.testing.assert_array_equal(net(x), y + x if block else y)
    np.testing.assert_array_equal(net(x), net.forward(x, training=True))


def test_mistakes_of_ones_own_layer_are_told():
    class Wrong(Scale):
        def forward(self, x, training=False):
            return (x * 2).astype(np.float64)

    class Narrow(Scale):
        def backward(self, grad, need_input_grad=True):
            return grad[:, 1:]

    x = np.zeros((4, 3), np.float32)
    net = fa.Sequential(fa.Dense(3, 3), Wrong(), fa.Dense(3, 3))
    for training in (False, True):
        with pytest.raises(
            ValueError, match=r"^Wrong.forward: expected it to return an array of float32 with shape \(4, 3\)"
        ):
            net.forward(x, training=training)
    net = fa.Sequential(fa.Dense(3, 3), Narrow(), fa.Dense(3, 3))
    net.forward(x, training=True)
    with pytest.raises(ValueError, match=r"^Narrow.backward: expected it to return .* \(4, 3\), got .* \(4, 2\)"):
        net.backward(x)
    with pytest.raises(NotImplementedError, match="describe"):
        fa.Sequential(fa.Dense(3, 3), fa.Layer()).describe()


@pytest.mark.parametrize("saves", ["x", "y"])
def test_custom_activation(saves, dtype, backend):
    """softplus as one's own, next to itself by hand."""
    softplus = fa.custom_activation(
        "own_softplus", lambda x: np.logaddexp(x, 0), {"x": logistic, "y": lambda y: -np.expm1(-y)}[saves], saves
    )
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(7, 3)).astype(dtype), rng.normal(size=(3, 4)).astype(dtype)
    grad = rng.normal(size=(7, 4)).astype(dtype)
    z = x.astype(np.float64) @ weight
    tolerance = {"rtol": 100 * np.finfo(dtype).eps, "atol": 20 * np.finfo(dtype).eps}
    y = fa.dense(x, weight, activation=softplus)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, np.log1p(np.exp(z)), **tolerance)
    y, saved = fa.dense_forward(x, weight, activation=softplus)
    dx, dw, db, _ = fa.dense_backward(grad, saved, x, weight)
    dz = grad * logistic(z)
    np.testing.assert_allclose(dx, dz @ weight.T, **tolerance)
    np.testing.assert_allclose(dw, x.T @ dz, **tolerance)
    np.testing.assert_allclose(db, dz.sum(axis=0), **tolerance)
    net = fa.Sequential(fa.Dense(3, 4, softplus), fa.Activation(softplus), dtype=dtype, rng=0)
    y = net.forward(x, training=True)
    dx = net.backward(grad, need_input_grad=True)
    z = x @ net.named_parameters()["0.weight"]
    inner = np.log1p(np.exp(z))
    np.testing.assert_allclose(y, np.log1p(np.exp(inner)), **tolerance)
    slope = grad * logistic(inner) * logistic(z)
    np.testing.assert_allclose(dx, slope @ net.named_parameters()["0.weight"].T, **tolerance)
    twin = copy.deepcopy(net)
    np.testing.assert_array_equal(twin(x), net(x))


def test_custom_activation_mistakes():
    def zero(x):
        return 0 * x

    wrong = [
        (ValueError, "is an activation of the library", ("relu", zero, zero)),
        (ValueError, "is an activation of the library", ("softmax", zero, zero)),
        (ValueError, "expected name to be an identifier", ("my act", zero, zero)),
        (TypeError, "expected value to be a function", ("mine", 1, zero)),
        (ValueError, "expected slope to return numbers of the shape", ("mine", zero, np.sum)),
        (ValueError, "expected saves to be one of x, y", ("mine", zero, zero, "z")),
    ]
    for error, message, arguments in wrong:
        with pytest.raises(error, match=f"^custom_activation: .*{message}"):
            fa.custom_activation(*arguments)


# ------------------------------------------------------------------------------------------ mistakes


def test_widths():
    assert build(("dense", "maxout", "layer-norm")).layers[2].inputs == 3
    wrong = [
        (lambda: fa.Sequential(fa.Dropout(0.5)), r"layer 0 \(Dropout\) does not know its width.*pass inputs="),
        (
            lambda: fa.Sequential(fa.Dense(3, 4), fa.Dense(5, 2)),
            r"layer 1 to take 4 inputs \(layer 0's outputs\), got 5",
        ),
        (lambda: fa.Sequential(fa.Dense(3, 4), fa.LayerNorm(inputs=5)), "layer 1 to take 4 inputs"),
        (lambda: fa.Sequential(fa.Dense(3, 5), fa.Maxout(2)), "a multiple of pieces=2 inputs, got 5"),
        (lambda: fa.Sequential(fa.Dense(3, 5), fa.Residual(fa.Dense(5, 4))), "as many columns as it takes, 5, got 4"),
        (lambda: fa.Residual(fa.Dense(5, 4)), "as many columns as it takes, 5, got 4"),
        (lambda: fa.Sequential(fa.Residual(fa.Dropout())), r"layer 0 \(Residual\) does not know its width"),
        (fa.Residual, "Residual: expected at least one layer"),
        (fa.Sequential, "Sequential: expected at least one layer"),
        (lambda: fa.Dropout(1.0), "Dropout: expected rate to be a number >= 0 and below 1"),
        (lambda: fa.Dropout(-0.1), "Dropout: expected rate"),
        (lambda: fa.AlphaDropout(1.5), "AlphaDropout: expected rate"),
        (lambda: fa.LayerNorm(eps=0), "LayerNorm: expected eps"),
        (lambda: fa.BatchNorm(momentum=2), "BatchNorm: expected momentum"),
        (lambda: fa.Maxout(257), "Maxout: expected pieces from 1 to 256"),
        (lambda: fa.PReLU(init=np.inf), "PReLU: expected init"),
        (lambda: fa.Activation("relo"), "Activation: unknown activation 'relo'"),
    ]
    for make, message in wrong:
        with pytest.raises(ValueError, match=message):
            make()
    shared = fa.Dense(4, 4)
    with pytest.raises(ValueError, match="layer 1 is there twice"):
        fa.Sequential(shared, fa.Residual(shared))
    first = fa.Sequential(fa.Dense(4, 4), fa.Residual(fa.Dense(4, 4)), rng=0)
    x = np.ones((2, 4), np.float32)
    before = first(x)
    for layer in (*first.layers, first.layers[1].block[0]):
        with pytest.raises(ValueError, match=r"layer 1 \(.*\) is part of another network"):
            fa.Sequential(fa.Dense(4, 4), layer)
        fa.Sequential(fa.Dense(4, 4), copy.deepcopy(layer))
    np.testing.assert_array_equal(first(x), before)
    layer = fa.Dense(4, 4)
    with pytest.raises(TypeError, match="Sequential: expected rng to be a seed or a numpy Generator"):
        fa.Sequential(layer, rng="x")
    fa.Sequential(layer, rng=0)  # it was left alone
    for dtype in (None, "float16", ">f4", "flaot32"):
        with pytest.raises(TypeError, match=f"Sequential: expected dtype float32 or float64, got {dtype!r}"):
            fa.Sequential(fa.Dense(4, 4), dtype=dtype)
    with pytest.raises(TypeError, match="positional"):
        fa.LayerNorm(64)  # a width in PyTorch; here it would be eps
    with pytest.raises(TypeError, match="expected layer 1 to be a Layer, got str"):
        fa.Sequential(fa.Dense(3, 3), "relu")


@pytest.mark.parametrize("kind", KINDS)
def test_backward_needs_a_forward(kind):
    net = build((kind,))
    with pytest.raises(RuntimeError, match="call forward"):
        net.backward(np.zeros((ROWS, net.outputs)))
    step(net)
    with pytest.raises(RuntimeError, match="call forward"):
        net.backward(np.zeros((ROWS, net.outputs)))


def test_what_ones_own_layer_keeps_is_not_written_over(backend):
    class Kept(Reverse):
        """Returns an array that it holds on to."""

        def forward(self, x, training=False):
            self.kept = np.linspace(-1, 1, x.size).reshape(x.shape)
            self.copy = self.kept.copy()
            return self.kept

        def backward(self, grad, need_input_grad=True):
            return self.kept

    net = fa.Sequential(fa.Dropout(0.5, inputs=4), Kept(), fa.Dropout(0.5), fa.Activation("tanh"), dtype="float64")
    x = np.zeros((3, 4))
    net(x)
    np.testing.assert_array_equal(net.layers[1].kept, net.layers[1].copy)
    net.forward(x, training=True)
    np.testing.assert_array_equal(net.layers[1].kept, net.layers[1].copy)


@pytest.mark.skipif(len(BACKENDS) < 2, reason="no compiled core")
@pytest.mark.parametrize("kinds", [EVERYTHING, ("dense-tanh", "dense-silu", "dense")], ids=["everything", "dense"])
def test_backends_understand_each_other(kinds):
    """Forward by one and backward by the other, at the first pass and later, and frozen in between."""
    net = build(kinds)
    state = net.random_state()
    step(net)
    expected = net.gradients.copy()
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, 6))
    grad = rng.normal(size=(ROWS, net.outputs))
    for first, second in (("native", "numpy"), ("numpy", "native"), ("native", "native")):
        for g in (grad, np.asfortranarray(grad)):
            net.set_random_state(state)
            net.gradients[...] = 0
            with fa.use_backend(first):
                net.forward(x, training=True)
            net.freeze("0.bias")
            net.unfreeze()
            with fa.use_backend(second):
                net.backward(g)
            np.testing.assert_allclose(net.gradients, expected, rtol=1e-9, atol=1e-12)
