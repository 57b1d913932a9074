"""Types of fastact.functional; made by bench/regenerate.py."""

from typing import TypeVar

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
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "tanh",
    "tanh_backward",
]

def activation(name: str, **parameters: float) -> BoundActivation: ...
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
def relu(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def relu_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def sigmoid(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def sigmoid_backward(
    grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None
) -> NDArray[_Real]: ...
def tanh(x: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
def tanh_backward(grad: NDArray[_Real], y: NDArray[_Real], *, out: NDArray[_Real] | None = None) -> NDArray[_Real]: ...
