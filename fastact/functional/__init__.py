"""The activation functions by name: ``y = name(x, *, out=None)`` and ``dx = name_backward(grad, saved, *, out=None)``.

All elementwise functions are made from the registry. A plain call (contiguous native float32 or float64 arrays) goes
straight to the compiled core; everything else, errors included, takes the road through ``checks``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import backends, checks, registry, runtime
from ..registry import ACTIVATIONS, AnyActivation, BoundActivation, Entry
from . import fused as _dense
from .fused import *  # noqa: F403 - dense, dense_forward, dense_backward and their results

__all__ = ["activation"]

ROW_FUNCTIONS = ("softmax", "log_softmax")


def activation(name: str, **parameters: Any) -> AnyActivation:
    """An activation with its parameters filled in, for ``Dense`` and wherever an activation's name is taken.

    Beside the elementwise ones with their numbers, for dense layers also those with a learned weight, ``"prelu"`` with
    ``weight`` and ``"swish"`` with ``beta`` (a number, or an array with one for all outputs or one for each), and
    ``"maxout"`` with ``pieces``, a whole number from 1 to 256: the largest of that many linear maps.

    ``activation("gelu", approximate="tanh")`` is ``gelu_tanh``, as in the functions. Raises ValueError for an unknown
    name or a parameter out of range, TypeError for an unknown parameter.

    >>> str(activation("leaky_relu", negative_slope=0.2))
    'leaky_relu(negative_slope=0.2)'
    """
    if name in registry.LEARNED or name == "maxout":
        return checks.dense_activation("activation", name, parameters)
    entry = checks.activation("activation", name).entry
    if entry.approximations and "approximate" in parameters:
        entry = _approximation(f"activation({entry.name!r})", entry, parameters.pop("approximate"))
    return BoundActivation(entry, checks.parameters(f"activation({entry.name!r})", entry, parameters))


def _approximation(function: str, entry: Entry, approximate: Any) -> Entry:
    """The activation that ``approximate=`` means."""
    chosen = checks.choice(function, "approximate", approximate, ("none", *entry.approximations))
    return entry if chosen == "none" else ACTIVATIONS[entry.approximations[chosen]]


def _native(number: int, call: Callable[..., Any], values: tuple[float, ...], *arrays: np.ndarray, out: np.ndarray):
    """Run a core function on plain copies where the arrays are not plain, and write the result to out."""
    a, b = (*values, 0.0, 0.0)[:2]
    result = call(number, *[checks.plain(array) for array in arrays], None, a, b)
    out[...] = result


def custom_activation(
    name: str,
    value: Callable[[np.ndarray], np.ndarray],
    slope: Callable[[np.ndarray], np.ndarray],
    saves: str = "x",
) -> BoundActivation:
    """An activation of one's own from two NumPy functions, for ``dense``, ``Dense`` and ``Activation``.

    Parameters
    ----------
    name : an identifier that no activation of the library has; networks are saved with it, and ``load`` is given the
        activation back as ``custom={name: activation}``
    value : function of an array of float32 or float64, any shape, that returns f(x) of the same shape
    slope : the same for f', from x, or from y = f(x) where saves is "y"
    saves : "x" (default), or "y": backward needs less memory where the slope follows from the output

    Both run at NumPy's speed, in either backend. Results are rounded to the dtype of the array. Raises TypeError or
    ValueError for a name that is taken, and where the functions do not give an array of the shape they were given.

    >>> square = custom_activation("square", value=lambda x: x * x, slope=lambda x: 2 * x)
    """
    function = "custom_activation"
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{function}: expected name to be an identifier, got {name!r}")
    if name in ACTIVATIONS or name in registry.LEARNED or name in ROW_FUNCTIONS:
        raise ValueError(f"{function}: {name} is an activation of the library; choose another name")
    checks.choice(function, "saves", saves, ("x", "y"))
    for role, given in (("value", value), ("slope", slope)):
        if not callable(given):
            raise TypeError(f"{function}: expected {role} to be a function of an array, got {checks.describe(given)}")
        with np.errstate(all="ignore"):
            result = np.asarray(given(np.linspace(-1, 1, 6).reshape(2, 3)))
        if result.shape != (2, 3) or result.dtype.kind not in "fiub":
            raise ValueError(
                f"{function}: expected {role} to return numbers of the shape it is given, (2, 3), "
                f"got {checks.describe(result)}"
            )
    entry = Entry(
        name=name, formula=f"{name}(x)", slope_formula=f"{name}'({saves})", value=value, slope=slope, saves=saves,
        limits=("value(-inf)", "value(inf)"),
    )  # fmt: skip
    return BoundActivation(entry, ())


def activate_into(bound: BoundActivation, x: np.ndarray, y: np.ndarray) -> None:
    """y = f(x) for plain arrays; y may be x."""
    if _has_kernel(bound.entry):
        runtime._core.forward(runtime.KERNEL_NUMBERS[bound.name], x, y, *(*bound.values, 0.0, 0.0)[:2])
    else:
        y[...] = registry.value(bound.entry, x, bound.values)


def activate_backward_into(bound: BoundActivation, grad: np.ndarray, saved: np.ndarray, dx: np.ndarray) -> None:
    """dx = grad * f' for plain arrays; dx may be grad or saved."""
    if _has_kernel(bound.entry):
        runtime._core.backward(runtime.KERNEL_NUMBERS[bound.name], grad, saved, dx, *(*bound.values, 0.0, 0.0)[:2])
    else:
        dx[...] = registry.gradient(bound.entry, grad, saved, bound.values)


