"""Any sequence of public calls on a network: each backward has the gradients of its own forward, or is refused."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import fastact as fa
from fastact import backends

WIDTH = 6
ROWS = st.sampled_from([1, 2, 3, 8, 33])


class Fails(fa.Layer):
    """Passes x on, doubled; raises where ``fails`` says so."""

    fails: str | None = None
    error: type[BaseException] = RuntimeError

    def check(self, where):
        if Fails.fails == where:
            raise Fails.error(f"{where} failed")

    def forward(self, x, training=False):
        self.check("forward" if training else "inference")
        return 2 * x

    def backward(self, grad, need_input_grad=True):
        self.check("backward")
        return 2 * grad

    def describe(self):
        return {"layer": "Fails"}


SMOOTH = {
    "dense": lambda: fa.Dense(WIDTH, WIDTH),
    "tanh": lambda: fa.Dense(WIDTH, WIDTH, "tanh"),
    "gelu": lambda: fa.Dense(WIDTH, WIDTH, "gelu", bias=False),
    "swish": lambda: fa.Dense(WIDTH, WIDTH, "swish"),
    "in place": lambda: fa.Activation("sigmoid"),
    "reads x": lambda: fa.Activation("silu"),
    "softmax": lambda: fa.Activation("softmax"),
    "layer norm": fa.LayerNorm,
    "batch norm": fa.BatchNorm,
    "dropout": lambda: fa.Dropout(0.3, seed=5),
    "residual": lambda: fa.Residual(fa.LayerNorm(), fa.Dense(WIDTH, WIDTH, "tanh"), Fails()),
    "fails": Fails,
}
KINKS = {
    "relu": lambda: fa.Dense(WIDTH, WIDTH, "relu"),
    "maxout": lambda: fa.Dense(WIDTH, WIDTH, fa.activation("maxout", pieces=3)),
    "prelu": lambda: fa.PReLU(per_channel=True),
    "narrow": lambda: fa.Residual(fa.Dense(WIDTH, 2 * WIDTH), fa.Maxout(2)),
}


class Watcher:
    """An observer: the network goes layer by layer."""

    def forward(self, i, layer, x, y):
        pass

    def backward(self, i, layer, grad):
        pass


class Model:
    """The same layers, numbers and random state in float64, each layer in a network of its own: nothing is shared."""

    def __init__(self, net):
        self.nets = [fa.Sequential(copy.deepcopy(layer), dtype="float64") for layer in net.layers]
        for name in ("parameters", "buffers"):
            named = getattr(net, f"named_{name}")()
            for i, one in enumerate(self.nets):
                own = {key.removeprefix(f"{i}."): array for key, array in named.items() if key.startswith(f"{i}.")}
                getattr(one, f"set_{name}")({f"0.{key}": array.astype(np.float64) for key, array in own.items()})
        for i, (one, state) in enumerate(zip(self.nets, net.random_state(), strict=True)):
            one.set_random_state([state])
            frozen = {name.removeprefix(f"{i}.") for name in net.frozen if name.startswith(f"{i}.")}
            if held := [name for name in one.named_buffers() if name.removeprefix("0.") in frozen]:
                one.freeze(*held)

    def forward(self, x, training=False):
        for one in self.nets:
            x = np.array(one.forward(x, training))
        return x

    def backward(self, grad):
        for one in reversed(self.nets):
            grad = np.array(one.backward(grad, need_input_grad=True))
        return grad

    def named(self, what):
        return {
            name.replace("0", str(i), 1): array
            for i, one in enumerate(self.nets)
            for name, array in getattr(one, f"named_{what}")().items()
        }


class Network(RuleBasedStateMachine):
    """The network, and what is known of it: the model of the forward that waits for its backward."""

    @initialize(
        single=st.booleans(),
        kinds=st.lists(st.sampled_from([*SMOOTH, *KINKS]), min_size=2, max_size=6),
        plain=st.sampled_from([True, False, False, False]),
        seed=st.integers(0, 99),
    )
    def build(self, single, kinds, plain, seed):
        Fails.fails = None
        if plain:  # a compiled stack
            kinds = [kind for kind in kinds if kind in ("dense", "tanh", "gelu", "relu")] or ["tanh"]
        single = single and not any(kind in KINKS for kind in kinds)
        self.rng = np.random.default_rng(seed)
        layers = [{**SMOOTH, **KINKS}[kind]() for kind in kinds]
        self.net = fa.Sequential(fa.Dense(WIDTH, WIDTH), *layers, dtype="float32" if single else "float64", rng=seed)
        self.batch_norm = "batch norm" in kinds
        self.tolerance = {"rtol": 2e-3, "atol": 2e-4} if single else {"rtol": 1e-9, "atol": 1e-11}
        self.waiting = None  # model, x and what x was in the training forward that backward may follow
        self.doubtful = False
        self.backend = backends.NATIVE if backends.compiled else "numpy"

    def array(self, rows):
        return self.rng.normal(size=(rows, WIDTH)).astype(self.net.dtype)

    def close(self, found, expected, what):
        np.testing.assert_allclose(found, expected, err_msg=what, **self.tolerance)

    @rule(rows=ROWS, layout=st.sampled_from(["plain", "fortran", "sliced"]))
    def forward(self, rows, layout):
        assume(rows > 1 or not self.batch_norm)
        x = self.array(rows)
        if layout == "fortran":
            x = np.asfortranarray(x)
        elif layout == "sliced":
            x = np.repeat(x, 2, axis=1)[:, ::2]
        before, model = x.copy(), Model(self.net)
        with fa.use_backend(self.backend):
            y = self.net.forward(x, training=True)
        expected = model.forward(x.astype(np.float64), training=True)
        self.close(y, expected, "forward")
        for name, array in self.net.named_buffers().items():
            self.close(array, model.named("buffers")[name], name)
        np.testing.assert_array_equal(x, before)
        self.waiting, self.doubtful = (model, x, before), False

    @rule(rows=ROWS)
    def infer(self, rows):
        x = self.array(rows)
        with fa.use_backend(self.backend):
            y = self.net(x)
            outputs = self.net.outputs_of(x)
        self.close(y, Model(self.net).forward(x.astype(np.float64)), "inference")
        np.testing.assert_allclose(outputs[-1], y, rtol=1e-5, atol=1e-6)

    @rule(rows=ROWS)
    def infer_elsewhere(self, rows):
        x, found = self.array(rows), []
        thread = threading.Thread(target=lambda: found.append(self.net(x)))
        thread.start()
        thread.join()
        self.close(found[0], Model(self.net).forward(x.astype(np.float64)), "inference in another thread")

    @rule(rows=ROWS, need=st.booleans(), accumulate=st.booleans(), parameters=st.booleans())
    def forward_and_backward(self, rows, need, accumulate, parameters):
        self.forward(rows, "plain")
        self.backward(need, accumulate, parameters)

    @rule(rows=ROWS)
    def passes_with_and_without(self, rows):
        """A whole pass, one of which nothing follows, and one more."""
        self.forward_and_backward(rows, True, False, True)
        self.forward(2, "plain")
        self.forward_and_backward(rows + 1, True, False, True)

    @rule(need=st.booleans(), accumulate=st.booleans(), parameters=st.booleans())
    def backward(self, need, accumulate, parameters):
        if self.waiting is None:
            with pytest.raises(RuntimeError, match="each backward needs its own"):
                self.net.backward(self.array(3), need)
            return
        model, x, before = self.waiting
        grad = self.array(len(x))
        gradients, given = self.net.gradients.copy(), grad.copy()
        doubtful, self.doubtful, self.waiting = self.doubtful, False, None
        try:
            with fa.use_backend(self.backend):
                dx = self.net.backward(grad, need, accumulate, parameters)
        except RuntimeError:
            assert doubtful
            return
        expected = model.backward(grad.astype(np.float64))
        np.testing.assert_array_equal(grad, given)
        np.testing.assert_array_equal(x, before)
        if need or not parameters:
            self.close(dx, expected, "dx")
        else:
            assert dx is None
        after, wanted = self.net.named_gradients(), model.named("gradients")
        if not parameters:
            np.testing.assert_array_equal(self.net.gradients, gradients)
            return
        for s in self.net.segments:
            if not s.frozen:
                old = gradients[s.start : s.stop].reshape(s.shape) if accumulate else 0
                self.close(after[s.name] - old, wanted[s.name], s.name)

    @precondition(lambda self: self.waiting is not None and not self.doubtful)
    @rule(wrong=st.sampled_from(["rows", "columns", "dtype"]))
    def backward_of_something_else(self, wrong):
        rows = len(self.waiting[1])
        grad = self.array(rows + 1 if wrong == "rows" else rows)
        grad = grad[:, :-1] if wrong == "columns" else grad
        grad = grad.astype(np.float16) if wrong == "dtype" else grad
        gradients = self.net.gradients.copy()
        with pytest.raises((ValueError, TypeError), match=r"Sequential\.backward: expected|expected float32"):
            self.net.backward(grad)
        np.testing.assert_array_equal(self.net.gradients, gradients)

    @rule(wrong=st.sampled_from(["columns", "dtype", "list"]), training=st.booleans())
    def forward_of_something_else(self, wrong, training):
        x = {"columns": self.array(3)[:, 1:], "dtype": self.array(3).astype(np.int64), "list": ["a"]}[wrong]
        with pytest.raises((ValueError, TypeError)):
            self.net.forward(x, training=training)
        self.doubtful = self.doubtful or training  # backward may follow the forward before, or be refused

    @precondition(lambda self: any(isinstance(one, Fails) for one in self.net.layers))
    @rule(
        where=st.sampled_from(["forward", "backward", "inference"]),
        error=st.sampled_from([RuntimeError, KeyboardInterrupt, MemoryError]),
        rows=ROWS,
    )
    def fail(self, where, error, rows):
        assume(rows > 1 or not self.batch_norm)
        assume(where != "backward" or (self.waiting is not None and not self.doubtful))
        x, grad = self.array(rows), None if self.waiting is None else self.array(len(self.waiting[1]))
        call = {
            "forward": lambda: self.net.forward(x, training=True),
            "backward": lambda: self.net.backward(grad, need_input_grad=True),
            "inference": lambda: self.net(x),
        }[where]
        Fails.fails, Fails.error = where, error
        try:
            with pytest.raises(error):
                call()
        finally:
            Fails.fails = None
        if where != "inference":
            self.waiting = None

    @rule(rows=ROWS, training=st.booleans())
    def layers_alone(self, rows, training):
        assume(rows > 1 or not self.batch_norm)
        model, before = Model(self.net), self.waiting is not None
        for layer, twin in zip(self.net.layers, model.nets, strict=True):
            x = self.array(rows)
            given = x.copy()
            y, expected = np.array(layer.forward(x, training)), twin.forward(x.astype(np.float64), training)
            np.testing.assert_array_equal(x, given)
            self.close(y, expected, "a layer alone")
            if training:
                grad = self.array(rows)
                given = grad.copy()
                dx = layer.backward(grad, True)
                np.testing.assert_array_equal(grad, given)
                self.close(dx, twin.backward(grad.astype(np.float64), need_input_grad=True), "dx of a layer alone")
        if training:
            self.waiting = None
            if before:
                self.backward(True, False, True)  # the network's own forward is the last no longer

    @rule()
    def a_pass_with_all_frozen(self):
        frozen = self.net.frozen
        self.forward(2, "plain")
        self.net.freeze()
        self.backward(False, False, True)
        self.net.unfreeze()
        self.backward(True, False, True)  # refused
        if frozen:
            self.net.freeze(*frozen)

    @rule(which=st.sampled_from([0, -1, "*.bias", "*.weight", "*"]), frozen=st.booleans())
    def freeze(self, which, frozen):
        which = len(self.net.layers) + which if which == -1 else which
        try:
            (self.net.freeze if frozen else self.net.unfreeze)(which)
        except ValueError:
            assert which not in (0, "*.weight", "*")

    @rule(on=st.booleans())
    def observe(self, on):
        self.net.observer = Watcher() if on else None

    @rule(name=st.sampled_from(["native", "numpy"]))
    def change_backend(self, name):
        self.backend = name if backends.compiled else "numpy"

    @rule(way=st.sampled_from(["deepcopy", "pickle", "copy"]))
    def go_on_with_a_copy(self, way):
        old = self.net
        self.net = {"deepcopy": copy.deepcopy, "copy": copy.copy}.get(way, lambda n: pickle.loads(pickle.dumps(n)))(old)
        assert self.net.frozen == old.frozen
        np.testing.assert_array_equal(self.net.parameters, old.parameters)
        self.waiting = None

    @precondition(lambda self: self.waiting is None)
    @rule()
    def step(self):
        fa.optim.SGD(0.01).step(self.net)

    @rule(factor=st.floats(0.5, 1.5))
    def set_parameters(self, factor):
        self.waiting = None  # what backward would read is no longer what forward read
        self.net.set_parameters(
            {name: array * array.dtype.type(factor) for name, array in self.net.named_parameters().items()}
        )
        self.net.gradients[...] = 0
        self.net.forward(self.array(4), training=True)
        self.net.backward(self.array(4))

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "net"):
            assert np.isfinite(self.net.parameters).all()


EXAMPLES = int(os.environ.get("FASTACT_STATES", "40"))  # tests/README.md has the long run, under sanitizers
Network.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    derandomize=EXAMPLES <= 40,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestStates = Network.TestCase
