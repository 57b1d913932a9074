"""Activations with a learned weight: one for all elements, or one a channel of the last axis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backends
from ..epilogues import LearnedActivation
from ..registry import LEARNED

__all__ = ["prelu", "prelu_backward", "swish", "swish_backward"]

_try_learned, _try_learned_backward = backends.engine.try_learned, backends.engine.try_learned_backward
NUMBERS = {name: number for number, name in enumerate(LEARNED)}
_PRELU, _SWISH = NUMBERS["prelu"], NUMBERS["swish"]


class PReluGradients(NamedTuple):
    """What ``prelu_backward`` returns."""

    dx: np.ndarray
    dweight: np.ndarray


def prelu(x: np.ndarray, weight: float | np.ndarray = 0.25, *, out: np.ndarray | None = None) -> np.ndarray:
    """Leaky ReLU with a learned slope: y = x if x > 0 else weight * x (He et al. 2015, arXiv:1502.01852).

    ``weight`` is a number, or an array of shape () or (1,) for one slope, or (channels,) for one per channel of the
    last axis, of x's dtype. ``out`` may be exactly x. The slope at 0 is weight. Raises TypeError for wrong dtypes,
    ValueError for wrong shapes and a read-only or overlapping out.
    """
    y = _try_learned(_PRELU, x, weight, out)
    return y if y is not None else _slow("prelu", weight)(x, out=out)


def prelu_backward(
    grad: np.ndarray,
    x: np.ndarray,
    weight: float | np.ndarray = 0.25,
    *,
    out: np.ndarray | None = None,
    out_weight: np.ndarray | None = None,
) -> PReluGradients:
    """(dx, dweight) of prelu from one pass: dx = grad * (1 if x > 0 else weight), dweight = sum of grad * min(x, 0).

    dweight has weight's shape; it is summed in fixed blocks, so its bits do not depend on threads. ``out`` (for dx)
    may be exactly grad or exactly x; ``out_weight`` must touch neither.
    """
    found = _try_learned_backward(_PRELU, grad, x, weight, out, out_weight, PReluGradients)
    if found is not None:
        return found
    return PReluGradients(*_slow("prelu", weight).backward(grad, x, out=out, out_parameter=out_weight))


class SwishGradients(NamedTuple):
    """What ``swish_backward`` returns."""

    dx: np.ndarray
    dbeta: np.ndarray


def swish(x: np.ndarray, beta: float | np.ndarray = 1.0, *, out: np.ndarray | None = None) -> np.ndarray:
    """Swish with a learned beta: y = x * s(beta * x), s the logistic function (Ramachandran et al. 2017,
    arXiv:1710.05941). With beta = 1 it is ``silu``, with beta = 0 it is x / 2.

    ``beta`` is a number, or an array of shape () or (1,) for all, or (channels,) for one per channel of the last axis,
    of x's dtype. ``out`` may be exactly x. Raises TypeError for wrong dtypes, ValueError for wrong shapes and a
    read-only or overlapping out.
    """
    y = _try_learned(_SWISH, x, beta, out)
    return y if y is not None else _slow("swish", beta)(x, out=out)


def swish_backward(
    grad: np.ndarray,
    x: np.ndarray,
    beta: float | np.ndarray = 1.0,
    *,
    out: np.ndarray | None = None,
    out_beta: np.ndarray | None = None,
) -> SwishGradients:
    """(dx, dbeta) of swish from one pass: dx = grad * s * (1 + beta * x * (1 - s)), dbeta = sum of grad x^2 s (1 - s).

    dbeta has beta's shape; it is summed in fixed blocks, so its bits do not depend on threads. ``out`` (for dx) may
    be exactly grad or exactly x; ``out_beta`` must touch neither.
    """
    found = _try_learned_backward(_SWISH, grad, x, beta, out, out_beta, SwishGradients)
    if found is not None:
        return found
    return SwishGradients(*_slow("swish", beta).backward(grad, x, out=out, out_parameter=out_beta))


def _slow(function: str, weight: Any) -> LearnedActivation:
    return LearnedActivation(LEARNED[function], weight)
