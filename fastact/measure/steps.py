"""Whole training steps: forward, softmax cross-entropy, backward and the optimiser's update, float32.

Batches take turns. PyTorch runs eagerly with SGD and with Adam (its default, and fused=True), JAX as one jitted
function with donated parameters, NumPy as a person writes it (``by_hand``). All start from the same weights, and the
losses of their first steps must agree. "policy" is inference of one row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .processes import Repeated

UNIT, ROUNDS, SECONDS = "microseconds a step", 5, 0.05
PEERS = ("torch", "torch fused", "jax", "numpy")
SHAPES = (
    (32, 16, 64, 64, 4),
    (64, 784, 128, 10),
    (128, 64, 256, 256, 10),
    (256, 784, 512, 512, 10),
    (1024, 784, 1024, 1024, 10),
)
POLICY = (1, 4, 120, 84, 2)
BATCHES = 8
RATES = {"sgd": 0.01, "adam": 1e-4}
CHECKED = 4  # steps whose losses must agree


def data(batch: int, layers: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Batches of x, their labels, and the initial weights (inputs, outputs)."""
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((batch, layers[0])).astype(np.float32) for _ in range(BATCHES)]
    labels = [rng.integers(0, layers[-1], batch) for _ in range(BATCHES)]
    weights = [(rng.standard_normal((a, b)) / a**0.5).astype(np.float32) for a, b in itertools.pairwise(layers)]
    return xs, labels, weights


def in_turn(step: Callable[[Any, Any], Any], xs: list[Any], labels: list[Any]) -> Repeated:
    """A call that takes the next batch each time."""
    turns = itertools.cycle(list(zip(xs, labels, strict=True)))

    def call() -> Any:
        return step(*next(turns))

    return Repeated(call, lambda: np.array([np.array(call()) for _ in range(CHECKED)]))


def network(act: str, layers: Sequence[int], weights: list[np.ndarray]) -> Any:
    import fastact as fa

    pairs = list(itertools.pairwise(layers))
    dense = [fa.Dense(a, b, act if i < len(pairs) - 1 else None) for i, (a, b) in enumerate(pairs)]
    net = fa.Sequential(*dense, rng=0)
    values = {name: np.zeros_like(p) for name, p in net.named_parameters().items()}
    net.set_parameters(values | {f"{i}.weight": w for i, w in enumerate(weights)})
    return net


def use_fastact() -> Callable[..., Repeated]:
    from .. import optim
    from .by_hand import library_step

    def prepare(optimizer: str, act: str, batch: int, layers: Sequence[int]) -> Repeated:
        xs, labels, weights = data(batch, layers)
        net = network(act, layers, weights)
        if optimizer == "policy":
            return in_turn(lambda x, _: net(x), xs, labels)
        update = optim.SGD(lr=RATES["sgd"]) if optimizer == "sgd" else optim.Adam(lr=RATES["adam"])
        return in_turn(library_step(net, update), xs, labels)

    return prepare


def use_numpy() -> Callable[..., Repeated]:
    import fastact as fa

    from .by_hand import NumpyStep

    def prepare(optimizer: str, act: str, batch: int, layers: Sequence[int]) -> Repeated:
        if act == "gelu" or optimizer == "adam":  # gelu is the registry's formula, nothing to write by hand
            raise NotImplementedError
        xs, labels, weights = data(batch, layers)
        step = NumpyStep(network(act, layers, weights), fa.activation(act), batch, RATES["sgd"], momentum=0)
        call = (lambda x, _: step.forward(x)[-1]) if optimizer == "policy" else step
        return in_turn(call, xs, labels)

    return prepare


