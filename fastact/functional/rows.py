"""Functions of rows: softmax and its logarithm, over the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backends, checks
from ..epilogues import ROW_FUNCTIONS

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]

_try_rows, _try_rows_backward = backends.engine.try_rows, backends.engine.try_rows_backward
NUMBERS = {name: number for number, name in enumerate(ROW_FUNCTIONS)}
_SOFTMAX, _LOG_SOFTMAX = NUMBERS["softmax"], NUMBERS["log_softmax"]


def softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """softmax over the last axis: y_j = exp(x_j - max x) / sum_k exp(x_k - max x).

    ``x`` is float32 or float64 with at least one dimension; ``out`` may be exactly x. Raises TypeError for another
    dtype, ValueError for a scalar or for a wrong, read-only or overlapping out.

    A row with NaN or +inf is NaN, and so is a row of -inf, as in PyTorch; -inf among finite numbers gives 0. Of a
    row, the same bits come out whatever its neighbours and the number of threads.
    """
    y = _try_rows(_SOFTMAX, x, out)
    return y if y is not None else _forward("softmax", x, out)


def softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through softmax from its output: dx = y * (grad - sum(grad * y)), over the last axis.

    ``out`` may be exactly grad or exactly y. Raises TypeError for other dtypes, ValueError for different shapes or a
    wrong, read-only or overlapping out.
    """
    dx = _try_rows_backward(_SOFTMAX, grad, y, out)
    return dx if dx is not None else _backward("softmax_backward", grad, y, out)


def log_softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Logarithm of softmax over the last axis: y_j = x_j - max x - log(sum_k exp(x_k - max x)).

    Arguments, errors and special rows as for ``softmax``; -inf among finite numbers gives -inf.
    """
    y = _try_rows(_LOG_SOFTMAX, x, out)
    return y if y is not None else _forward("log_softmax", x, out)


def log_softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through log_softmax from its output: dx = grad - exp(y) * sum(grad), over the last axis.

    Arguments and errors as for ``softmax_backward``.
    """
    dx = _try_rows_backward(_LOG_SOFTMAX, grad, y, out)
    return dx if dx is not None else _backward("log_softmax_backward", grad, y, out)


def _forward(function: str, x: Any, out: Any) -> np.ndarray:
    source = checks.at_least_one_axis(function, "x", x, out)
    target = checks.output(function, out, source.shape, source.dtype, {"x": source})
    y = checks.writable(target, source.shape, source.dtype)
    backends.current().rows(NUMBERS[function], checks.plain(source), y)
    return checks.returned(y, target)


def _backward(function: str, grad: Any, y: Any, out: Any) -> np.ndarray:
    g = checks.at_least_one_axis(function, "grad", grad, y, out)
    s = checks.at_least_one_axis(function, "y", y, grad, out)
    checks.same_shape(function, grad=g, y=s)
    target = checks.output(function, out, g.shape, g.dtype, {"grad": g, "y": s})
    dx = checks.writable(target, g.shape, g.dtype)
    number = NUMBERS[function.removesuffix("_backward")]
    backends.current().rows_backward(number, checks.plain(g), checks.plain(s), dx)
    return checks.returned(dx, target)
