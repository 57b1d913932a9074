"""Types of fastact.functional; made by bench/regenerate.py."""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .registry import BoundActivation

_Real = TypeVar("_Real", np.float32, np.float64)

__all__ = [
    "activation",
    "identity",
    "identity_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "maxout",
    "maxout_backward",
    "prelu",
    "prelu_backward",
    "relu",
    "relu_backward",
    "relu_masked",
    "relu_masked_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]

class Maxout(NamedTuple):
    y: np.ndarray
    index: np.ndarray  # type: ignore[assignment]

class PReluGradients(NamedTuple):
    dx: np.ndarray
    dweight: np.ndarray

ROWS_PER_PART: int

def activation(name: str, **parameters: float) -> BoundActivation: ...
def bias_backward(
    bound: BoundActivation, grad: np.ndarray, saved: np.ndarray, dz: np.ndarray, sums: np.ndarray, parts: np.ndarray
) -> None: ...
def bias_forward(
    bound: BoundActivation, z: np.ndarray, bias: np.ndarray | None, y: np.ndarray, slope: np.ndarray | None
) -> None: ...
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
def log_softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def log_softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def maxout(
    x: np.ndarray, pieces: int, *, out: np.ndarray | None = None, out_index: np.ndarray | None = None
) -> Maxout: ...
def maxout_backward(
    grad: np.ndarray, index: np.ndarray, pieces: int, *, out: np.ndarray | None = None
) -> np.ndarray: ...
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
def relu_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def relu_masked(x: np.ndarray, *, mask: np.ndarray, out: np.ndarray | None = None) -> np.ndarray: ...
def relu_masked_backward(grad: np.ndarray, mask: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def sigmoid(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def sigmoid_backward(
    grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray: ...
def tanh(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def tanh_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