def use_torch(fused: bool = False) -> Callable[..., Repeated]:
    import torch

    kinds = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}

    def prepare(optimizer: str, act: str, batch: int, layers: Sequence[int]) -> Repeated:
        xs, labels, weights = data(batch, layers)
        modules: list[Any] = []
        for w in weights:
            linear = torch.nn.Linear(*w.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.zero_()
            modules += [linear, kinds[act]()]
        net = torch.nn.Sequential(*modules[:-1])
        xs, labels = [torch.from_numpy(x) for x in xs], [torch.from_numpy(y) for y in labels]
        if optimizer == "policy":
            if fused:
                raise NotImplementedError

            def policy(x: Any, _: Any) -> Any:
                with torch.inference_mode():
                    return net(x)

            return in_turn(policy, xs, labels)
        kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
        update = kind(net.parameters(), lr=RATES[optimizer], fused=fused or None)
        loss_of = torch.nn.CrossEntropyLoss()

        def step(x: Any, y: Any) -> Any:
            loss = loss_of(net(x), y)
            update.zero_grad()
            loss.backward()
            update.step()
            return loss.detach()

        return in_turn(step, xs, labels)

    return prepare


def use_jax() -> Callable[..., Repeated]:
    import jax
    from jax import numpy as jnp

    def prepare(optimizer: str, act: str, batch: int, layers: Sequence[int]) -> Repeated:
        xs, labels, weights = data(batch, layers)
        function = {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": lambda z: jax.nn.gelu(z, approximate=False)}[act]
        rate = RATES.get(optimizer, 0)
        xs, labels = [jnp.asarray(x) for x in xs], [jnp.asarray(y, jnp.int32) for y in labels]
        parameters = [(jnp.array(w), jnp.zeros(w.shape[1], jnp.float32)) for w in weights]

        def forward(parameters: Any, x: Any) -> Any:
            for i, (w, b) in enumerate(parameters):
                x = x @ w + b
                if i < len(parameters) - 1:
                    x = function(x)
            return x

        if optimizer == "policy":
            policy = jax.jit(forward)
            return in_turn(lambda x, _: policy(parameters, x).block_until_ready(), xs, labels)

        def loss_of(parameters: Any, x: Any, y: Any) -> Any:
            z = jax.nn.log_softmax(forward(parameters, x))
            return -jnp.mean(z[jnp.arange(batch), y])

        def sgd(state: Any, x: Any, y: Any) -> Any:
            loss, grad = jax.value_and_grad(loss_of)(state, x, y)
            return jax.tree.map(lambda p, g: p - rate * g, state, grad), loss

        def adam(state: Any, x: Any, y: Any) -> Any:
            values, first, second, count = state
            loss, grad = jax.value_and_grad(loss_of)(values, x, y)
            count = count + 1
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grad)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grad)
            a, b = rate / (1 - 0.9**count), 1 / (1 - 0.999**count)
            values = jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v * b) + 1e-8), values, first, second)
            return (values, first, second, count), loss

        state: Any = parameters
        if optimizer == "adam":
            state = parameters, *(jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)), jnp.float32(0)
        jitted = jax.jit(sgd if optimizer == "sgd" else adam, donate_argnums=0)

        def step(x: Any, y: Any) -> Any:
            nonlocal state
            state, loss = jitted(state, x, y)
            return loss.block_until_ready()

        return in_turn(step, xs, labels)

    return prepare


LIBRARIES: dict[str, Callable[[], Callable[..., Repeated]]] = {
    "fastact": use_fastact,
    "torch": use_torch,
    "torch fused": lambda: use_torch(fused=True),
    "jax": use_jax,
    "numpy": use_numpy,
}


@dataclass(frozen=True)
class Row:
    optimizer: str
    activation: str
    shape: tuple[int, ...]  # batch, then the layers' widths
    tolerance = (2e-4, 1e-5)
    scale = 1e-3

    def __str__(self) -> str:
        return f"{self.optimizer}-{self.activation}-{'x'.join(map(str, self.shape))}"

    def request(self, library: str) -> tuple[Any, ...]:
        return self.optimizer, self.activation, self.shape[0], self.shape[1:]


def rows(
    optimizer: Sequence[str] = ("sgd", "adam", "policy"), activation: Sequence[str] = ("relu", "tanh", "gelu"),
    shape: Sequence[str] = (),
) -> Iterator[Row]:  # fmt: skip
    """A shape is "64x784x128x10": batch and widths. "policy" is measured with relu alone."""
    shapes = [tuple(map(int, text.split("x"))) for text in shape]
    for kind, act in itertools.product(optimizer, activation):
        if kind != "policy":
            yield from (Row(kind, act, size) for size in shapes or SHAPES)
        elif act == "relu":
            yield from (Row(kind, act, size) for size in shapes or (POLICY,))
