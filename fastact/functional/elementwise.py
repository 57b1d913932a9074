"""Elementwise."""

from __future__ import annotations

from math import inf
from typing import TypeVar

import numpy as np

from ..backends import engine
from ..registry import ACTIVATIONS
from .support import approximation, backward, forward, order, parameter

Real = TypeVar("Real", np.float32, np.float64)
try_forward, try_backward = engine.try_forward, engine.try_backward

_IDENTITY = ACTIVATIONS["identity"]
_RELU = ACTIVATIONS["relu"]
_LEAKY_RELU = ACTIVATIONS["leaky_relu"]
_LEAKY_RELU_NEGATIVE_SLOPE = _LEAKY_RELU.parameters[0].default
_SIGMOID = ACTIVATIONS["sigmoid"]
_TANH = ACTIVATIONS["tanh"]
_ELU = ACTIVATIONS["elu"]
_ELU_ALPHA = _ELU.parameters[0].default
_CELU = ACTIVATIONS["celu"]
_CELU_ALPHA = _CELU.parameters[0].default
_SELU = ACTIVATIONS["selu"]
_GELU = ACTIVATIONS["gelu"]
_GELU_TANH = ACTIVATIONS["gelu_tanh"]
_SOFTPLUS = ACTIVATIONS["softplus"]
_SOFTPLUS_BETA = _SOFTPLUS.parameters[0].default
_LOG_SIGMOID = ACTIVATIONS["log_sigmoid"]
_SILU = ACTIVATIONS["silu"]
_MISH = ACTIVATIONS["mish"]
_HARD_SIGMOID = ACTIVATIONS["hard_sigmoid"]
_HARD_SWISH = ACTIVATIONS["hard_swish"]
_HARD_TANH = ACTIVATIONS["hard_tanh"]
_HARD_TANH_MIN_VAL = _HARD_TANH.parameters[0].default
_HARD_TANH_MAX_VAL = _HARD_TANH.parameters[1].default
_RELU6 = ACTIVATIONS["relu6"]
_SOFTSIGN = ACTIVATIONS["softsign"]
_RELU_SQUARED = ACTIVATIONS["relu_squared"]
_THRESHOLD = ACTIVATIONS["threshold"]
_THRESHOLD_THRESHOLD = _THRESHOLD.parameters[0].default
_THRESHOLD_VALUE = _THRESHOLD.parameters[1].default
_HARD_SHRINK = ACTIVATIONS["hard_shrink"]
_HARD_SHRINK_LAMBD = _HARD_SHRINK.parameters[0].default
_SOFT_SHRINK = ACTIVATIONS["soft_shrink"]
_SOFT_SHRINK_LAMBD = _SOFT_SHRINK.parameters[0].default
_TANH_SHRINK = ACTIVATIONS["tanh_shrink"]


def identity(x, *, out=None):
    """identity: y = x, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    -inf
    inf
    At the kink .
    """
    result = try_forward(0, x, out, 0.0, 0.0)
    return result if result is not None else forward("identity", _IDENTITY, x, out, ())