def _has_kernel(entry: Entry) -> bool:
    """Whether the compiled kernel is to be used; without one (an activation of the user's own) NumPy computes."""
    return backends.get_backend() == "native" and entry.name in runtime.KERNEL_NUMBERS


def _forward(function: str, entry: Entry, x: Any, out: Any, values: tuple[float, ...]) -> Any:
    """y = f(x) for any layout, backend or mistake."""
    source = checks.real_array(function, "x", x)
    target = checks.output(function, out, source.shape, source.dtype, {"x": source})
    result = np.empty_like(source, dtype=source.dtype.newbyteorder("="), subok=False) if target is None else target
    if _has_kernel(entry):
        _native(runtime.KERNEL_NUMBERS[entry.name], runtime._core.try_forward, values, source, out=result)
    else:
        result[...] = registry.value(entry, checks.plain(source), values)
    return result[()] if target is None and isinstance(x, np.generic) else result


def _backward(function: str, entry: Entry, grad: Any, saved: Any, out: Any, values: tuple[float, ...]) -> Any:
    """dx = grad * f' for any layout, backend or mistake."""
    g = checks.real_array(function, "grad", grad)
    s = checks.real_array(function, entry.saved_name, saved)
    checks.same_shape(function, **{"grad": g, entry.saved_name: s})
    target = checks.output(function, out, g.shape, g.dtype, {"grad": g, entry.saved_name: s})
    result = np.empty_like(g, dtype=g.dtype.newbyteorder("="), subok=False) if target is None else target
    if _has_kernel(entry):
        _native(runtime.KERNEL_NUMBERS[entry.name], runtime._core.try_backward, values, g, s, out=result)
    else:
        result[...] = registry.gradient(entry, checks.plain(g), checks.plain(s), values)
    return result[()] if target is None and isinstance(grad, np.generic) else result


def _nothing(*_: object) -> None:
    """In place of the core's fast path where the core is missing."""


def _fast(name: str) -> Callable[..., Any]:
    """The core's fast path of that name."""
    return getattr(runtime._core, name) if runtime._core is not None else _nothing


_try_forward, _try_backward = _fast("try_forward"), _fast("try_backward")

