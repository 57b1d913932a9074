"""Functions whose forward notes where the gradient goes: maxout by an index, the masked ReLU by a bit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backends, checks
from ..epilogues import MaxoutEpilogue, maxout_pieces

__all__ = ["maxout", "maxout_backward", "relu_masked", "relu_masked_backward"]

_try_maxout, _try_maxout_backward = backends.engine.try_maxout, backends.engine.try_maxout_backward
_try_relu_masked, _try_relu_masked_backward = backends.engine.try_relu_masked, backends.engine.try_relu_masked_backward


class MaxoutResult(NamedTuple):
    """What ``maxout`` returns."""

    y: np.ndarray
    index: np.ndarray  # type: ignore[assignment] # hides the method that all tuples have


def maxout(
    x: np.ndarray, pieces: int, *, out: np.ndarray | None = None, out_index: np.ndarray | None = None
) -> MaxoutResult:
    """Maximum over groups of ``pieces`` neighbours along the last axis (Goodfellow et al. 2013, arXiv:1302.4389).

    Parameters
    ----------
    x : float32 or float64 array of shape (..., k * pieces)
    pieces : whole number from 1 to 256
    out : optional array for y, of shape (..., k), that does not touch x
    out_index : optional uint8 array for the index, of shape (..., k)

    Returns
    -------
    (y, index) : the maxima, and which piece won. The first of equals wins; the first NaN wins over everything.
    """
    found = _try_maxout(x, pieces, out, out_index, MaxoutResult)
    return found if found is not None else MaxoutResult(*_slow("maxout", pieces)(x, out=out, out_index=out_index))


def maxout_backward(grad: np.ndarray, index: np.ndarray, pieces: int, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through maxout: grad goes to the piece that won, 0 to the others.

    ``grad`` and ``index`` have shape (..., k); the result, and ``out`` when given (memory that touches neither), has
    (..., k * pieces). Raises ValueError for an index that is not below pieces.
    """
    dx = _try_maxout_backward(grad, index, pieces, out)
    return dx if dx is not None else _slow("maxout_backward", pieces).backward(grad, index, out=out)


def relu_masked(x: np.ndarray, *, mask: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """ReLU that keeps one bit an element for backward: y = x where x >= 0, else 0; bit = (x >= 0).

    The slope at 0 is 1 here (the mask m = (x >= 0)), where ``relu`` has 0. A NaN stays, with its bit 0.

    Parameters
    ----------
    x : float32 or float64 array
    mask : uint8 array of (x.size + 7) // 8 elements that is filled: bit i % 8 of byte i // 8 (least significant first)
        belongs to element i in C order, as in ``np.packbits(x >= 0, bitorder="little")``
    out : optional, exactly x (in place) or memory that does not touch it
    """
    y = _try_relu_masked(x, mask, out)
    return y if y is not None else _relu_masked(x, mask, out)


def relu_masked_backward(grad: np.ndarray, mask: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through relu_masked: grad where the bit is set, 0 elsewhere. ``out`` may be exactly grad."""
    dx = _try_relu_masked_backward(grad, mask, out)
    return dx if dx is not None else _relu_masked_backward(grad, mask, out)


def _slow(function: str, pieces: Any) -> MaxoutEpilogue:
    return MaxoutEpilogue(maxout_pieces(function, pieces))


def _relu_masked(x: Any, mask: Any, out: Any) -> np.ndarray:
    name = "relu_masked"
    source = checks.real_array(name, "x", x, out)
    target = checks.output(name, out, source.shape, source.dtype, {"x": source})
    bits = checks.byte_array(name, "mask", mask, ((source.size + 7) // 8,))
    others = {"x": source} if target is None else {"x": source, "out": target}
    checks.output(name, bits, bits.shape, bits.dtype, others, "mask", exact=False)
    y, plain_bits = checks.writable(target, source.shape, source.dtype), checks.writable(bits, bits.shape, bits.dtype)
    backends.current().relu_masked(checks.plain(source), y, plain_bits)
    checks.returned(plain_bits, bits)
    return checks.returned(y, target)


def _relu_masked_backward(grad: Any, mask: Any, out: Any) -> np.ndarray:
    name = "relu_masked_backward"
    g = checks.real_array(name, "grad", grad, out)
    bits = checks.byte_array(name, "mask", mask, ((g.size + 7) // 8,))
    target = checks.output(name, out, g.shape, g.dtype, {"grad": g})
    if target is not None and checks.overlap(target, bits):
        raise ValueError(f"{name}: out overlaps mask; pass exactly grad or memory that touches neither")
    dx = checks.writable(target, g.shape, g.dtype)
    backends.current().relu_masked_backward(checks.plain(g), checks.plain(bits), dx)
    return checks.returned(dx, target)
