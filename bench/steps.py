"""Whole training steps against other libraries: python bench/steps.py [--threads N] [--isa avx2|avx512]

A step is forward, softmax cross-entropy, backward and the optimiser's update, float32, on batches that take turns.
PyTorch runs eagerly with SGD and with Adam (its default, and fused=True), JAX as one jitted function with donated
parameters, NumPy as a person writes it by hand (in place where that is natural). All start from the same weights, and
before anything is timed the losses of the first steps must agree. "policy" is inference of one row.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import rounds

STEPS = {  # (batch; layers), and how many times the best of PyTorch and JAX is wanted
    (32, (16, 64, 64, 4)): (15, 4),
    (64, (784, 128, 10)): (1.8, 1.2),
    (128, (64, 256, 256, 10)): (1.6, 1.2),
    (256, (784, 512, 512, 10)): (1.2, 1.05),
    (1024, (784, 1024, 1024, 10)): (1.1, 1.05),
}
POLICY = (4, 120, 84, 2)
BATCHES = 8
RATES = {"sgd": 0.01, "adam": 1e-4}
CHECKED = 4  # steps whose losses must agree


def data(batch: int, layers: list[int]) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Batches of x, their labels, and the initial weights (inputs, outputs)."""
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((batch, layers[0])).astype(np.float32) for _ in range(BATCHES)]
    labels = [rng.integers(0, layers[-1], batch) for _ in range(BATCHES)]
    weights = [(rng.standard_normal((a, b)) / a**0.5).astype(np.float32) for a, b in itertools.pairwise(layers)]
    return xs, labels, weights


def in_turn(step: Callable[[Any, Any], Any], xs: list[Any], labels: list[Any]) -> rounds.Call:
    """A call that takes the next batch each time."""
    turn = 0

    def call() -> Any:
        nonlocal turn
        turn = (turn + 1) % BATCHES
        return step(xs[turn], labels[turn])

    return call


def use_fastact(threads: int) -> Callable[..., rounds.Call]:
    import fastact as fa

    fa.set_num_threads(threads)

    def make(optimizer: str, act: str, batch: int, layers: list[int]) -> rounds.Call:
        xs, labels, weights = data(batch, layers)
        pairs = list(itertools.pairwise(layers))
        dense = [fa.Dense(a, b, act if i < len(pairs) - 1 else None) for i, (a, b) in enumerate(pairs)]
        net = fa.Sequential(*dense, rng=0)
        values = {name: np.zeros_like(p) for name, p in net.named_parameters().items()}
        net.set_parameters(values | {f"{i}.weight": w for i, w in enumerate(weights)})
        if optimizer == "policy":
            return in_turn(lambda x, _: net(x), xs, labels)
        update = fa.optim.SGD(lr=RATES["sgd"]) if optimizer == "sgd" else fa.optim.Adam(lr=RATES["adam"])
        grad = np.empty((batch, layers[-1]), np.float32)

        def step(x: np.ndarray, y: np.ndarray) -> float:
            z = net.forward(x, training=True)
            loss, _ = fa.softmax_cross_entropy(z, y, out=grad)
            net.backward(grad)
            update.step(net)
            return loss

        return in_turn(step, xs, labels)

    return make


def use_numpy(threads: int) -> Callable[..., rounds.Call]:
    def make(optimizer: str, act: str, batch: int, layers: list[int]) -> rounds.Call:
        if act == "gelu" or optimizer == "adam":
            raise NotImplementedError
        xs, labels, weights = data(batch, layers)
        biases = [np.zeros(w.shape[1], np.float32) for w in weights]
        rows, rate = np.arange(batch), np.float32(RATES["sgd"])

        def forward(x: np.ndarray) -> list[np.ndarray]:
            outputs = [x]
            for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
                z = outputs[-1] @ w
                z += b
                if i < len(weights) - 1:
                    np.maximum(z, 0, out=z) if act == "relu" else np.tanh(z, out=z)
                outputs.append(z)
            return outputs

        def step(x: np.ndarray, y: np.ndarray) -> float:
            outputs = forward(x)
            p = outputs.pop()
            p -= p.max(axis=1, keepdims=True)
            chosen = p[rows, y]
            np.exp(p, out=p)
            total = p.sum(axis=1, keepdims=True)
            loss = float(np.mean(np.log(total[:, 0]) - chosen))
            p /= total
            p[rows, y] -= 1
            p /= batch
            grad = p
            for i in range(len(weights) - 1, -1, -1):
                below = outputs[i]
                dw, db = below.T @ grad, grad.sum(axis=0)
                if i:
                    grad = grad @ weights[i].T
                    grad *= below > 0 if act == "relu" else 1 - below * below
                dw *= rate
                weights[i] -= dw
                biases[i] -= rate * db
            return loss

        return in_turn(lambda x, _: forward(x)[-1], xs, labels) if optimizer == "policy" else in_turn(step, xs, labels)

    return make