# Real signatures without the cost of *args: the source of each function is filled in and compiled, as the standard
# library does for dataclasses.
_SOURCE = """
def {name}({x}{signature}, *{approximate}, out=None):
{checks}
    result = try_forward({number}, {x}, out, {arguments})
    return result if result is not None else forward("{name}", entry, {x}, out, ({values}))

def {name}_backward(grad, {saved}{signature}, *{approximate}, out=None):
{checks_backward}
    result = try_backward({number}, grad, {saved}, out, {arguments})
    return result if result is not None else backward("{name}_backward", entry, grad, {saved}, out, ({values}))
"""
_CHECK = """
    if {name} is not default_{name} and not (type({name}) is float and low_{name} {below} {name} < inf):
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


_CHECK_ORDER = """
    if not ({chain}):
        order("{function}", entry, ({values}))"""
_CHECK_APPROXIMATE = """
    if approximate != "none":
        return functions[approximation("{function}", entry, approximate).name{suffix}]({arguments}, out=out)"""


def _define(entry: Entry) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and backward function of an entry."""
    names = [p.name for p in entry.parameters]
    namespace: dict[str, Any] = {
        "try_forward": _try_forward if entry.name in runtime.KERNEL_NUMBERS else _nothing,
        "try_backward": _try_backward if entry.name in runtime.KERNEL_NUMBERS else _nothing,
        "forward": _forward,
        "backward": _backward,
        "entry": entry,
        "parameter": checks.parameter,
        "order": checks.order,
        "approximation": _approximation,
        "functions": globals(),
    }
    for p in entry.parameters:
        namespace[f"default_{p.name}"] = p.default
        namespace[f"spec_{p.name}"] = p
        namespace[f"low_{p.name}"] = p.low
        namespace["inf"] = math.inf
    values = "".join(f"{n}, " for n in names)

    def checked(function: str, suffix: str, arguments: str) -> str:
        lines = [
            _CHECK.format(name=p.name, function=function, below="<=" if p.low_included and p.low > -math.inf else "<")
            for p in entry.parameters
        ]
        if entry.approximations:
            lines.append(_CHECK_APPROXIMATE.format(function=function, suffix=suffix, arguments=arguments))
        if entry.ordered:
            lines.append(_CHECK_ORDER.format(function=function, values=values, chain=" < ".join(names)))
        return "".join(lines)

    source = _SOURCE.format(
        name=entry.name,
        x="x",
        saved=entry.saved_name,
        number=runtime.KERNEL_NUMBERS.get(entry.name, -1),
        signature="".join(f", {n}=default_{n}" for n in names),
        approximate=', approximate="none"' if entry.approximations else "",
        checks=checked(entry.name, "", "x"),
        checks_backward=checked(f"{entry.name}_backward", ' + "_backward"', f"grad, {entry.saved_name}"),
        arguments=", ".join([*names, "0.0", "0.0"][:2]),
        values=values,
    )
    exec(compile(source, f"<fastact.functional {entry.name}>", "exec"), namespace)
    forward, backward = namespace[entry.name], namespace[f"{entry.name}_backward"]
    documents = "".join(
        f"    {p.name} : float, default {p.default:g}\n        {p.range}; rounded to the array's dtype\n"
        for p in entry.parameters
    )
    for approximate, name in entry.approximations.items():
        documents += f'    approximate : "none", or "{approximate}" for ``{name}``\n'
    words = {"y": "what forward returned", "x": "what forward was given", None: "what forward returned (not read)"}
    common = {
        "name": entry.name,
        "parameters": documents,
        "range_error": ", or a parameter out of range" if documents else "",
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


# ------------------------------------------------------------------------------------------ functions of rows


class Maxout(NamedTuple):
    """What ``maxout`` returns."""

    y: np.ndarray
    index: np.ndarray


class PReluGradients(NamedTuple):
    """What ``prelu_backward`` returns."""

    dx: np.ndarray
    dweight: np.ndarray


def _rows_input(function: str, name: str, value: Any) -> np.ndarray:
    array = checks.real_array(function, name, value)
    if array.ndim == 0:
        raise ValueError(f"{function}: expected {name} to have at least one dimension, got a scalar")
    return array


def _softmax_numpy(x: np.ndarray, logarithm: bool) -> np.ndarray:
    if x.size == 0:
        return x.copy()
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=-1, keepdims=True)
        e = np.exp(shifted)
        sums = e.sum(axis=-1, keepdims=True)
        return shifted - np.log(sums) if logarithm else e / sums


