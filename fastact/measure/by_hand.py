"""A training step by the library and by hand in NumPy, and the timing of two functions in turns."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import registry
from ..epilogues import Epilogue
from ..network import Sequential

__all__ = ["NumpyStep", "library_step", "numpy_threads", "time_in_turns"]


def library_step(net: Sequential, optimizer: Any) -> Callable[[np.ndarray, np.ndarray], Any]:
    """A training step as ``fit`` makes it."""
    from ..losses import softmax_cross_entropy

    grad = np.empty((0, net.outputs), net.dtype)

    def step(x: np.ndarray, labels: np.ndarray) -> Any:
        nonlocal grad
        if len(grad) != len(x):
            grad = np.empty((len(x), net.outputs), net.dtype)
        loss, _ = softmax_cross_entropy(net.forward(x, training=True), labels, out=grad)
        net.backward(grad)
        optimizer.step(net)
        return loss

    return step


class NumpyStep:
    """The same training step written by hand in NumPy: buffers made once, everything in place, nothing checked.

    Identity, relu, leaky_relu, sigmoid and tanh are written in place too; other activations are the registry's NumPy
    formulas. Starts from a copy of the network's parameters.
    """

    def __init__(self, net: Sequential, activation: Epilogue, rows: int, lr: float, momentum: float) -> None:
        """Lay out parameters, gradients and workspaces for batches of so many rows."""
        self.parameters, self.gradients = net.parameters.copy(), np.zeros_like(net.parameters)
        self.velocity, self.change = np.zeros_like(net.parameters), np.empty_like(net.parameters)
        dtype = net.dtype

        def views(flat: np.ndarray, kind: str) -> list[np.ndarray]:
            return [flat[s.start : s.stop].reshape(s.shape) for s in net.segments if s.name.endswith(kind)]

        self.weights, self.biases = views(self.parameters, "weight"), views(self.parameters, "bias")
        self.weight_gradients, self.bias_gradients = views(self.gradients, "weight"), views(self.gradients, "bias")
        widths = [weight.shape[1] for weight in self.weights]
        self.outputs = [np.empty((rows, width), dtype) for width in widths]
        self.deltas = [np.empty((rows, width), dtype) for width in widths]
        self.spare = [np.empty((rows, width), dtype) for width in widths]
        self.column, self.ones, self.rows = np.empty((rows, 1), dtype), np.ones(rows, dtype), np.arange(rows)
        self.lr, self.momentum = dtype.type(lr), dtype.type(momentum)
        if activation.learns:
            learned = views(self.parameters, "activation"), views(self.gradients, "activation")
            self.activations = [_learned_by_hand(activation, *pair) for pair in zip(*learned, strict=True)]
        else:
            self.activations = [_by_hand(activation, dtype)] * (len(widths) - 1)

    def forward(self, x: np.ndarray) -> list[Any]:
        """(output, what backward reads) of each hidden layer, and the network's output."""
        saved, y = [], x
        for i, (weight, bias, z) in enumerate(zip(self.weights, self.biases, self.outputs, strict=True)):
            np.matmul(y, weight, out=z)
            y = np.add(z, bias, out=z)
            if i < len(self.activations):
                y, keep = self.activations[i][0](z, self.spare[i])
                saved.append((y, keep))
        return [*saved, y]

    def __call__(self, x: np.ndarray, labels: np.ndarray) -> float:
        """One step; returns the mean loss before it."""
        last = len(self.weights) - 1
        *saved, y = self.forward(x)
        delta = self.deltas[last]
        np.subtract(y, np.maximum.reduce(y, axis=1, keepdims=True, out=self.column), out=delta)
        picked = delta[self.rows, labels]
        np.exp(delta, out=delta)
        np.add.reduce(delta, axis=1, keepdims=True, out=self.column)
        np.divide(delta, self.column, out=delta)
        loss = float(np.log(self.column).mean() - picked.mean())
        delta[self.rows, labels] -= 1
        np.divide(delta, len(x), out=delta)

        for i in range(last, -1, -1):
            np.matmul((saved[i - 1][0] if i else x).T, delta, out=self.weight_gradients[i])
            np.matmul(self.ones, delta, out=self.bias_gradients[i])  # faster than a sum
            if i:
                delta = np.matmul(delta, self.weights[i].T, out=self.deltas[i - 1])
                self.activations[i - 1][1](delta, saved[i - 1][1], self.spare[i - 1])

        direction = self.gradients
        if self.momentum:
            np.multiply(self.velocity, self.momentum, out=self.velocity)
            direction = np.add(self.velocity, self.gradients, out=self.velocity)
        np.multiply(direction, self.lr, out=self.change)
        np.subtract(self.parameters, self.change, out=self.parameters)
        return loss


