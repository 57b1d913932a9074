"""Types of fastact.functional; made by bench/regenerate.py."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .fused import DenseGradients as DenseGradients, Saved as Saved, dense as dense, dense_backward as dense_backward, dense_forward as dense_forward
from ..registry import AnyActivation, BoundActivation

_Real = TypeVar("_Real", np.float32, np.float64)

__all__ = [
    "DenseGradients",
    "Saved",
    "activation",
    "celu",
    "celu_backward",
    "custom_activation",
    "dense",
    "dense_backward",
    "dense_forward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "hard_shrink",
    "hard_shrink_backward",
    "hard_sigmoid",
    "hard_sigmoid_backward",
    "hard_swish",
    "hard_swish_backward",
    "hard_tanh",
    "hard_tanh_backward",
    "identity",
    "identity_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_sigmoid",
    "log_sigmoid_backward",
    "log_softmax",
    "log_softmax_backward",
    "maxout",
    "maxout_backward",
    "mish",
    "mish_backward",
    "prelu",
    "prelu_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "relu_masked",
    "relu_masked_backward",
    "relu_squared",
    "relu_squared_backward",
    "selu",
    "selu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "soft_shrink",
    "soft_shrink_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "softsign",
    "softsign_backward",
    "swish",
    "swish_backward",
    "tanh",
    "tanh_backward",
    "tanh_shrink",
    "tanh_shrink_backward",
    "threshold",
    "threshold_backward",
]

class Maxout(NamedTuple):
    y: np.ndarray
    index: np.ndarray  # type: ignore[assignment]

class PReluGradients(NamedTuple):
    dx: np.ndarray
    dweight: np.ndarray

class SwishGradients(NamedTuple):
    dx: np.ndarray
    dbeta: np.ndarray

ROW_FUNCTIONS: tuple

def activate_backward_into(bound: BoundActivation, grad: np.ndarray, saved: np.ndarray, dx: np.ndarray) -> None: ...
def activate_into(bound: BoundActivation, x: np.ndarray, y: np.ndarray) -> None: ...
def activation(name: str, **parameters: Any) -> AnyActivation: ...
def celu(x: NDArray[_Real], alpha: float = 1.0, *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def celu_backward(
    grad: NDArray[_Real], y: NDArray[_Real], alpha: float = 1.0, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def custom_activation(
    name: str, value: Callable[[np.ndarray], np.ndarray], slope: Callable[[np.ndarray], np.ndarray], saves: str = 'x'
) -> BoundActivation: ...
def elu(x: NDArray[_Real], alpha: float = 1.0, *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def elu_backward(
    grad: NDArray[_Real], y: NDArray[_Real], alpha: float = 1.0, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def gelu(x: NDArray[_Real], *, approximate: str = "none", out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def gelu_backward(
    grad: NDArray[_Real], x: NDArray[_Real], *, approximate: str = "none", out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def gelu_tanh(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def gelu_tanh_backward(
    grad: NDArray[_Real], x: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def hard_shrink(x: NDArray[_Real], lambd: float = 0.5, *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def hard_shrink_backward(
    grad: NDArray[_Real], x: NDArray[_Real], lambd: float = 0.5, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def hard_sigmoid(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def hard_sigmoid_backward(
    grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def hard_swish(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def hard_swish_backward(
    grad: NDArray[_Real], x: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def hard_tanh(
    x: NDArray[_Real], min_val: float = -1.0, max_val: float = 1.0, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def hard_tanh_backward(
    grad: NDArray[_Real],
    y: NDArray[_Real],
    min_val: float = -1.0,
    max_val: float = 1.0,
    *,
    out: NDArray[_Real] | None = None,
) -> NDArray[_Real]: ...
def identity(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def identity_backward(
    grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def leaky_relu(
    x: NDArray[_Real], negative_slope: float = 0.01, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def leaky_relu_backward(
    grad: NDArray[_Real], y: NDArray[_Real], negative_slope: float = 0.01, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def learned_backward_into(
    name: str,
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    per_channel: bool,
    dx: np.ndarray,
    dweight: np.ndarray,
) -> None: ...
def learned_into(name: str, x: np.ndarray, weight: np.ndarray, per_channel: bool, y: np.ndarray) -> None: ...
def log_sigmoid(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def log_sigmoid_backward(
    grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def log_softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def log_softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def maxout(
    x: np.ndarray, pieces: int, *, out: np.ndarray | None = None, out_index: np.ndarray | None = None
) -> Maxout: ...
def maxout_backward(
    grad: np.ndarray, index: np.ndarray, pieces: int, *, out: np.ndarray | None = None
) -> np.ndarray: ...
def maxout_backward_into(grad: np.ndarray, index: np.ndarray, dx: np.ndarray, pieces: int) -> None: ...
def maxout_into(x: np.ndarray, y: np.ndarray, index: np.ndarray, pieces: int) -> None: ...
def mish(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def mish_backward(grad: NDArray[_Real], x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def prelu(x: np.ndarray, weight: float | np.ndarray = 0.25, *, out: np.ndarray | None = None) -> np.ndarray: ...
def prelu_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: float | np.ndarray = 0.25,
    *,
    out: np.ndarray | None = None,
    out_weight: np.ndarray | None = None,
) -> PReluGradients: ...
def relu(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def relu6(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def relu6_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def relu_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def relu_masked(x: np.ndarray, *, mask: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def relu_masked_backward(grad: np.ndarray, mask: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def relu_squared(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def relu_squared_backward(
    grad: NDArray[_Real], x: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def rows_backward(name: str, grad: np.ndarray, y: np.ndarray, dx: np.ndarray | None) -> np.ndarray: ...
def rows_forward(name: str, x: np.ndarray, y: np.ndarray | None) -> np.ndarray: ...
def selu(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def selu_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def sigmoid(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def sigmoid_backward(
    grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def silu(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def silu_backward(grad: NDArray[_Real], x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def soft_shrink(x: NDArray[_Real], lambd: float = 0.5, *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def soft_shrink_backward(
    grad: NDArray[_Real], y: NDArray[_Real], lambd: float = 0.5, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def softplus(x: NDArray[_Real], beta: float = 1.0, *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def softplus_backward(
    grad: NDArray[_Real], y: NDArray[_Real], beta: float = 1.0, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def softsign(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def softsign_backward(
    grad: NDArray[_Real], x: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def swish(x: np.ndarray, beta: float | np.ndarray = 1.0, *, out: np.ndarray | None = None) -> np.ndarray: ...
def swish_backward(
    grad: np.ndarray,
    x: np.ndarray,
    beta: float | np.ndarray = 1.0,
    *,
    out: np.ndarray | None = None,
    out_beta: np.ndarray | None = None,
) -> SwishGradients: ...
def tanh(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def tanh_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def tanh_shrink(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def tanh_shrink_backward(
    grad: NDArray[_Real], x: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def threshold(
    x: NDArray[_Real], threshold: float = 0.0, value: float = 0.0, *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def threshold_backward(
    grad: NDArray[_Real],
    x: NDArray[_Real],
    threshold: float = 0.0,
    value: float = 0.0,
    *,
    out: NDArray[_Real] | None = None,
) -> NDArray[_Real]: ...