def _softmax_gradient_numpy(grad: np.ndarray, y: np.ndarray, logarithm: bool) -> np.ndarray:
    with np.errstate(all="ignore"):
        if logarithm:
            return grad - np.exp(y) * grad.sum(axis=-1, keepdims=True)
        return y * (grad - (grad * y).sum(axis=-1, keepdims=True))


def _rows_forward(function: str, x: Any, out: Any) -> Any:
    """A function of each row for any layout, backend or mistake."""
    source = _rows_input(function, "x", x)
    target = checks.output(function, out, source.shape, source.dtype, {"x": source})
    result = rows_forward(function, checks.plain(source), None)
    if target is None:
        return result
    target[...] = result
    return target


def rows_forward(name: str, x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """softmax or log_softmax of plain x, into y (which may be x) unless None."""
    if backends.get_backend() == "native":
        return runtime._core.try_rows(runtime.ROW_NUMBERS[name], x, y)
    result = _softmax_numpy(x, name == "log_softmax")
    if y is not None:
        y[...] = result
    return result if y is None else y


def rows_backward(name: str, grad: np.ndarray, y: np.ndarray, dx: np.ndarray | None) -> np.ndarray:
    """Their gradient from the output, into dx (which may be grad or y) unless None."""
    if backends.get_backend() == "native":
        return runtime._core.try_rows_backward(runtime.ROW_NUMBERS[name], grad, y, dx)
    result = _softmax_gradient_numpy(grad, y, name == "log_softmax")
    if dx is not None:
        dx[...] = result
    return result if dx is None else dx


def _rows_backward(function: str, grad: Any, y: Any, out: Any) -> Any:
    """Gradient of a function of each row for any layout, backend or mistake."""
    g, s = _rows_input(function, "grad", grad), _rows_input(function, "y", y)
    checks.same_shape(function, grad=g, y=s)
    target = checks.output(function, out, g.shape, g.dtype, {"grad": g, "y": s})
    result = rows_backward(function.removesuffix("_backward"), checks.plain(g), checks.plain(s), None)
    if target is None:
        return result
    target[...] = result
    return target


_try_rows, _try_rows_backward = _fast("try_rows"), _fast("try_rows_backward")
_try_learned, _try_learned_backward = _fast("try_learned"), _fast("try_learned_backward")
_try_maxout, _try_maxout_backward = _fast("try_maxout"), _fast("try_maxout_backward")
_try_relu_masked, _try_relu_masked_backward = _fast("try_relu_masked"), _fast("try_relu_masked_backward")
_PRELU, _SWISH = runtime.LEARNED_NUMBERS.get("prelu", -1), runtime.LEARNED_NUMBERS.get("swish", -1)
_SOFTMAX = runtime.ROW_NUMBERS.get("softmax", -1)
_LOG_SOFTMAX = runtime.ROW_NUMBERS.get("log_softmax", -1)


def softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """softmax over the last axis: y_j = exp(x_j - max x) / sum_k exp(x_k - max x).

    ``x`` is float32 or float64 with at least one dimension; ``out`` may be exactly x. Raises TypeError for another
    dtype, ValueError for a scalar or for a wrong, read-only or overlapping out.

    A row with NaN or +inf is NaN, and so is a row of -inf, as in PyTorch; -inf among finite numbers gives 0. Of a
    row, the same bits come out whatever its neighbours and the number of threads.
    """
    y = _try_rows(_SOFTMAX, x, out)
    return y if y is not None else _rows_forward("softmax", x, out)


def softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through softmax from its output: dx = y * (grad - sum(grad * y)), over the last axis.

    ``out`` may be exactly grad or exactly y. Raises TypeError for other dtypes, ValueError for different shapes or a
    wrong, read-only or overlapping out.
    """
    dx = _try_rows_backward(_SOFTMAX, grad, y, out)
    return dx if dx is not None else _rows_backward("softmax_backward", grad, y, out)


def log_softmax(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Logarithm of softmax over the last axis: y_j = x_j - max x - log(sum_k exp(x_k - max x)).

    Arguments, errors and special rows as for ``softmax``; -inf among finite numbers gives -inf.
    """
    y = _try_rows(_LOG_SOFTMAX, x, out)
    return y if y is not None else _rows_forward("log_softmax", x, out)


def log_softmax_backward(grad: np.ndarray, y: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through log_softmax from its output: dx = grad - exp(y) * sum(grad), over the last axis.

    Arguments and errors as for ``softmax_backward``.
    """
    dx = _try_rows_backward(_LOG_SOFTMAX, grad, y, out)
    return dx if dx is not None else _rows_backward("log_softmax_backward", grad, y, out)


def maxout(x: np.ndarray, pieces: int, *, out: np.ndarray | None = None, out_index: np.ndarray | None = None) -> Maxout:
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
    found = _try_maxout(x, pieces, out, out_index, Maxout)
    return found if found is not None else Maxout(*_maxout(x, pieces, out, out_index))


def _maxout(x: Any, pieces: Any, out: Any, out_index: Any) -> tuple[np.ndarray, np.ndarray]:
    """(y, index) of maxout for any layout, backend or mistake."""
    name = "maxout"
    source = _rows_input(name, "x", x)
    checks.pieces(name, pieces)
    if source.shape[-1] % pieces:
        raise ValueError(
            f"{name}: expected the last axis to be a multiple of pieces={pieces}, got shape {source.shape}"
        )
    shape = (*source.shape[:-1], source.shape[-1] // pieces)
    target = checks.output(name, out, shape, source.dtype, {"x": source}, exact=False)
    target_index = checks.output(name, out_index, shape, np.dtype(np.uint8), {"x": source}, "out_index", exact=False)
    if target is not None and target_index is not None and checks.overlap(target, target_index):
        raise ValueError(f"{name}: out overlaps out_index; pass two arrays that do not touch")
    plain = checks.plain(source)
    y = target if target is not None and checks.is_plain(target) else np.empty(shape, plain.dtype)
    given = target_index is not None and checks.is_plain(target_index)
    index = target_index if given else np.empty(shape, np.uint8)
    maxout_into(plain, y, index, pieces)
    return _delivered(y, target), _delivered(index, target_index)


def maxout_backward(grad: np.ndarray, index: np.ndarray, pieces: int, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through maxout: grad goes to the piece that won, 0 to the others.

    ``grad`` and ``index`` have shape (..., k); the result, and ``out`` when given (memory that touches neither), has
    (..., k * pieces). Raises ValueError for an index that is not below pieces.
    """
    dx = _try_maxout_backward(grad, index, pieces, out)
    return dx if dx is not None else _maxout_backward(grad, index, pieces, out)


def _maxout_backward(grad: Any, index: Any, pieces: Any, out: Any) -> np.ndarray:
    """The gradient of maxout for any layout, backend or mistake."""
    name = "maxout_backward"
    g = _rows_input(name, "grad", grad)
    checks.pieces(name, pieces)
    number = _bytes(name, "index", index, g.shape)
    if number.size and int(number.max()) >= pieces:
        raise ValueError(f"{name}: expected index below pieces={pieces}, got {number.max()}")
    shape = (*g.shape[:-1], g.shape[-1] * pieces)
    target = checks.output(name, out, shape, g.dtype, {"grad": g, "index": number}, exact=False)
    plain, plain_index = checks.plain(g), checks.plain(number)
    dx = target if target is not None and checks.is_plain(target) else np.empty(shape, plain.dtype)
    maxout_backward_into(plain, plain_index, dx, pieces)
    return _delivered(dx, target)


def maxout_into(x: np.ndarray, y: np.ndarray, index: np.ndarray, pieces: int) -> None:
    """``maxout`` for plain arrays."""
    if backends.get_backend() == "native":
        runtime._core.maxout(x, y, index, pieces)
    else:
        groups = x.reshape(*y.shape, pieces)
        index[...] = groups.argmax(axis=-1)  # NumPy's argmax: the first of equals, the first NaN
        y[...] = np.take_along_axis(groups, index[..., np.newaxis].astype(np.intp), axis=-1)[..., 0]


def maxout_backward_into(grad: np.ndarray, index: np.ndarray, dx: np.ndarray, pieces: int) -> None:
    """``maxout_backward`` for plain arrays."""
    if backends.get_backend() == "native":
        runtime._core.maxout_backward(grad, index, dx, pieces)
    else:
        groups = dx.reshape(*grad.shape, pieces)
        groups[...] = 0
        np.put_along_axis(groups, index[..., np.newaxis].astype(np.intp), grad[..., np.newaxis], axis=-1)


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


def _relu_masked(x: Any, mask: Any, out: Any) -> Any:
    """relu_masked for any layout, backend or mistake."""
    name = "relu_masked"
    source = checks.real_array(name, "x", x)
    target = checks.output(name, out, source.shape, source.dtype, {"x": source})
    bits = _bytes(name, "mask", mask, ((source.size + 7) // 8,))
    others = {"x": source} if target is None else {"x": source, "out": target}
    checks.output(name, bits, bits.shape, bits.dtype, others, "mask", exact=False)
    plain = checks.plain(source)
    plain_bits = np.empty(bits.shape, np.uint8)
    if backends.get_backend() == "native":
        y = _try_relu_masked(plain, plain_bits, None)
    else:
        plain_bits[...] = np.packbits(plain.reshape(-1) >= 0, bitorder="little")
        y = np.where(plain < 0, plain.dtype.type(0), plain)
    _delivered(plain_bits, bits)
    return _delivered(y, target)


def relu_masked_backward(grad: np.ndarray, mask: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient through relu_masked: grad where the bit is set, 0 elsewhere. ``out`` may be exactly grad."""
    dx = _try_relu_masked_backward(grad, mask, out)
    return dx if dx is not None else _relu_masked_backward(grad, mask, out)


def _relu_masked_backward(grad: Any, mask: Any, out: Any) -> Any:
    """The gradient of relu_masked for any layout, backend or mistake."""
    name = "relu_masked_backward"
    g = checks.real_array(name, "grad", grad)
    bits = _bytes(name, "mask", mask, ((g.size + 7) // 8,))
    target = checks.output(name, out, g.shape, g.dtype, {"grad": g})
    if target is not None and checks.overlap(target, bits):
        raise ValueError(f"{name}: out overlaps mask; pass exactly grad or memory that touches neither")
    plain, plain_bits = checks.plain(g), checks.plain(bits)
    if backends.get_backend() == "native":
        dx = _try_relu_masked_backward(plain, plain_bits, None)
    else:
        kept = np.unpackbits(plain_bits, count=g.size, bitorder="little").reshape(g.shape)
        dx = np.where(kept, plain, plain.dtype.type(0))
    return _delivered(dx, target)


def _bytes(function: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise TypeError(f"{function}: expected {name} to be a uint8 array, got {checks.describe(value)}")
    if value.shape != shape:
        raise ValueError(f"{function}: expected {name} to have shape {shape}, got {value.shape}")
    return value


def _delivered(result: np.ndarray, target: np.ndarray | None) -> np.ndarray:
    """The target holding the result, or the result where no target was given."""
    if target is None or target is result:
        return result
    target[...] = result
    return target


# ------------------------------------------------------------------------------------------ learned weights


def _channels(x: np.ndarray) -> int | None:
    return x.shape[-1] if x.ndim else None


def _learned_forward(name: str, weight_name: str, x: Any, weight: Any, out: Any) -> Any:
    """y = f(x; weight) for any layout, backend or mistake."""
    source = checks.real_array(name, "x", x)
    w, per_channel = checks.learned_weight(name, weight_name, weight, source.dtype, _channels(source))
    target = checks.output(name, out, source.shape, source.dtype, {"x": source})
    if target is not None and checks.overlap(target, w):
        raise ValueError(f"{name}: out overlaps {weight_name}; pass exactly x or memory that touches neither")
    plain = checks.plain(source)
    y = target if target is not None and checks.is_plain(target) else np.empty(source.shape, plain.dtype)
    learned_into(name, plain, w, per_channel, y)
    y = _delivered(y, target)
    return y[()] if target is None and isinstance(x, np.generic) else y


def learned_into(name: str, x: np.ndarray, weight: np.ndarray, per_channel: bool, y: np.ndarray) -> None:
    """y = f(x; weight) for plain arrays; y may be x."""
    if backends.get_backend() == "native":
        runtime._core.learned(runtime.LEARNED_NUMBERS[name], x, weight, y)
    else:
        y[...] = registry.LEARNED[name].value(x, weight)


def learned_backward_into(
    name: str,
    grad: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    per_channel: bool,
    dx: np.ndarray,
    dweight: np.ndarray,
) -> None:
    """dx, which may be grad or x, and dweight, for plain arrays."""
    if backends.get_backend() == "native":
        runtime._core.learned_backward(runtime.LEARNED_NUMBERS[name], grad, x, weight, dx, dweight)
    else:
        entry = registry.LEARNED[name]
        change = entry.weight_gradient(grad, x, weight)
        result = entry.gradient(grad, x, weight)
        dweight[...] = change.sum(axis=tuple(range(change.ndim - 1)) if per_channel else None)
        dx[...] = result


def _learned_backward(
    name: str, weight_name: str, grad: Any, x: Any, weight: Any, out: Any, out_weight: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(dx, dweight) from one pass, for any layout, backend or mistake."""
    function = f"{name}_backward"
    g, source = checks.real_array(function, "grad", grad), checks.real_array(function, "x", x)
    checks.same_shape(function, grad=g, x=source)
    w, per_channel = checks.learned_weight(function, weight_name, weight, source.dtype, _channels(source))
    target = checks.output(function, out, g.shape, g.dtype, {"grad": g, "x": source})
    if target is not None and checks.overlap(target, w):
        raise ValueError(f"{function}: out overlaps {weight_name}; pass exactly grad or x or memory that touches none")
    others = {"grad": g, "x": source, **({} if target is None else {"out": target})}
    weight_target = checks.output(function, out_weight, w.shape, g.dtype, others, f"out_{weight_name}", exact=False)
    checks.output(function, weight_target, w.shape, g.dtype, {weight_name: w}, f"out_{weight_name}")
    plain_g, plain_x = checks.plain(g), checks.plain(source)
    dx = target if target is not None and checks.is_plain(target) else np.empty(g.shape, plain_g.dtype)
    dw = np.empty(w.shape, plain_g.dtype)
    learned_backward_into(name, plain_g, plain_x, w, per_channel, dx, dw)
    return _delivered(dx, target), _delivered(dw, weight_target)


def prelu(x: np.ndarray, weight: float | np.ndarray = 0.25, *, out: np.ndarray | None = None) -> np.ndarray:
    """Leaky ReLU with a learned slope: y = x if x > 0 else weight * x (He et al. 2015, arXiv:1502.01852).

    ``weight`` is a number, or an array of shape () or (1,) for one slope, or (channels,) for one per channel of the
    last axis, of x's dtype. ``out`` may be exactly x. The slope at 0 is weight. Raises TypeError for wrong dtypes,
    ValueError for wrong shapes and a read-only or overlapping out.
    """
    y = _try_learned(_PRELU, x, weight, out)
    return y if y is not None else _learned_forward("prelu", "weight", x, weight, out)


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
    return PReluGradients(*_learned_backward("prelu", "weight", grad, x, weight, out, out_weight))


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
    return y if y is not None else _learned_forward("swish", "beta", x, beta, out)


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
    return SwishGradients(*_learned_backward("swish", "beta", grad, x, beta, out, out_beta))


__all__ += _dense.__all__
__all__ += [
    "custom_activation",
    "log_softmax",
    "log_softmax_backward",
    "maxout",
    "maxout_backward",
    "prelu",
    "prelu_backward",
    "relu_masked",
    "relu_masked_backward",
    "softmax",
    "softmax_backward",
    "swish",
    "swish_backward",
]
__all__.sort()