def identity_backward(grad, y, *, out=None):
    """Gradient through identity: dx = grad * f', with f' = 1.

    Parameters
    x
    Returns
    Raises
    out : x
    -inf
    inf
    At the kink .
    """
    result = try_backward(0, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("identity_backward", _IDENTITY, grad, y, out, ())


def relu(x, *, out=None):
    """relu: y = max(0, x), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink 0.
    """
    result = try_forward(1, x, out, 0.0, 0.0)
    return result if result is not None else forward("relu", _RELU, x, out, ())


def relu_backward(grad, y, *, out=None):
    """Gradient through relu: dx = grad * f', with f' = 1 if y > 0 else 0.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink 0.
    """
    result = try_backward(1, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("relu_backward", _RELU, grad, y, out, ())


def leaky_relu(x, negative_slope: float = _LEAKY_RELU_NEGATIVE_SLOPE, *, out=None):
    """leaky_relu: y = x if x > 0 else negative_slope * x, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    negative_slope : float, default 0.01
    -inf
    inf
    At the kink negative_slope.
    """
    if negative_slope is not _LEAKY_RELU_NEGATIVE_SLOPE and not (
        type(negative_slope) is float and 0.0 <= negative_slope < inf
    ):
        negative_slope = parameter("leaky_relu", _LEAKY_RELU.parameters[0], negative_slope)
    result = try_forward(2, x, out, negative_slope, 0.0)
    return result if result is not None else forward("leaky_relu", _LEAKY_RELU, x, out, (negative_slope,))


def leaky_relu_backward(grad, y, negative_slope: float = _LEAKY_RELU_NEGATIVE_SLOPE, *, out=None):
    """Gradient through leaky_relu: dx = grad * f', with f' = 1 if y > 0 else negative_slope.

    Parameters
    x
    Returns
    Raises
    out : x
    negative_slope : float, default 0.01
    -inf
    inf
    At the kink negative_slope.
    """
    if negative_slope is not _LEAKY_RELU_NEGATIVE_SLOPE and not (
        type(negative_slope) is float and 0.0 <= negative_slope < inf
    ):
        negative_slope = parameter("leaky_relu_backward", _LEAKY_RELU.parameters[0], negative_slope)
    result = try_backward(2, grad, y, out, negative_slope, 0.0)
    return (
        result if result is not None else backward("leaky_relu_backward", _LEAKY_RELU, grad, y, out, (negative_slope,))
    )


def sigmoid(x, *, out=None):
    """sigmoid: y = 1 / (1 + exp(-x)), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    1
    At the kink .
    """
    result = try_forward(3, x, out, 0.0, 0.0)
    return result if result is not None else forward("sigmoid", _SIGMOID, x, out, ())


def sigmoid_backward(grad, y, *, out=None):
    """Gradient through sigmoid: dx = grad * f', with f' = y * (1 - y).

    Parameters
    x
    Returns
    Raises
    out : x
    0
    1
    At the kink .
    """
    result = try_backward(3, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("sigmoid_backward", _SIGMOID, grad, y, out, ())


def tanh(x, *, out=None):
    """tanh: y = tanh(x), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    -1
    1
    At the kink .
    """
    result = try_forward(4, x, out, 0.0, 0.0)
    return result if result is not None else forward("tanh", _TANH, x, out, ())


def tanh_backward(grad, y, *, out=None):
    """Gradient through tanh: dx = grad * f', with f' = (1 - y) * (1 + y).

    Parameters
    x
    Returns
    Raises
    out : x
    -1
    1
    At the kink .
    """
    result = try_backward(4, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("tanh_backward", _TANH, grad, y, out, ())


def elu(x, alpha: float = _ELU_ALPHA, *, out=None):
    """elu: y = x if x > 0 else alpha * expm1(x), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    alpha : float, default 1
    -alpha
    inf
    At the kink alpha.
    """
    if alpha is not _ELU_ALPHA and not (type(alpha) is float and 0.0 <= alpha < inf):
        alpha = parameter("elu", _ELU.parameters[0], alpha)
    result = try_forward(5, x, out, alpha, 0.0)
    return result if result is not None else forward("elu", _ELU, x, out, (alpha,))


def elu_backward(grad, y, alpha: float = _ELU_ALPHA, *, out=None):
    """Gradient through elu: dx = grad * f', with f' = 1 if y > 0 else y + alpha.

    Parameters
    x
    Returns
    Raises
    out : x
    alpha : float, default 1
    -alpha
    inf
    At the kink alpha.
    """
    if alpha is not _ELU_ALPHA and not (type(alpha) is float and 0.0 <= alpha < inf):
        alpha = parameter("elu_backward", _ELU.parameters[0], alpha)
    result = try_backward(5, grad, y, out, alpha, 0.0)
    return result if result is not None else backward("elu_backward", _ELU, grad, y, out, (alpha,))


def celu(x, alpha: float = _CELU_ALPHA, *, out=None):
    """celu: y = x if x > 0 else alpha * expm1(x / alpha), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    alpha : float, default 1
    -alpha
    inf
    At the kink .
    """
    if alpha is not _CELU_ALPHA and not (type(alpha) is float and 0.0 < alpha < inf):
        alpha = parameter("celu", _CELU.parameters[0], alpha)
    result = try_forward(6, x, out, alpha, 0.0)
    return result if result is not None else forward("celu", _CELU, x, out, (alpha,))


def celu_backward(grad, y, alpha: float = _CELU_ALPHA, *, out=None):
    """Gradient through celu: dx = grad * f', with f' = 1 if y > 0 else 1 + y / alpha.

    Parameters
    x
    Returns
    Raises
    out : x
    alpha : float, default 1
    -alpha
    inf
    At the kink .
    """
    if alpha is not _CELU_ALPHA and not (type(alpha) is float and 0.0 < alpha < inf):
        alpha = parameter("celu_backward", _CELU.parameters[0], alpha)
    result = try_backward(6, grad, y, out, alpha, 0.0)
    return result if result is not None else backward("celu_backward", _CELU, grad, y, out, (alpha,))


def selu(x, *, out=None):
    """selu: y = SELU_LAMBDA * (x if x > 0 else SELU_ALPHA * expm1(x)), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    -SELU_LIMIT
    inf
    At the kink SELU_LIMIT.
    """
    result = try_forward(7, x, out, 0.0, 0.0)
    return result if result is not None else forward("selu", _SELU, x, out, ())


def selu_backward(grad, y, *, out=None):
    """Gradient through selu: dx = grad * f', with f' = SELU_LAMBDA if y > 0 else y + SELU_LIMIT.

    Parameters
    x
    Returns
    Raises
    out : x
    -SELU_LIMIT
    inf
    At the kink SELU_LIMIT.
    """
    result = try_backward(7, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("selu_backward", _SELU, grad, y, out, ())


def gelu(x, *, approximate: str = "none", out=None):
    """gelu: y = x * Phi(x), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    if approximate != "none":
        return globals()[approximation("gelu", _GELU, approximate).name + ""](x, out=out)
    result = try_forward(8, x, out, 0.0, 0.0)
    return result if result is not None else forward("gelu", _GELU, x, out, ())


def gelu_backward(grad, x, *, approximate: str = "none", out=None):
    """Gradient through gelu: dx = grad * f', with f' = Phi(x) + x * phi(x).

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    if approximate != "none":
        return globals()[approximation("gelu_backward", _GELU, approximate).name + "_backward"](grad, x, out=out)
    result = try_backward(8, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("gelu_backward", _GELU, grad, x, out, ())


def gelu_tanh(x, *, out=None):
    """gelu_tanh: y = x * s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3)), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_forward(9, x, out, 0.0, 0.0)
    return result if result is not None else forward("gelu_tanh", _GELU_TANH, x, out, ())


def gelu_tanh_backward(grad, x, *, out=None):
    """Gradient through gelu_tanh: dx = grad * f', with f' = s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) + x * s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) * s(-2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) * 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2).

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_backward(9, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("gelu_tanh_backward", _GELU_TANH, grad, x, out, ())


def softplus(x, beta: float = _SOFTPLUS_BETA, *, out=None):
    """softplus: y = log1p(exp(beta * x)) / beta, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    beta : float, default 1
    0
    inf
    At the kink .
    """
    if beta is not _SOFTPLUS_BETA and not (type(beta) is float and 0.0 < beta < inf):
        beta = parameter("softplus", _SOFTPLUS.parameters[0], beta)
    result = try_forward(10, x, out, beta, 0.0)
    return result if result is not None else forward("softplus", _SOFTPLUS, x, out, (beta,))


def softplus_backward(grad, y, beta: float = _SOFTPLUS_BETA, *, out=None):
    """Gradient through softplus: dx = grad * f', with f' = -expm1(-beta * y).

    Parameters
    x
    Returns
    Raises
    out : x
    beta : float, default 1
    0
    inf
    At the kink .
    """
    if beta is not _SOFTPLUS_BETA and not (type(beta) is float and 0.0 < beta < inf):
        beta = parameter("softplus_backward", _SOFTPLUS.parameters[0], beta)
    result = try_backward(10, grad, y, out, beta, 0.0)
    return result if result is not None else backward("softplus_backward", _SOFTPLUS, grad, y, out, (beta,))


def log_sigmoid(x, *, out=None):
    """log_sigmoid: y = -log1p(exp(-x)), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    -inf
    0
    At the kink .
    """
    result = try_forward(11, x, out, 0.0, 0.0)
    return result if result is not None else forward("log_sigmoid", _LOG_SIGMOID, x, out, ())


def log_sigmoid_backward(grad, y, *, out=None):
    """Gradient through log_sigmoid: dx = grad * f', with f' = -expm1(y).

    Parameters
    x
    Returns
    Raises
    out : x
    -inf
    0
    At the kink .
    """
    result = try_backward(11, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("log_sigmoid_backward", _LOG_SIGMOID, grad, y, out, ())


def silu(x, *, out=None):
    """silu: y = x * s(x), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_forward(12, x, out, 0.0, 0.0)
    return result if result is not None else forward("silu", _SILU, x, out, ())


def silu_backward(grad, x, *, out=None):
    """Gradient through silu: dx = grad * f', with f' = s(x) * (1 + x * s(-x)).

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_backward(12, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("silu_backward", _SILU, grad, x, out, ())


def mish(x, *, out=None):
    """mish: y = x * tanh(log1p(exp(x))), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_forward(13, x, out, 0.0, 0.0)
    return result if result is not None else forward("mish", _MISH, x, out, ())


def mish_backward(grad, x, *, out=None):
    """Gradient through mish: dx = grad * f', with f' = tanh(log1p(exp(x))) + x * s(x) * (1 - tanh(log1p(exp(x)))**2).

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_backward(13, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("mish_backward", _MISH, grad, x, out, ())


def hard_sigmoid(x, *, out=None):
    """hard_sigmoid: y = min(max(x + 3, 0), 6) / 6, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    1
    At the kink 0.
    """
    result = try_forward(14, x, out, 0.0, 0.0)
    return result if result is not None else forward("hard_sigmoid", _HARD_SIGMOID, x, out, ())


def hard_sigmoid_backward(grad, y, *, out=None):
    """Gradient through hard_sigmoid: dx = grad * f', with f' = 1 / 6 if 0 < y < 1 else 0.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    1
    At the kink 0.
    """
    result = try_backward(14, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("hard_sigmoid_backward", _HARD_SIGMOID, grad, y, out, ())


def hard_swish(x, *, out=None):
    """hard_swish: y = x * min(max(x + 3, 0), 6) / 6, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink 0 at -3, 1 at 3.
    """
    result = try_forward(15, x, out, 0.0, 0.0)
    return result if result is not None else forward("hard_swish", _HARD_SWISH, x, out, ())


def hard_swish_backward(grad, x, *, out=None):
    """Gradient through hard_swish: dx = grad * f', with f' = 0 if x <= -3 else 1 if x >= 3 else (2 * x + 3) / 6.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink 0 at -3, 1 at 3.
    """
    result = try_backward(15, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("hard_swish_backward", _HARD_SWISH, grad, x, out, ())


def hard_tanh(x, min_val: float = _HARD_TANH_MIN_VAL, max_val: float = _HARD_TANH_MAX_VAL, *, out=None):
    """hard_tanh: y = min(max(x, min_val), max_val), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    min_val : float, default -1
    max_val : float, default 1
    min_val
    max_val
    At the kink 0.
    """
    if min_val is not _HARD_TANH_MIN_VAL and not (type(min_val) is float and -inf < min_val < inf):
        min_val = parameter("hard_tanh", _HARD_TANH.parameters[0], min_val)
    if max_val is not _HARD_TANH_MAX_VAL and not (type(max_val) is float and -inf < max_val < inf):
        max_val = parameter("hard_tanh", _HARD_TANH.parameters[1], max_val)
    if not (min_val < max_val):
        order(
            "hard_tanh",
            _HARD_TANH,
            (
                min_val,
                max_val,
            ),
        )
    result = try_forward(16, x, out, min_val, max_val)
    return (
        result
        if result is not None
        else forward(
            "hard_tanh",
            _HARD_TANH,
            x,
            out,
            (
                min_val,
                max_val,
            ),
        )
    )


def hard_tanh_backward(grad, y, min_val: float = _HARD_TANH_MIN_VAL, max_val: float = _HARD_TANH_MAX_VAL, *, out=None):
    """Gradient through hard_tanh: dx = grad * f', with f' = 1 if min_val < y < max_val else 0.

    Parameters
    x
    Returns
    Raises
    out : x
    min_val : float, default -1
    max_val : float, default 1
    min_val
    max_val
    At the kink 0.
    """
    if min_val is not _HARD_TANH_MIN_VAL and not (type(min_val) is float and -inf < min_val < inf):
        min_val = parameter("hard_tanh_backward", _HARD_TANH.parameters[0], min_val)
    if max_val is not _HARD_TANH_MAX_VAL and not (type(max_val) is float and -inf < max_val < inf):
        max_val = parameter("hard_tanh_backward", _HARD_TANH.parameters[1], max_val)
    if not (min_val < max_val):
        order(
            "hard_tanh_backward",
            _HARD_TANH,
            (
                min_val,
                max_val,
            ),
        )
    result = try_backward(16, grad, y, out, min_val, max_val)
    return (
        result
        if result is not None
        else backward(
            "hard_tanh_backward",
            _HARD_TANH,
            grad,
            y,
            out,
            (
                min_val,
                max_val,
            ),
        )
    )


def relu6(x, *, out=None):
    """relu6: y = min(max(x, 0), 6), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    6
    At the kink 0.
    """
    result = try_forward(17, x, out, 0.0, 0.0)
    return result if result is not None else forward("relu6", _RELU6, x, out, ())


def relu6_backward(grad, y, *, out=None):
    """Gradient through relu6: dx = grad * f', with f' = 1 if 0 < y < 6 else 0.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    6
    At the kink 0.
    """
    result = try_backward(17, grad, y, out, 0.0, 0.0)
    return result if result is not None else backward("relu6_backward", _RELU6, grad, y, out, ())


def softsign(x, *, out=None):
    """softsign: y = x / (1 + abs(x)), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    -1
    1
    At the kink .
    """
    result = try_forward(18, x, out, 0.0, 0.0)
    return result if result is not None else forward("softsign", _SOFTSIGN, x, out, ())


def softsign_backward(grad, x, *, out=None):
    """Gradient through softsign: dx = grad * f', with f' = 1 / (1 + abs(x))**2.

    Parameters
    x
    Returns
    Raises
    out : x
    -1
    1
    At the kink .
    """
    result = try_backward(18, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("softsign_backward", _SOFTSIGN, grad, x, out, ())


def relu_squared(x, *, out=None):
    """relu_squared: y = max(0, x)**2, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_forward(19, x, out, 0.0, 0.0)
    return result if result is not None else forward("relu_squared", _RELU_SQUARED, x, out, ())


def relu_squared_backward(grad, x, *, out=None):
    """Gradient through relu_squared: dx = grad * f', with f' = 2 * max(0, x).

    Parameters
    x
    Returns
    Raises
    out : x
    0
    inf
    At the kink .
    """
    result = try_backward(19, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("relu_squared_backward", _RELU_SQUARED, grad, x, out, ())


def threshold(x, threshold: float = _THRESHOLD_THRESHOLD, value: float = _THRESHOLD_VALUE, *, out=None):
    """threshold: y = x if x > threshold else value, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    threshold : float, default 0
    value : float, default 0
    value
    inf
    At the kink 0.
    """
    if threshold is not _THRESHOLD_THRESHOLD and not (type(threshold) is float and -inf < threshold < inf):
        threshold = parameter("threshold", _THRESHOLD.parameters[0], threshold)
    if value is not _THRESHOLD_VALUE and not (type(value) is float and -inf < value < inf):
        value = parameter("threshold", _THRESHOLD.parameters[1], value)
    result = try_forward(20, x, out, threshold, value)
    return (
        result
        if result is not None
        else forward(
            "threshold",
            _THRESHOLD,
            x,
            out,
            (
                threshold,
                value,
            ),
        )
    )


def threshold_backward(grad, x, threshold: float = _THRESHOLD_THRESHOLD, value: float = _THRESHOLD_VALUE, *, out=None):
    """Gradient through threshold: dx = grad * f', with f' = 1 if x > threshold else 0.

    Parameters
    x
    Returns
    Raises
    out : x
    threshold : float, default 0
    value : float, default 0
    value
    inf
    At the kink 0.
    """
    if threshold is not _THRESHOLD_THRESHOLD and not (type(threshold) is float and -inf < threshold < inf):
        threshold = parameter("threshold_backward", _THRESHOLD.parameters[0], threshold)
    if value is not _THRESHOLD_VALUE and not (type(value) is float and -inf < value < inf):
        value = parameter("threshold_backward", _THRESHOLD.parameters[1], value)
    result = try_backward(20, grad, x, out, threshold, value)
    return (
        result
        if result is not None
        else backward(
            "threshold_backward",
            _THRESHOLD,
            grad,
            x,
            out,
            (
                threshold,
                value,
            ),
        )
    )


def hard_shrink(x, lambd: float = _HARD_SHRINK_LAMBD, *, out=None):
    """hard_shrink: y = x if abs(x) > lambd else 0, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    lambd : float, default 0.5
    -inf
    inf
    At the kink 0.
    """
    if lambd is not _HARD_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("hard_shrink", _HARD_SHRINK.parameters[0], lambd)
    result = try_forward(21, x, out, lambd, 0.0)
    return result if result is not None else forward("hard_shrink", _HARD_SHRINK, x, out, (lambd,))


def hard_shrink_backward(grad, x, lambd: float = _HARD_SHRINK_LAMBD, *, out=None):
    """Gradient through hard_shrink: dx = grad * f', with f' = 1 if abs(x) > lambd else 0.

    Parameters
    x
    Returns
    Raises
    out : x
    lambd : float, default 0.5
    -inf
    inf
    At the kink 0.
    """
    if lambd is not _HARD_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("hard_shrink_backward", _HARD_SHRINK.parameters[0], lambd)
    result = try_backward(21, grad, x, out, lambd, 0.0)
    return result if result is not None else backward("hard_shrink_backward", _HARD_SHRINK, grad, x, out, (lambd,))


def soft_shrink(x, lambd: float = _SOFT_SHRINK_LAMBD, *, out=None):
    """soft_shrink: y = x - lambd if x > lambd else x + lambd if x < -lambd else 0, elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    lambd : float, default 0.5
    -inf
    inf
    At the kink 0.
    """
    if lambd is not _SOFT_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("soft_shrink", _SOFT_SHRINK.parameters[0], lambd)
    result = try_forward(22, x, out, lambd, 0.0)
    return result if result is not None else forward("soft_shrink", _SOFT_SHRINK, x, out, (lambd,))


def soft_shrink_backward(grad, y, lambd: float = _SOFT_SHRINK_LAMBD, *, out=None):
    """Gradient through soft_shrink: dx = grad * f', with f' = 1 if y != 0 else 0.

    Parameters
    x
    Returns
    Raises
    out : x
    lambd : float, default 0.5
    -inf
    inf
    At the kink 0.
    """
    if lambd is not _SOFT_SHRINK_LAMBD and not (type(lambd) is float and 0.0 <= lambd < inf):
        lambd = parameter("soft_shrink_backward", _SOFT_SHRINK.parameters[0], lambd)
    result = try_backward(22, grad, y, out, lambd, 0.0)
    return result if result is not None else backward("soft_shrink_backward", _SOFT_SHRINK, grad, y, out, (lambd,))


def tanh_shrink(x, *, out=None):
    """tanh_shrink: y = x - tanh(x), elementwise.

    Parameters
    x
    Returns
    Raises
    out : x
    -inf
    inf
    At the kink .
    """
    result = try_forward(23, x, out, 0.0, 0.0)
    return result if result is not None else forward("tanh_shrink", _TANH_SHRINK, x, out, ())


def tanh_shrink_backward(grad, x, *, out=None):
    """Gradient through tanh_shrink: dx = grad * f', with f' = tanh(x)**2.

    Parameters
    x
    Returns
    Raises
    out : x
    -inf
    inf
    At the kink .
    """
    result = try_backward(23, grad, x, out, 0.0, 0.0)
    return result if result is not None else backward("tanh_shrink_backward", _TANH_SHRINK, grad, x, out, ())


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
