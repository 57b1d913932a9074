"""The elementwise functions; made by bench/regenerate.py from the registry: edit there.

A plain call goes straight to the compiled core, which answers None for every other; then the slow path does it. A
parameter's default is recognised by identity and needs no check. A kernel's number is its place in the registry.
"""

from __future__ import annotations

from math import inf
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..backends import engine, reference
from ..epilogues import FixedActivation, approximation, order, parameter
from ..registry import ACTIVATIONS

__all__ = [
    "celu",
    "celu_backward",
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
    "mish",
    "mish_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
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
    "softplus",
    "softplus_backward",
    "softsign",
    "softsign_backward",
    "tanh",
    "tanh_backward",
    "tanh_shrink",
    "tanh_shrink_backward",
    "threshold",
    "threshold_backward",
]

Real = TypeVar("Real", np.float32, np.float64)

#: The order from which the numbers below come. Where the registry's is another, this file is out of date, and its
#: functions take the slow path, which looks the number up: run python bench/regenerate.py.
ORDER = [
    "identity",
    "relu",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "elu",
    "celu",
    "selu",
    "gelu",
    "gelu_tanh",
    "softplus",
    "log_sigmoid",
    "silu",
    "mish",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "relu6",
    "softsign",
    "relu_squared",
    "threshold",
    "hard_shrink",
    "soft_shrink",
    "tanh_shrink",
]
doors = engine if list(ACTIVATIONS) == ORDER else reference
try_forward, try_backward = doors.try_forward, doors.try_backward

_IDENTITY = ACTIVATIONS["identity"]
_RELU = ACTIVATIONS["relu"]
_LEAKY_RELU = ACTIVATIONS["leaky_relu"]
_LEAKY_RELU_NEGATIVE_SLOPE = 0.01
_SIGMOID = ACTIVATIONS["sigmoid"]
_TANH = ACTIVATIONS["tanh"]
_ELU = ACTIVATIONS["elu"]
_ELU_ALPHA = 1.0
_CELU = ACTIVATIONS["celu"]
_CELU_ALPHA = 1.0
_SELU = ACTIVATIONS["selu"]
_GELU = ACTIVATIONS["gelu"]
_GELU_TANH = ACTIVATIONS["gelu_tanh"]
_SOFTPLUS = ACTIVATIONS["softplus"]
_SOFTPLUS_BETA = 1.0
_LOG_SIGMOID = ACTIVATIONS["log_sigmoid"]
_SILU = ACTIVATIONS["silu"]
_MISH = ACTIVATIONS["mish"]
_HARD_SIGMOID = ACTIVATIONS["hard_sigmoid"]
_HARD_SWISH = ACTIVATIONS["hard_swish"]
_HARD_TANH = ACTIVATIONS["hard_tanh"]
_HARD_TANH_MIN_VAL = -1.0
_HARD_TANH_MAX_VAL = 1.0
_RELU6 = ACTIVATIONS["relu6"]
_SOFTSIGN = ACTIVATIONS["softsign"]
_RELU_SQUARED = ACTIVATIONS["relu_squared"]
_THRESHOLD = ACTIVATIONS["threshold"]
_THRESHOLD_THRESHOLD = 0.0
_THRESHOLD_VALUE = 0.0
_HARD_SHRINK = ACTIVATIONS["hard_shrink"]
_HARD_SHRINK_LAMBD = 0.5
_SOFT_SHRINK = ACTIVATIONS["soft_shrink"]
_SOFT_SHRINK_LAMBD = 0.5
_TANH_SHRINK = ACTIVATIONS["tanh_shrink"]


