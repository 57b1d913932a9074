"""The slow path of the public functions: any layout, backend or mistake; and what they all do with results.

A plain call (contiguous native float32 or float64 arrays) goes straight to the compiled core, whose ``try_`` functions
return None for everything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backends, checks
from ..epilogues import FixedActivation
from ..registry import Entry


def forward(function: str, entry: Entry, x: Any, out: Any, values: tuple[float, ...]) -> Any:
    """y = f(x), elementwise."""
    source = checks.real_array(function, "x", x)
    target = checks.output(function, out, source.shape, source.dtype, {"x": source})
    plain = checks.plain(source)
    y = np.empty_like(plain)
    number, a, b = FixedActivation(entry, values).kernel
    backends.current().forward(number, plain, y, a, b)
    return _in_layout_of(source, y, target, x)


def backward(function: str, entry: Entry, grad: Any, saved: Any, out: Any, values: tuple[float, ...]) -> Any:
    """dx = grad * f', elementwise."""
    g = checks.real_array(function, "grad", grad)
    s = checks.real_array(function, entry.saved_name, saved)
    checks.same_shape(function, **{"grad": g, entry.saved_name: s})
    target = checks.output(function, out, g.shape, g.dtype, {"grad": g, entry.saved_name: s})
    plain = checks.plain(g)
    dx = np.empty_like(plain)
    number, a, b = FixedActivation(entry, values).kernel
    backends.current().backward(number, plain, checks.plain(s), dx, a, b)
    return _in_layout_of(g, dx, target, grad)


def _in_layout_of(source: np.ndarray, result: np.ndarray, target: np.ndarray | None, given: Any) -> Any:
    """The result in the target, else in a new array of source's memory order; a scalar for a NumPy scalar."""
    if target is None:
        target = np.empty_like(source, dtype=result.dtype, subok=False)
        target[...] = result
        return target[()] if isinstance(given, np.generic) else target
    target[...] = result
    return target


def writable(target: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The target where the kernels can write to it, else memory for a plain result."""
    if target is not None and checks.is_plain(target):
        return target
    return np.empty(shape, dtype.newbyteorder("="))


def returned(result: np.ndarray, target: np.ndarray | None) -> np.ndarray:
    """The target holding the result, or the result where no target was given."""
    if target is None or target is result:
        return result
    target[...] = result
    return target


def byte_array(function: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array of that shape."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise TypeError(f"{function}: expected {name} to be a uint8 array, got {checks.describe(value)}")
    if value.shape != shape:
        raise ValueError(f"{function}: expected {name} to have shape {shape}, got {value.shape}")
    return value
