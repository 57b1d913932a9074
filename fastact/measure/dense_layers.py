"""Dense layers: y = act(x @ w + b), and backward (dz, db, dw, dx).

NumPy runs matmul(out=), add and the activation in place; PyTorch linear and the activation in inference mode, and its
autograd for backward; JAX jit. fastact writes to given arrays as in a training step. JAX's products take no notice of
what holds the others to AVX2.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .processes import Repeated

UNIT, ROUNDS, SECONDS = "microseconds a call", 5, 0.05
PEERS = ("numpy", "torch")  # "jax" is measured where it is asked for

SHAPES = [
    (1, 64, 64), (1, 784, 512), (8, 16, 64), (32, 16, 64), (32, 64, 64), (64, 784, 128), (64, 128, 10),
    (128, 256, 256), (128, 256, 10), (256, 784, 512), (256, 512, 512), (1024, 784, 1024), (1024, 1024, 1024),
    (1024, 1024, 10), (4096, 512, 512),
]  # fmt: skip


def arrays(shape: tuple[int, ...], dtype: str) -> list[np.ndarray]:
    m, k, n = shape
    rng = np.random.default_rng(0)
    sizes = ((m, k), (k, n), (n,), (m, n))
    x, weight, bias, grad = (rng.standard_normal(size).astype(dtype) for size in sizes)
    return [x, weight / weight.dtype.type(k**0.5), bias, grad]


def use_fastact() -> Callable[..., Repeated]:
    from .. import functional as fa

    def prepare(direction: str, act: str, shape: tuple[int, ...], dtype: str) -> Repeated:
        x, weight, bias, grad = arrays(shape, dtype)
        y = np.empty_like(grad)
        if direction == "forward":
            return Repeated(lambda: fa.dense(x, weight, bias, act, out=y))
        saved = fa.dense_forward(x, weight, bias, act)[1]
        dx, dw, db = np.empty_like(x), np.empty_like(weight), np.empty_like(bias)

        def backward() -> np.ndarray:
            fa.dense_backward(grad, saved, x, weight, out_input=dx, out_weight=dw, out_bias=db)
            return dx

        return Repeated(backward)

    return prepare


def use_numpy() -> Callable[..., Repeated]:
    def prepare(direction: str, act: str, shape: tuple[int, ...], dtype: str) -> Repeated:
        if act != "relu":
            raise NotImplementedError(act)
        x, weight, bias, grad = arrays(shape, dtype)
        y, dz, dx, dw, db = (np.empty_like(a) for a in (grad, grad, x, weight, bias))

        def forward() -> np.ndarray:
            np.matmul(x, weight, out=y)
            np.add(y, bias, out=y)
            return np.maximum(y, 0, out=y)

        def backward() -> np.ndarray:
            np.multiply(grad, y > 0, out=dz)
            np.sum(dz, axis=0, out=db)
            np.matmul(x.T, dz, out=dw)
            return np.matmul(dz, weight.T, out=dx)

        forward()
        return Repeated(forward if direction == "forward" else backward)

    return prepare


def use_torch() -> Callable[..., Repeated]:
    import torch
    from torch.nn import functional as f

    def prepare(direction: str, act: str, shape: tuple[int, ...], dtype: str) -> Repeated:
        x, weight, bias, grad = (torch.from_numpy(a) for a in arrays(shape, dtype))
        weight = weight.T.contiguous()
        if direction == "forward":

            def forward() -> Any:
                with torch.inference_mode():
                    y = f.linear(x, weight, bias)
                    return torch.relu_(y) if act == "relu" else f.gelu(y)

            return Repeated(forward)
        leaves = [a.requires_grad_() for a in (x, weight, bias)]
        y = f.linear(*leaves)
        y = torch.relu(y) if act == "relu" else f.gelu(y)
        return Repeated(lambda: torch.autograd.grad(y, leaves, grad, retain_graph=True)[0])

    return prepare


def use_jax() -> Callable[..., Repeated]:
    import jax

    if "AVX2" in os.environ.get("XLA_FLAGS", ""):
        raise ValueError("JAX cannot be held to AVX2 here; leave it out of --peers")

    def prepare(direction: str, act: str, shape: tuple[int, ...], dtype: str) -> Repeated:
        x, weight, bias, grad = (jax.numpy.asarray(a) for a in arrays(shape, dtype))
        function = jax.nn.relu if act == "relu" else lambda z: jax.nn.gelu(z, approximate=False)

        def layer(x: Any, weight: Any, bias: Any) -> Any:
            return function(x @ weight + bias)

        if direction == "forward":
            call = jax.jit(layer)
            return Repeated(lambda: call(x, weight, bias).block_until_ready())
        backward = jax.jit(jax.vjp(layer, x, weight, bias)[1])
        return Repeated(lambda: jax.block_until_ready(backward(grad))[0])

    return prepare


LIBRARIES = {
    "fastact": use_fastact,
    "numpy": use_numpy,
    "torch": use_torch,
    "jax": use_jax,
}


@dataclass(frozen=True)
class Row:
    direction: str
    activation: str
    dtype: str
    shape: tuple[int, ...]  # rows, inputs, outputs
    tolerance = (1e-3, 1e-3)
    scale = 1e-3

    def __str__(self) -> str:
        return f"{self.direction}-{self.activation}-{self.dtype}-{'x'.join(map(str, self.shape))}"

    @property
    def flops(self) -> int:
        return 2 * math.prod(self.shape) * (2 if self.direction == "backward" else 1)

    def request(self, library: str) -> tuple[Any, ...]:
        return self.direction, self.activation, self.shape, self.dtype


def rows(
    direction: Sequence[str] = ("forward", "backward"), activation: Sequence[str] = ("relu", "gelu"),
    dtype: Sequence[str] = ("float32",), shape: Sequence[str] = (),
) -> Iterator[Row]:  # fmt: skip
    """A shape is "128x256x10": rows, inputs, outputs."""
    shapes = [tuple(map(int, text.split("x"))) for text in shape] or SHAPES
    return itertools.starmap(Row, itertools.product(direction, activation, dtype, shapes))
