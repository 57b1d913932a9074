"""The activation functions by name: ``y = name(x, *, out=None)`` and ``dx = name_backward(grad, saved, *, out=None)``.

All elementwise functions are made from the registry. A plain call (contiguous native float32 or float64 arrays) goes
straight to the compiled core; everything else, errors included, takes the road through ``_checks``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _checks, _dense, registry, runtime
from ._dense import *  # noqa: F403 - dense, dense_forward, dense_backward and their results
from .registry import ACTIVATIONS, BoundActivation, Entry

__all__ = ["activation"]


def activation(name: str, **parameters: float) -> BoundActivation:
    """An activation with its parameters filled in, for ``Dense`` and wherever an activation's name is taken.

    Raises ValueError for an unknown name or a parameter out of range, TypeError for an unknown parameter.

    >>> str(activation("leaky_relu", negative_slope=0.2))
    'leaky_relu(negative_slope=0.2)'
    """
    entry = _checks.activation("activation", name).entry
    return BoundActivation(entry, _checks.parameters(f"activation({entry.name!r})", entry, parameters))


def _native(number: int, call: Callable[..., Any], values: tuple[float, ...], *arrays: np.ndarray, out: np.ndarray):
    """Run a core function on plain copies where the arrays are not plain, and write the result to out."""
    a, b = (*values, 0.0, 0.0)[:2]
    result = call(number, *[_checks.plain(array) for array in arrays], None, a, b)
    out[...] = result


def _forward(function: str, entry: Entry, x: Any, out: Any, values: tuple[float, ...]) -> Any:
    """y = f(x) for any layout, backend or mistake."""
    source = _checks.real_array(function, "x", x)
    target = _checks.output(function, out, source.shape, source.dtype, {"x": source})
    result = np.empty_like(source, dtype=source.dtype.newbyteorder("="), subok=False) if target is None else target
    if runtime.get_backend() == "native":
        _native(runtime.KERNEL_NUMBERS[entry.name], runtime._core.try_forward, values, source, out=result)
    else:
        result[...] = registry.value(entry, _checks.plain(source), values)
    return result[()] if target is None and isinstance(x, np.generic) else result


def _backward(function: str, entry: Entry, grad: Any, saved: Any, out: Any, values: tuple[float, ...]) -> Any:
    """dx = grad * f' for any layout, backend or mistake."""
    g = _checks.real_array(function, "grad", grad)
    s = _checks.real_array(function, entry.saved_name, saved)
    _checks.same_shape(function, **{"grad": g, entry.saved_name: s})
    target = _checks.output(function, out, g.shape, g.dtype, {"grad": g, entry.saved_name: s})
    result = np.empty_like(g, dtype=g.dtype.newbyteorder("="), subok=False) if target is None else target
    if runtime.get_backend() == "native":
        _native(runtime.KERNEL_NUMBERS[entry.name], runtime._core.try_backward, values, g, s, out=result)
    else:
        result[...] = registry.gradient(entry, _checks.plain(g), _checks.plain(s), values)
    return result[()] if target is None and isinstance(grad, np.generic) else result


def _nothing(*_: object) -> None:
    """In place of the core's fast path where the core is missing."""


_try_forward = runtime._core.try_forward if runtime._core is not None else _nothing
_try_backward = runtime._core.try_backward if runtime._core is not None else _nothing

# Real signatures without the cost of *args: the source of each function is filled in and compiled, as the standard
# library does for dataclasses.
_SOURCE = """
def {name}({x}{signature}, *, out=None):
{checks}
    result = try_forward({number}, {x}, out, {arguments})
    return result if result is not None else forward("{name}", entry, {x}, out, ({values}))

def {name}_backward(grad, {saved}{signature}, *, out=None):
{checks_backward}
    result = try_backward({number}, grad, {saved}, out, {arguments})
    return result if result is not None else backward("{name}_backward", entry, grad, {saved}, out, ({values}))
"""
_CHECK = """
    if {name} is not default_{name}:
        {name} = parameter("{function}", spec_{name}, {name})"""

_FORWARD_DOC = """{name}: y = {formula}, elementwise.

    Parameters
    ----------
    x : ndarray of float32 or float64, any shape
{parameters}    out : ndarray, optional
        Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

    Returns
    -------
    y : ndarray of x's shape and dtype (out itself when given; a scalar for a NumPy scalar)

    Raises
    ------
    TypeError : x or out is not a float32 or float64 array, or their dtypes differ
    ValueError : wrong shape, read-only or overlapping out{range_error}

    Limits: {low} at -inf, {high} at inf; NaN stays NaN.
    """
_BACKWARD_DOC = """Gradient through {name}: dx = grad * f', with f' = {slope}.

    Parameters
    ----------
    grad : ndarray of float32 or float64, the gradient with respect to y
    {saved} : ndarray like grad, {saved_words}
{parameters}    out : ndarray, optional
        Where to put dx: exactly grad, exactly {saved}, or memory that touches neither.

    Returns
    -------
    dx : ndarray of grad's shape and dtype (out itself when given)

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes differ, read-only or overlapping out{range_error}
{kink}
    """


def _define(entry: Entry) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and backward function of an entry."""
    names = [p.name for p in entry.parameters]
    namespace: dict[str, Any] = {
        "try_forward": _try_forward,
        "try_backward": _try_backward,
        "forward": _forward,
        "backward": _backward,
        "entry": entry,
        "parameter": _checks.parameter,
    }
    for p in entry.parameters:
        namespace[f"default_{p.name}"] = p.default
        namespace[f"spec_{p.name}"] = p
    source = _SOURCE.format(
        name=entry.name,
        x="x",
        saved=entry.saved_name,
        number=runtime.KERNEL_NUMBERS.get(entry.name, -1),
        signature="".join(f", {n}=default_{n}" for n in names),
        checks="".join(_CHECK.format(name=n, function=entry.name) for n in names),
        checks_backward="".join(_CHECK.format(name=n, function=f"{entry.name}_backward") for n in names),
        arguments=", ".join([*names, "0.0", "0.0"][:2]),
        values="".join(f"{n}, " for n in names),
    )
    exec(compile(source, f"<fastact.functional {entry.name}>", "exec"), namespace)
    forward, backward = namespace[entry.name], namespace[f"{entry.name}_backward"]
    documents = "".join(
        f"    {p.name} : float, default {p.default:g}\n        {p.range}; rounded to the array's dtype\n"
        for p in entry.parameters
    )
    words = {"y": "what forward returned", "x": "what forward was given", None: "what forward returned (not read)"}
    common = {
        "name": entry.name,
        "parameters": documents,
        "range_error": ", or a parameter out of range" if names else "",
    }
    forward.__doc__ = _FORWARD_DOC.format(formula=entry.formula, low=entry.limits[0], high=entry.limits[1], **common)
    backward.__doc__ = _BACKWARD_DOC.format(
        slope=entry.slope_formula,
        saved=entry.saved_name,
        saved_words=words[entry.saves],
        kink=f"\n    At the kink (x = {', '.join(entry.kinks)}) the slope is {entry.at_kink}." if entry.kinks else "",
        **common,
    )
    for made in (forward, backward):
        made.__module__ = __name__
    return forward, backward


for _entry in ACTIVATIONS.values():
    globals()[_entry.name], globals()[f"{_entry.name}_backward"] = _define(_entry)
    __all__.extend((_entry.name, f"{_entry.name}_backward"))
__all__.extend(_dense.__all__)
__all__.sort()
