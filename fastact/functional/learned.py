"""Activations with a learned weight: one for all elements, or one a channel of the last axis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backends, checks
from ..epilogues import learned_weight
from ..registry import LEARNED
from .support import returned, writable

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
    return y if y is not None else _forward("prelu", x, weight, out)


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
    return PReluGradients(*_backward("prelu", grad, x, weight, out, out_weight))


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
    return y if y is not None else _forward("swish", x, beta, out)


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
    return SwishGradients(*_backward("swish", grad, x, beta, out, out_beta))


def _channels(x: np.ndarray) -> int | None:
    return x.shape[-1] if x.ndim else None


def _forward(name: str, x: Any, weight: Any, out: Any) -> Any:
    source, weight_name = checks.real_array(name, "x", x), LEARNED[name].weight_name
    w = learned_weight(name, weight_name, weight, source.dtype, _channels(source))
    target = checks.output(name, out, source.shape, source.dtype, {"x": source})
    if target is not None and checks.overlap(target, w):
        raise ValueError(f"{name}: out overlaps {weight_name}; pass exactly x or memory that touches neither")
    y = writable(target, source.shape, source.dtype)
    backends.current().learned(NUMBERS[name], checks.plain(source), checks.plain(w), y)
    y = returned(y, target)
    return y[()] if target is None and isinstance(x, np.generic) else y


def _backward(name: str, grad: Any, x: Any, weight: Any, out: Any, out_weight: Any) -> tuple[np.ndarray, np.ndarray]:
    function, weight_name = f"{name}_backward", LEARNED[name].weight_name
    g, source = checks.real_array(function, "grad", grad), checks.real_array(function, "x", x)
    checks.same_shape(function, grad=g, x=source)
    w = learned_weight(function, weight_name, weight, source.dtype, _channels(source))
    target = checks.output(function, out, g.shape, g.dtype, {"grad": g, "x": source})
    if target is not None and checks.overlap(target, w):
        raise ValueError(f"{function}: out overlaps {weight_name}; pass exactly grad or x or memory that touches none")
    others = {"grad": g, "x": source, **({} if target is None else {"out": target})}
    weight_target = checks.output(function, out_weight, w.shape, g.dtype, others, f"out_{weight_name}", exact=False)
    checks.output(function, weight_target, w.shape, g.dtype, {weight_name: w}, f"out_{weight_name}")
    dx, dw = writable(target, g.shape, g.dtype), np.empty(w.shape, g.dtype.newbyteorder("="))
    backends.current().learned_backward(NUMBERS[name], checks.plain(g), checks.plain(source), checks.plain(w), dx, dw)
    return returned(dx, target), returned(dw, weight_target)