def _learned_by_hand(activation: Epilogue, weight: np.ndarray, change: np.ndarray) -> tuple[Callable[..., Any], ...]:
    """As ``_by_hand``, with one weight; backward also fills the weight's gradient."""
    entry = registry.LEARNED[activation.name]

    def forward(z: np.ndarray, spare: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return entry.value(z, weight), z

    def backward(delta: np.ndarray, saved: np.ndarray, spare: np.ndarray) -> None:
        change[...] = entry.weight_gradient(delta, saved, weight).sum()
        delta[...] = entry.gradient(delta, saved, weight)

    return forward, backward


def _by_hand(activation: Epilogue, dtype: np.dtype) -> tuple[Callable[..., Any], ...]:
    """forward(z, spare) -> (y, what backward reads), and backward(delta, saved, spare), which scales delta in place."""
    entry, parameters = registry.ACTIVATIONS[activation.name], tuple(activation.parameters.values())
    name, values = activation.name, registry.rounded(parameters, dtype)

    def forward(z: np.ndarray, spare: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if name == "relu":
            np.maximum(z, 0, out=z)
        elif name == "leaky_relu":
            np.multiply(z, values[0], out=spare)
            np.copyto(z, spare, where=z < 0)
        elif name == "tanh":
            np.tanh(z, out=z)
        elif name == "sigmoid":
            np.negative(z, out=z)
            np.exp(z, out=z)
            np.add(z, 1, out=z)
            np.reciprocal(z, out=z)
        elif name != "identity":
            y = registry.value(entry, z, parameters)
            return y, (z if entry.saves == "x" else y)
        return z, z

    def backward(delta: np.ndarray, saved: np.ndarray, spare: np.ndarray) -> None:
        if name == "relu":
            np.multiply(delta, saved > 0, out=delta)
        elif name == "leaky_relu":
            np.multiply(delta, values[0], out=delta, where=saved <= 0)
        elif name == "tanh":
            np.multiply(saved, saved, out=spare)
            np.subtract(1, spare, out=spare)
            np.multiply(delta, spare, out=delta)
        elif name == "sigmoid":
            np.subtract(1, saved, out=spare)
            np.multiply(spare, saved, out=spare)
            np.multiply(delta, spare, out=delta)
        elif name != "identity":
            np.multiply(delta, registry.slope(entry, saved, parameters), out=delta)

    return forward, backward


def time_in_turns(
    first: Callable[..., Any], second: Callable[..., Any], batches: Sequence[tuple[np.ndarray, ...]],
    rounds: int = 41, seconds: float = 0.6,
) -> tuple[float, float]:  # fmt: skip
    """Median seconds per call of two functions, timed in turns so that both see the same machine.

    A round is some calls of one, then as many of the other, each over the batches in order. How many follows from the
    time that the first calls, the warm-up, took.
    """

    def spend(function: Callable[..., Any], calls: int) -> float:
        source = itertools.islice(itertools.cycle(batches), calls)
        began = time.perf_counter()
        for batch in source:
            function(*batch)
        return (time.perf_counter() - began) / calls

    with np.errstate(all="ignore"):  # both go on training; where that leads is not the question here
        warm = sum(min(spend(function, 1) for _ in range(6)) for function in (first, second))
        rounds = min(rounds, max(3, round(seconds / warm)))
        calls = max(1, round(seconds / rounds / warm))
        times = [(spend(first, calls), spend(second, calls)) for _ in range(rounds)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


@contextmanager
def numpy_threads(count: int) -> Iterator[int | None]:
    """Give NumPy's matrix products count threads, if threadpoolctl is there to do so; yields their number if known."""
    try:
        from threadpoolctl import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            threadpool_info,
            threadpool_limits,
        )
    except ImportError:
        yield None
        return
    with threadpool_limits(limits=count, user_api="blas"):
        yield max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=None)