def identity(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """identity: y = x, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: -inf at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(0, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_IDENTITY, ())(x, out=out)


def identity_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through identity: dx = grad * f', with f' = 1.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned (not read)
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(0, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_IDENTITY, ()).backward(grad, y, out=out)


def relu(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """relu: y = max(0, x), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(1, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_RELU, ())(x, out=out)


def relu_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through relu: dx = grad * f', with f' = 1 if y > 0 else 0.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out

    At the kink (x = 0) the slope is 0.
    """
    dx = try_backward(1, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_RELU, ()).backward(grad, y, out=out)


def leaky_relu(x: NDArray[Real], negative_slope: float = 0.01, *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """leaky_relu: y = x if x > 0 else negative_slope * x, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    negative_slope : float, default 0.01
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: -inf at -inf, inf at inf; NaN stays NaN.
    """
    if negative_slope is not _LEAKY_RELU_NEGATIVE_SLOPE and not (
        type(negative_slope) is float and 0.0 <= negative_slope < inf
    ):
        negative_slope = parameter("leaky_relu", _LEAKY_RELU.parameters[0], negative_slope)
    y = try_forward(2, x, out, negative_slope, 0.0)
    return y if y is not None else FixedActivation(_LEAKY_RELU, (negative_slope,))(x, out=out)


def leaky_relu_backward(
    grad: NDArray[Real], y: NDArray[Real], negative_slope: float = 0.01, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """Gradient through leaky_relu: dx = grad * f', with f' = 1 if y > 0 else negative_slope.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    negative_slope : float, default 0.01
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range

    At the kink (x = 0) the slope is negative_slope.
    """
    if negative_slope is not _LEAKY_RELU_NEGATIVE_SLOPE and not (
        type(negative_slope) is float and 0.0 <= negative_slope < inf
    ):
        negative_slope = parameter("leaky_relu_backward", _LEAKY_RELU.parameters[0], negative_slope)
    dx = try_backward(2, grad, y, out, negative_slope, 0.0)
    return dx if dx is not None else FixedActivation(_LEAKY_RELU, (negative_slope,)).backward(grad, y, out=out)


def sigmoid(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """sigmoid: y = 1 / (1 + exp(-x)), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, 1 at inf; NaN stays NaN.
    """
    y = try_forward(3, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_SIGMOID, ())(x, out=out)


def sigmoid_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through sigmoid: dx = grad * f', with f' = y * (1 - y).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(3, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_SIGMOID, ()).backward(grad, y, out=out)


def tanh(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """tanh: y = tanh(x), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: -1 at -inf, 1 at inf; NaN stays NaN.
    """
    y = try_forward(4, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_TANH, ())(x, out=out)


def tanh_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through tanh: dx = grad * f', with f' = (1 - y) * (1 + y).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(4, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_TANH, ()).backward(grad, y, out=out)


def elu(x: NDArray[Real], alpha: float = 1.0, *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """elu: y = x if x > 0 else alpha * expm1(x), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    alpha : float, default 1
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: -alpha at -inf, inf at inf; NaN stays NaN.
    """
    if alpha is not _ELU_ALPHA and not (type(alpha) is float and 0.0 <= alpha < inf):
        alpha = parameter("elu", _ELU.parameters[0], alpha)
    y = try_forward(5, x, out, alpha, 0.0)
    return y if y is not None else FixedActivation(_ELU, (alpha,))(x, out=out)


def elu_backward(
    grad: NDArray[Real], y: NDArray[Real], alpha: float = 1.0, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """Gradient through elu: dx = grad * f', with f' = 1 if y > 0 else y + alpha.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    alpha : float, default 1
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range

    At the kink (x = 0) the slope is alpha.
    """
    if alpha is not _ELU_ALPHA and not (type(alpha) is float and 0.0 <= alpha < inf):
        alpha = parameter("elu_backward", _ELU.parameters[0], alpha)
    dx = try_backward(5, grad, y, out, alpha, 0.0)
    return dx if dx is not None else FixedActivation(_ELU, (alpha,)).backward(grad, y, out=out)


def celu(x: NDArray[Real], alpha: float = 1.0, *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """celu: y = x if x > 0 else alpha * expm1(x / alpha), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    alpha : float, default 1
        a finite number > 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: -alpha at -inf, inf at inf; NaN stays NaN.
    """
    if alpha is not _CELU_ALPHA and not (type(alpha) is float and 0.0 < alpha < inf):
        alpha = parameter("celu", _CELU.parameters[0], alpha)
    y = try_forward(6, x, out, alpha, 0.0)
    return y if y is not None else FixedActivation(_CELU, (alpha,))(x, out=out)


def celu_backward(
    grad: NDArray[Real], y: NDArray[Real], alpha: float = 1.0, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """Gradient through celu: dx = grad * f', with f' = 1 if y > 0 else 1 + y / alpha.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    alpha : float, default 1
        a finite number > 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range
    """
    if alpha is not _CELU_ALPHA and not (type(alpha) is float and 0.0 < alpha < inf):
        alpha = parameter("celu_backward", _CELU.parameters[0], alpha)
    dx = try_backward(6, grad, y, out, alpha, 0.0)
    return dx if dx is not None else FixedActivation(_CELU, (alpha,)).backward(grad, y, out=out)


def selu(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """selu: y = SELU_LAMBDA * (x if x > 0 else SELU_ALPHA * expm1(x)), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: -SELU_LIMIT at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(7, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_SELU, ())(x, out=out)


def selu_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through selu: dx = grad * f', with f' = SELU_LAMBDA if y > 0 else y + SELU_LIMIT.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out

    At the kink (x = 0) the slope is SELU_LIMIT.
    """
    dx = try_backward(7, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_SELU, ()).backward(grad, y, out=out)


def gelu(x: NDArray[Real], *, approximate: str = "none", out: NDArray[Real] | None = None) -> NDArray[Real]:
    """gelu: y = x * Phi(x), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    approximate : "none", or "tanh" for ``gelu_tanh``
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    if approximate != "none":
        chosen = approximation("gelu", _GELU, approximate).name
        return {"gelu_tanh": gelu_tanh}[chosen](x, out=out)
    y = try_forward(8, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_GELU, ())(x, out=out)


def gelu_backward(
    grad: NDArray[Real], x: NDArray[Real], *, approximate: str = "none", out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """Gradient through gelu: dx = grad * f', with f' = Phi(x) + x * phi(x).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    approximate : "none", or "tanh" for ``gelu_tanh``
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range
    """
    if approximate != "none":
        chosen = approximation("gelu_backward", _GELU, approximate).name
        return {"gelu_tanh": gelu_tanh_backward}[chosen](grad, x, out=out)
    dx = try_backward(8, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_GELU, ()).backward(grad, x, out=out)


def gelu_tanh(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """gelu_tanh: y = x * s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3)), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(9, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_GELU_TANH, ())(x, out=out)


def gelu_tanh_backward(grad: NDArray[Real], x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through gelu_tanh: dx = grad * f', with f' = s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) + x * s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) * s(-2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) * 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """  # noqa: E501
    dx = try_backward(9, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_GELU_TANH, ()).backward(grad, x, out=out)


def softplus(x: NDArray[Real], beta: float = 1.0, *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """softplus: y = log1p(exp(beta * x)) / beta, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    beta : float, default 1
        a finite number > 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    if beta is not _SOFTPLUS_BETA and not (type(beta) is float and 0.0 < beta < inf):
        beta = parameter("softplus", _SOFTPLUS.parameters[0], beta)
    y = try_forward(10, x, out, beta, 0.0)
    return y if y is not None else FixedActivation(_SOFTPLUS, (beta,))(x, out=out)


def softplus_backward(
    grad: NDArray[Real], y: NDArray[Real], beta: float = 1.0, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """Gradient through softplus: dx = grad * f', with f' = -expm1(-beta * y).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    beta : float, default 1
        a finite number > 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range
    """
    if beta is not _SOFTPLUS_BETA and not (type(beta) is float and 0.0 < beta < inf):
        beta = parameter("softplus_backward", _SOFTPLUS.parameters[0], beta)
    dx = try_backward(10, grad, y, out, beta, 0.0)
    return dx if dx is not None else FixedActivation(_SOFTPLUS, (beta,)).backward(grad, y, out=out)


def log_sigmoid(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """log_sigmoid: y = -log1p(exp(-x)), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: -inf at -inf, 0 at inf; NaN stays NaN.
    """
    y = try_forward(11, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_LOG_SIGMOID, ())(x, out=out)


def log_sigmoid_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through log_sigmoid: dx = grad * f', with f' = -expm1(y).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(11, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_LOG_SIGMOID, ()).backward(grad, y, out=out)


def silu(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """silu: y = x * s(x), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(12, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_SILU, ())(x, out=out)


def silu_backward(grad: NDArray[Real], x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through silu: dx = grad * f', with f' = s(x) * (1 + x * s(-x)).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(12, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_SILU, ()).backward(grad, x, out=out)


def mish(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """mish: y = x * tanh(log1p(exp(x))), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(13, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_MISH, ())(x, out=out)


def mish_backward(grad: NDArray[Real], x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through mish: dx = grad * f', with f' = tanh(log1p(exp(x))) + x * s(x) * (1 - tanh(log1p(exp(x)))**2).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(13, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_MISH, ()).backward(grad, x, out=out)


def hard_sigmoid(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """hard_sigmoid: y = min(max(x + 3, 0), 6) / 6, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, 1 at inf; NaN stays NaN.
    """
    y = try_forward(14, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_HARD_SIGMOID, ())(x, out=out)


def hard_sigmoid_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through hard_sigmoid: dx = grad * f', with f' = 1 / 6 if 0 < y < 1 else 0.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out

    At the kink (x = -3, 3) the slope is 0.
    """
    dx = try_backward(14, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_HARD_SIGMOID, ()).backward(grad, y, out=out)


def hard_swish(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """hard_swish: y = x * min(max(x + 3, 0), 6) / 6, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(15, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_HARD_SWISH, ())(x, out=out)


def hard_swish_backward(grad: NDArray[Real], x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through hard_swish: dx = grad * f', with f' = 0 if x <= -3 else 1 if x >= 3 else (2 * x + 3) / 6.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out

    At the kink (x = -3, 3) the slope is 0 at -3, 1 at 3.
    """
    dx = try_backward(15, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_HARD_SWISH, ()).backward(grad, x, out=out)


def hard_tanh(
    x: NDArray[Real], min_val: float = -1.0, max_val: float = 1.0, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """hard_tanh: y = min(max(x, min_val), max_val), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    min_val : float, default -1
        a finite number; rounded to the array's dtype
    max_val : float, default 1
        a finite number; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: min_val at -inf, max_val at inf; NaN stays NaN.
    """
    if min_val is not _HARD_TANH_MIN_VAL and not (type(min_val) is float and -inf < min_val < inf):
        min_val = parameter("hard_tanh", _HARD_TANH.parameters[0], min_val)
    if max_val is not _HARD_TANH_MAX_VAL and not (type(max_val) is float and -inf < max_val < inf):
        max_val = parameter("hard_tanh", _HARD_TANH.parameters[1], max_val)
    if not min_val < max_val:
        order("hard_tanh", _HARD_TANH, (min_val, max_val))
    y = try_forward(16, x, out, min_val, max_val)
    return y if y is not None else FixedActivation(_HARD_TANH, (min_val, max_val))(x, out=out)


def hard_tanh_backward(
    grad: NDArray[Real],
    y: NDArray[Real],
    min_val: float = -1.0,
    max_val: float = 1.0,
    *,
    out: NDArray[Real] | None = None,
) -> NDArray[Real]:
    """Gradient through hard_tanh: dx = grad * f', with f' = 1 if min_val < y < max_val else 0.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    min_val : float, default -1
        a finite number; rounded to the array's dtype
    max_val : float, default 1
        a finite number; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range

    At the kink (x = min_val, max_val) the slope is 0.
    """
    if min_val is not _HARD_TANH_MIN_VAL and not (type(min_val) is float and -inf < min_val < inf):
        min_val = parameter("hard_tanh_backward", _HARD_TANH.parameters[0], min_val)
    if max_val is not _HARD_TANH_MAX_VAL and not (type(max_val) is float and -inf < max_val < inf):
        max_val = parameter("hard_tanh_backward", _HARD_TANH.parameters[1], max_val)
    if not min_val < max_val:
        order("hard_tanh_backward", _HARD_TANH, (min_val, max_val))
    dx = try_backward(16, grad, y, out, min_val, max_val)
    return dx if dx is not None else FixedActivation(_HARD_TANH, (min_val, max_val)).backward(grad, y, out=out)


def relu6(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """relu6: y = min(max(x, 0), 6), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, 6 at inf; NaN stays NaN.
    """
    y = try_forward(17, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_RELU6, ())(x, out=out)


def relu6_backward(grad: NDArray[Real], y: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through relu6: dx = grad * f', with f' = 1 if 0 < y < 6 else 0.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out

    At the kink (x = 0, 6) the slope is 0.
    """
    dx = try_backward(17, grad, y, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_RELU6, ()).backward(grad, y, out=out)


def softsign(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """softsign: y = x / (1 + abs(x)), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: -1 at -inf, 1 at inf; NaN stays NaN.
    """
    y = try_forward(18, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_SOFTSIGN, ())(x, out=out)


def softsign_backward(grad: NDArray[Real], x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through softsign: dx = grad * f', with f' = 1 / (1 + abs(x))**2.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(18, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_SOFTSIGN, ()).backward(grad, x, out=out)


def relu_squared(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """relu_squared: y = max(0, x)**2, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: 0 at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(19, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_RELU_SQUARED, ())(x, out=out)


def relu_squared_backward(grad: NDArray[Real], x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through relu_squared: dx = grad * f', with f' = 2 * max(0, x).

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(19, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_RELU_SQUARED, ()).backward(grad, x, out=out)


def threshold(
    x: NDArray[Real], threshold: float = 0.0, value: float = 0.0, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """threshold: y = x if x > threshold else value, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    threshold : float, default 0
        a finite number; rounded to the array's dtype
    value : float, default 0
        a finite number; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: value at -inf, inf at inf; NaN stays NaN.
    """
    if threshold is not _THRESHOLD_THRESHOLD and not (type(threshold) is float and -inf < threshold < inf):
        threshold = parameter("threshold", _THRESHOLD.parameters[0], threshold)
    if value is not _THRESHOLD_VALUE and not (type(value) is float and -inf < value < inf):
        value = parameter("threshold", _THRESHOLD.parameters[1], value)
    y = try_forward(20, x, out, threshold, value)
    return y if y is not None else FixedActivation(_THRESHOLD, (threshold, value))(x, out=out)


def threshold_backward(
    grad: NDArray[Real],
    x: NDArray[Real],
    threshold: float = 0.0,
    value: float = 0.0,
    *,
    out: NDArray[Real] | None = None,
) -> NDArray[Real]:
    """Gradient through threshold: dx = grad * f', with f' = 1 if x > threshold else 0.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    threshold : float, default 0
        a finite number; rounded to the array's dtype
    value : float, default 0
        a finite number; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range

    At the kink (x = threshold) the slope is 0.
    """
    if threshold is not _THRESHOLD_THRESHOLD and not (type(threshold) is float and -inf < threshold < inf):
        threshold = parameter("threshold_backward", _THRESHOLD.parameters[0], threshold)
    if value is not _THRESHOLD_VALUE and not (type(value) is float and -inf < value < inf):
        value = parameter("threshold_backward", _THRESHOLD.parameters[1], value)
    dx = try_backward(20, grad, x, out, threshold, value)
    return dx if dx is not None else FixedActivation(_THRESHOLD, (threshold, value)).backward(grad, x, out=out)


def hard_shrink(x: NDArray[Real], lambd: float = 0.5, *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """hard_shrink: y = x if abs(x) > lambd else 0, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    lambd : float, default 0.5
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: -inf at -inf, inf at inf; NaN stays NaN.
    """
    if lambd is not _HARD_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("hard_shrink", _HARD_SHRINK.parameters[0], lambd)
    y = try_forward(21, x, out, lambd, 0.0)
    return y if y is not None else FixedActivation(_HARD_SHRINK, (lambd,))(x, out=out)


def hard_shrink_backward(
    grad: NDArray[Real], x: NDArray[Real], lambd: float = 0.5, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """Gradient through hard_shrink: dx = grad * f', with f' = 1 if abs(x) > lambd else 0.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    lambd : float, default 0.5
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range

    At the kink (x = -lambd, lambd) the slope is 0.
    """
    if lambd is not _HARD_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("hard_shrink_backward", _HARD_SHRINK.parameters[0], lambd)
    dx = try_backward(21, grad, x, out, lambd, 0.0)
    return dx if dx is not None else FixedActivation(_HARD_SHRINK, (lambd,)).backward(grad, x, out=out)


def soft_shrink(x: NDArray[Real], lambd: float = 0.5, *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """soft_shrink: y = x - lambd if x > lambd else x + lambd if x < -lambd else 0, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    lambd : float, default 0.5
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out, or a parameter out of range

    Limits: -inf at -inf, inf at inf; NaN stays NaN.
    """
    if lambd is not _SOFT_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("soft_shrink", _SOFT_SHRINK.parameters[0], lambd)
    y = try_forward(22, x, out, lambd, 0.0)
    return y if y is not None else FixedActivation(_SOFT_SHRINK, (lambd,))(x, out=out)


def soft_shrink_backward(
    grad: NDArray[Real], y: NDArray[Real], lambd: float = 0.5, *, out: NDArray[Real] | None = None
) -> NDArray[Real]:
    """Gradient through soft_shrink: dx = grad * f', with f' = 1 if y != 0 else 0.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    y : ndarray like grad, what forward returned
    lambd : float, default 0.5
        a finite number >= 0; rounded to the array's dtype
    out : ndarray, optional
        Where to put dx: exactly grad, exactly y, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out, or a parameter out of range

    At the kink (x = -lambd, lambd) the slope is 0.
    """
    if lambd is not _SOFT_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("soft_shrink_backward", _SOFT_SHRINK.parameters[0], lambd)
    dx = try_backward(22, grad, y, out, lambd, 0.0)
    return dx if dx is not None else FixedActivation(_SOFT_SHRINK, (lambd,)).backward(grad, y, out=out)


def tanh_shrink(x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """tanh_shrink: y = x - tanh(x), elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out

    Limits: -inf at -inf, inf at inf; NaN stays NaN.
    """
    y = try_forward(23, x, out, 0.0, 0.0)
    return y if y is not None else FixedActivation(_TANH_SHRINK, ())(x, out=out)


def tanh_shrink_backward(grad: NDArray[Real], x: NDArray[Real], *, out: NDArray[Real] | None = None) -> NDArray[Real]:
    """Gradient through tanh_shrink: dx = grad * f', with f' = tanh(x)**2.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    x : ndarray like grad, what forward was given
    out : ndarray, optional
        Where to put dx: exactly grad, exactly x, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out
    """
    dx = try_backward(23, grad, x, out, 0.0, 0.0)
    return dx if dx is not None else FixedActivation(_TANH_SHRINK, ()).backward(grad, x, out=out)