def use_torch(threads: int, fused: bool = False) -> Callable[..., rounds.Call]:
    import torch

    torch.set_num_threads(threads)
    kinds = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}

    def make(optimizer: str, act: str, batch: int, layers: list[int]) -> rounds.Call:
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

    return make


def use_jax(threads: int) -> Callable[..., rounds.Call]:
    import jax
    from jax import numpy as jnp

    def make(optimizer: str, act: str, batch: int, layers: list[int]) -> rounds.Call:
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

    return make


LIBRARIES: dict[str, Callable[[int], Callable[..., rounds.Call]]] = {
    "fastact": use_fastact,
    "torch": use_torch,
    "torch fused": lambda threads: use_torch(threads, fused=True),
    "jax": use_jax,
    "numpy": use_numpy,
}


def agree(libraries: list[str]) -> None:
    """Stop unless the first losses of all libraries are the same, for each optimiser and activation."""
    batch, layers = 32, [16, 64, 64, 4]
    for optimizer in RATES:
        for act in ("relu", "tanh", "gelu"):
            losses = {}
            for library in libraries:
                try:
                    call = LIBRARIES[library](1)(optimizer, act, batch, layers)
                except NotImplementedError:
                    continue
                losses[library] = [float(call()) for _ in range(CHECKED)]
            for library, values in losses.items():
                if not np.allclose(values, losses["fastact"], rtol=2e-4):
                    raise SystemExit(f"{library} trains something else: {optimizer}, {act}: {losses}")


def main() -> None:
    """Measure and print tables of microseconds and of ratios to the best of PyTorch and to JAX."""
    parser = rounds.parser(__doc__)
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
    parser.add_argument("--optimizers", default="sgd,adam")
    parser.add_argument("--activations", default="relu,tanh,gelu")
    parser.add_argument("--check", action="store_true", help="only compare the first losses")
    parser.add_argument("--shapes", default="0,1,2,3,4,policy", help="rows of the table, by number")
    options = parser.parse_args()
    if options.serve:
        rounds.serve(LIBRARIES, options)
        return
    names = options.libraries.split(",")
    if options.check:
        agree(names)
        return
    subprocess.run([sys.executable, __file__, "--check", "--libraries", options.libraries], check=True)
    shapes = options.shapes.split(",")
    results = []
    with rounds.Rounds(__file__, names, options) as bench:
        print(f"{options.threads} thread(s), {options.isa}, {options.clock} clock: microseconds a step")
        print(f"{'':44}" + "".join(f"{n:>12}" for n in names) + f"{'torch/':>9}{'wanted':>7}{'jax/':>7}{'wanted':>7}")

        def measure(optimizer: str, act: str, batch: int, layers: tuple[int, ...], wanted: tuple[float, float]) -> None:
            best = bench.measure(optimizer, act, batch, layers)
            torch = min((t for n, t in best.items() if n.startswith("torch")), default=math.nan)
            ratios = torch / best["fastact"], best.get("jax", math.nan) / best["fastact"]
            label = f"{optimizer:7}{act:5} {batch:5}; {'-'.join(map(str, layers))}"
            print(f"{label:44}" + "".join(f"{1e6 * best.get(n, math.nan):12.2f}" for n in names), end="")
            print(f"{ratios[0]:9.2f}{wanted[0]:7g}{ratios[1]:7.2f}{wanted[1]:7g}", flush=True)
            results.append(
                {"optimizer": optimizer, "activation": act, "batch": batch, "layers": layers, "seconds": best}
            )

        for optimizer in options.optimizers.split(","):
            for act in options.activations.split(","):
                for i, ((batch, layers), wanted) in enumerate(STEPS.items()):
                    if str(i) in shapes:
                        measure(optimizer, act, batch, layers, wanted)
        if "policy" in shapes:
            measure("policy", "relu", 1, POLICY, (1, 1))
    if options.save:
        rounds.save(f"steps-{options.isa}-{options.threads}t", options, names, {"rows": results})


if __name__ == "__main__":
    main()
