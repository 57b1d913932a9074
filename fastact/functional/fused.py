"""Dense layers as functions: ``dense``, ``dense_forward`` and ``dense_backward``; ``functional`` exports them.

A call with plain arrays goes straight to the compiled core; everything else, errors included, takes the road through
``checks``. The numpy backend does the same sums with ``np.matmul``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import backends, checks, registry, runtime
from ..registry import ACTIVATIONS, AnyActivation, BoundActivation, BoundLearned, BoundMaxout

__all__ = ["DenseGradients", "Saved", "dense", "dense_backward", "dense_forward"]


class DenseGradients(NamedTuple):
    """What ``dense_backward`` returns: gradients of the input, the weight, the bias and the activation's parameter."""

    dx: np.ndarray | None
    dw: np.ndarray
    db: np.ndarray
    dparam: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """What ``dense_backward`` needs of a forward pass; made by ``dense_forward`` only.

    ``kind`` says what ``array`` holds: the output ("y"), the activation's slope ("slope"), the sums before a learned
    activation ("z"), maxout's winners ("index"), or nothing ("none").
    """

    kind: str
    array: np.ndarray | None
    activation: AnyActivation


def _kernel(bound: AnyActivation) -> tuple[int, float, float] | None:
    """The number of the compiled activation and its parameters.

    None for what has no elementwise kernel: learned ones, maxout, and a user-defined activation.
    """
    if not isinstance(bound, BoundActivation) or bound.name not in runtime.KERNEL_NUMBERS:
        return None
    a, b = (*bound.values, 0.0, 0.0)[:2]
    return runtime.KERNEL_NUMBERS[bound.name], a, b


def _backward_kernel(bound: AnyActivation) -> tuple[int, float, float] | None:
    """The number for backward, which may say that the slope itself was saved, and the parameters."""
    if isinstance(bound, BoundActivation) and bound.entry.saves == "x" and runtime._core is not None:
        core = runtime._core
        return core.BLOCKING_SLOPE if bound.entry.piecewise_linear else core.SLOPE, 0.0, 0.0
    return _kernel(bound)


def kernels(bound: AnyActivation) -> tuple[tuple[int, float, float], tuple[int, float, float]] | None:
    """The numbers of an activation's two kernels with their parameters; None for an activation without."""
    forward, backward = _kernel(bound), _backward_kernel(bound)
    return None if forward is None or backward is None else (forward, backward)


_KERNELS = {name: _kernel(BoundActivation(entry, entry.defaults)) for name, entry in ACTIVATIONS.items()}


def _nothing(*_: object) -> None:
    """In place of the core's fast path where the core is missing."""


_try_dense = runtime._core.try_dense if runtime._core is not None else _nothing
_try_dense_backward = runtime._core.try_dense_backward if runtime._core is not None else _nothing


# ------------------------------------------------------------------------------------------ used by the layers
# Arrays are native and aligned, of one dtype and of matching shapes; all but x and weight are C-contiguous too.
# ``saved`` is what backward reads: the array of Saved.


def saved_kind(bound: AnyActivation) -> str:
    """What backward reads: "y", "slope", "z" or "index", each in an array of its own but y, or "none"."""
    if isinstance(bound, BoundMaxout):
        return "index"
    if isinstance(bound, BoundLearned):
        return "z"
    return {"x": "slope", "y": "y", None: "none"}[bound.entry.saves]


def _parameter(bound: BoundLearned, dtype: np.dtype, outputs: int) -> tuple[np.ndarray, bool]:
    """The learned weight as an array, and whether there is one for each output."""
    return checks.learned_weight(bound.name, bound.entry.weight_name, bound.weight, dtype, outputs)


def forward_into(
    bound: AnyActivation,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    saved: np.ndarray | None,
) -> None:
    """y = f(x @ weight + bias); slope, z or index are stored to saved, where it is given, in the same pass."""
    native = backends.get_backend() == "native"
    if isinstance(bound, BoundActivation):
        kernel = _kernel(bound)
        if native and kernel is not None:
            runtime._core.dense(kernel[0], x, weight, bias, y, saved, kernel[1], kernel[2])
            return
        _affine(x, weight, bias, y)
        if saved is not None:
            saved[...] = registry.slope(bound.entry, y, bound.values)
        if bound.name != "identity":
            y[...] = registry.value(bound.entry, y, bound.values)
    elif isinstance(bound, BoundLearned):
        parameter, _ = _parameter(bound, y.dtype, y.shape[-1])
        if native:
            number = runtime.LEARNED_NUMBERS[bound.name]
            runtime._core.dense_learned(number, x, weight, bias, y, saved, parameter)
            return
        z = y if saved is None else saved
        _affine(x, weight, bias, z)
        y[...] = bound.entry.value(z, parameter)
    elif native:
        runtime._core.dense_maxout(x, weight, bias, y, saved, bound.pieces)
    else:
        z = np.empty((len(x), weight.shape[1]), y.dtype)
        _affine(x, weight, bias, z)
        groups = z.reshape(*y.shape, bound.pieces)
        index = groups.argmax(axis=-1)  # NumPy's argmax: the first of equals, the first NaN
        y[...] = np.take_along_axis(groups, index[..., np.newaxis], axis=-1)[..., 0]
        if saved is not None:
            saved[...] = index


def _affine(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, z: np.ndarray) -> None:
    """Z = x @ weight + bias by the backend in use."""
    if backends.get_backend() == "native":
        runtime._core.dense(runtime.KERNEL_NUMBERS["identity"], x, weight, bias, z, None, 0.0, 0.0)
        return
    with np.errstate(all="ignore"):
        np.matmul(x, weight, out=z)
        if bias is not None:
            z += bias


def backward_into(
    bound: AnyActivation,
    grad: np.ndarray,
    saved: np.ndarray | None,
    dz: np.ndarray | None,
    x: np.ndarray,
    weight: np.ndarray,
    dx: np.ndarray | None,
    dw: np.ndarray | None,
    db: np.ndarray | None,
    add_to_dw: bool = False,
    add_to_db: bool = False,
    dparam: np.ndarray | None = None,
    add_to_dparam: bool = False,
) -> None:
    """dz = grad * f', db its column sums, dw = x.T @ dz, and dx = dz @ weight.T unless dx is None.

    saved holds what forward left there (or y), or is None for the identity, where grad is dz. dz may be grad, saved
    (maxout: neither), or None for a workspace. dparam is for a learned parameter's gradient. dw, db and dparam may be
    None, all of them: then dx alone is computed.
    """
    native = backends.get_backend() == "native"
    if native and isinstance(bound, BoundMaxout):
        runtime._core.dense_maxout_backward(
            grad, saved, dz, x, weight, dx, dw, db, bound.pieces, add_to_dw, add_to_db
        )  # fmt: skip
        return
    if native and isinstance(bound, BoundLearned):
        parameter, _ = _parameter(bound, grad.dtype, grad.shape[-1])
        runtime._core.dense_learned_backward(
            runtime.LEARNED_NUMBERS[bound.name], grad, saved, dz, x, weight, dx, dw, db,
            parameter, dparam, add_to_dw, add_to_db, add_to_dparam,
        )  # fmt: skip
        return
    kernel = _backward_kernel(bound)
    if not native or kernel is None:
        grad, saved, dz = _through_activation(bound, grad, saved, dz, dparam, add_to_dparam), None, None
        kernel = runtime.KERNEL_NUMBERS.get("identity", -1), 0.0, 0.0
    if native:
        number, a, b = kernel
        runtime._core.dense_backward(number, grad, saved, dz, x, weight, dx, dw, db, add_to_dw, add_to_db, a, b)
        return
    dz = grad
    with np.errstate(all="ignore"):
        if db is not None:
            db[...] = db + np.sum(dz, axis=0) if add_to_db else np.sum(dz, axis=0)
        if dw is not None:
            dw[...] = dw + np.matmul(x.T, dz) if add_to_dw else np.matmul(x.T, dz)
        if dx is not None:
            np.matmul(dz, weight.T, out=dx)


def _through_activation(
    bound: AnyActivation,
    grad: np.ndarray,
    saved: np.ndarray | None,
    dz: np.ndarray | None,
    dparam: np.ndarray | None,
    add_to_dparam: bool,
) -> np.ndarray:
    """dz, and dparam beside it, by the NumPy formulas; grad itself for the identity."""
    if saved is None:
        return grad
    if isinstance(bound, BoundMaxout):
        if dz is None:
            dz = np.empty((len(grad), grad.shape[1] * bound.pieces), grad.dtype)
        groups = dz.reshape(*grad.shape, bound.pieces)
        groups[...] = 0
        np.put_along_axis(groups, saved[..., np.newaxis].astype(np.intp), grad[..., np.newaxis], axis=-1)
        return dz
    dz = np.empty_like(grad) if dz is None else dz
    if isinstance(bound, BoundLearned):
        parameter, each = _parameter(bound, grad.dtype, grad.shape[-1])
        with np.errstate(all="ignore"):
            change = bound.entry.weight_gradient(grad, saved, parameter).sum(axis=0 if each else None)
        dz[...] = bound.entry.gradient(grad, saved, parameter)
        if dparam is not None:
            dparam[...] = dparam + change if add_to_dparam else change
    elif bound.entry.saves == "x":
        with np.errstate(all="ignore"):
            product = grad * saved
        dz[...] = np.where(saved == 0, 0, product) if bound.entry.piecewise_linear else product
    else:
        dz[...] = registry.gradient(bound.entry, grad, saved, bound.values)
    return dz


# ------------------------------------------------------------------------------------------ arguments


def _usable(array: np.ndarray) -> np.ndarray:
    """The array itself where the kernels can follow its strides, else a plain copy."""
    return array if array.flags.aligned and array.dtype.isnative else checks.plain(array)


def _rows(array: np.ndarray) -> np.ndarray:
    """The array as a matrix of its last axis; a view wherever NumPy can make one."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _operands(
    function: str, x: object, weight: object, bias: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """X, weight and bias, checked against each other."""
    source = checks.real_array(function, "x", x)
    matrix = checks.real_array(function, "weight", weight)
    if matrix.ndim != 2:
        raise ValueError(
            f"{function}: expected weight to be a matrix (inputs, outputs), got shape {matrix.shape}; "
            "reshape it, one column per output"
        )
    if source.ndim == 0 or source.shape[-1] != matrix.shape[0]:
        raise ValueError(
            f"{function}: expected x's last axis to have weight's {matrix.shape[0]} inputs, got x of shape "
            f"{source.shape} and weight of shape {matrix.shape}; weight is (inputs, outputs): pass weight.T if yours "
            "is the other way round"
        )
    vector = None if bias is None else checks.real_array(function, "bias", bias)
    for name, array in (("weight", matrix), ("bias", vector)):
        if array is not None and array.dtype.newbyteorder("=") != source.dtype.newbyteorder("="):
            raise TypeError(
                f"{function}: expected x and {name} to have one dtype, got {source.dtype} and {array.dtype}; "
                f"convert with {name}.astype(x.dtype)"
            )
    if vector is not None and vector.shape != (matrix.shape[1],):
        raise ValueError(
            f"{function}: expected bias to have shape ({matrix.shape[1]},), one per output, got {vector.shape}"
        )
    return source, matrix, vector


def _sources(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if array is not None}


def _plain_or_new(target: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The target where the kernels can write to it, else memory of their own."""
    return target if target is not None and checks.is_plain(target) else np.empty(shape, dtype.newbyteorder("="))


def _returned(target: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    """The target, filled, where there is one."""
    if target is None or target is result:
        return result
    target[...] = result
    return target


def _outputs(function: str, bound: AnyActivation, columns: int) -> int:
    """Outputs of a layer whose weight has so many columns."""
    if not isinstance(bound, BoundMaxout):
        return columns
    if columns % bound.pieces:
        raise ValueError(
            f"{function}: expected weight to have pieces={bound.pieces} neighbouring columns per output, "
            f"got {columns} columns; make it (inputs, outputs * pieces)"
        )
    return columns // bound.pieces


def _forward(
    function: str, x: object, weight: object, bias: object, bound: AnyActivation, out: object, training: bool
) -> tuple[np.ndarray, Saved | None]:
    source, matrix, vector = _operands(function, x, weight, bias)
    shape = (*source.shape[:-1], _outputs(function, bound, matrix.shape[1]))
    learned = None
    if isinstance(bound, BoundLearned):
        name = bound.entry.weight_name
        learned, _ = checks.learned_weight(function, name, bound.weight, source.dtype, shape[-1])
    taken = _sources(x=source, weight=matrix, bias=vector, activation=learned)
    target = checks.output(function, out, shape, source.dtype, taken, exact=False)
    y = _plain_or_new(target, shape, source.dtype)
    kind = saved_kind(bound) if training else "none"
    state = None if kind in ("y", "none") else np.empty(shape, np.uint8 if kind == "index" else y.dtype)
    forward_into(
        bound,
        _usable(_rows(source)),
        _usable(matrix),
        None if vector is None else checks.plain(vector),
        _rows(y),
        None if state is None else _rows(state),
    )
    return _returned(target, y), Saved(kind, y if kind == "y" else state, bound) if training else None


# ------------------------------------------------------------------------------------------ public


def dense(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | AnyActivation | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Dense layer: y = activation(x @ weight + bias), with bias and activation applied while the sums are in cache.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (..., inputs)
    weight : ndarray of x's dtype, shape (inputs, outputs); any memory order
    bias : ndarray of x's dtype, shape (outputs,), optional
    activation : a name, ``fastact.activation(name, ...)``, or None for the identity. ``"prelu"`` and ``"swish"`` take a
        learned weight; with ``"maxout"``, weight is (inputs, outputs * pieces) and bias (outputs * pieces,), the pieces
        of an output side by side, and y their maxima.
    out : ndarray, optional
        Where to put y: x's dtype, shape (..., outputs), memory that touches no other argument.

    Returns
    -------
    y : ndarray of shape (..., outputs), out itself when given

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype
    ValueError : shapes that do not fit, an unknown activation, read-only or overlapping out

    A row's result has the same bits alone, in any batch, and with any number of threads.
    """
    if activation is None:
        kernel = _KERNELS["identity"]
    elif type(activation) is str:
        kernel = _KERNELS.get(activation)
    else:
        kernel = _kernel(checks.dense_activation("dense", activation))
    if kernel is not None:
        result = _try_dense(kernel[0], x, weight, bias, out, kernel[1], kernel[2])
        if result is not None:
            return result
    return _forward("dense", x, weight, bias, checks.dense_activation("dense", activation), out, False)[0]


def dense_forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | AnyActivation | None = None,
    *,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, Saved]:
    """``dense`` for training: returns (y, saved), and ``dense_backward`` takes saved.

    Where the slope follows from y, saved refers to y itself, which must then stay as it is until backward; for the
    other activations the slope is stored in the same pass, for learned ones x @ weight + bias, and for maxout the
    winners' numbers. A learned weight given as an array must stay as it is too. Arguments and errors as for ``dense``.
    """
    bound = checks.dense_activation("dense_forward", activation)
    y, saved = _forward("dense_forward", x, weight, bias, bound, out, True)
    assert saved is not None
    return y, saved


def dense_backward(
    grad: np.ndarray,
    saved: Saved,
    x: np.ndarray,
    weight: np.ndarray,
    need_input_grad: bool = True,
    accumulate: bool = False,
    overwrite_grad: bool = False,
    out_input: np.ndarray | None = None,
    out_weight: np.ndarray | None = None,
    out_bias: np.ndarray | None = None,
    out_parameter: np.ndarray | None = None,
) -> DenseGradients:
    """Gradients through ``dense_forward``: dz = grad * f', then db = sum dz, dw = x.T @ dz and dx = dz @ weight.T.

    Parameters
    ----------
    grad : ndarray of x's dtype, shape (..., outputs): the gradient with respect to y
    saved : what ``dense_forward`` returned beside y (with either backend)
    x, weight : what ``dense_forward`` was given
    need_input_grad : without it dx is not computed and is None
    accumulate : add to out_weight (which must be given) and, if given, to out_bias and out_parameter
    overwrite_grad : allow dz to be put where grad is, which saves an array
    out_input, out_weight, out_bias, out_parameter : ndarrays, optional
        Where to put dx, dw, db and dparam: memory that touches no other argument.

    Returns
    -------
    DenseGradients(dx, dw, db, dparam) : dparam, of the learned weight's shape, is None for activations without one

    Raises
    ------
    TypeError : not float32 or float64 arrays of one dtype, or saved of another kind
    ValueError : shapes that do not fit, read-only or overlapping outputs, accumulate without out_weight
    """
    function = "dense_backward"
    if not isinstance(saved, Saved):
        raise TypeError(
            f"{function}: expected saved to be what dense_forward returned beside y, got {checks.describe(saved)}"
        )
    kernel = _backward_kernel(saved.activation)
    if kernel is not None and out_parameter is None:
        number, a, b = kernel
        result = _try_dense_backward(
            number, grad, saved.array, x, weight, need_input_grad, accumulate, overwrite_grad,
            out_input, out_weight, out_bias, a, b,
        )  # fmt: skip
        if result is not None:
            dx, dw, db = result
            return DenseGradients(dx, dw, db, None)
    source, matrix, _ = _operands(function, x, weight, None)
    gradient = checks.real_array(function, "grad", grad)
    bound, dtype = saved.activation, source.dtype.newbyteorder("=")
    shape = (*source.shape[:-1], _outputs(function, bound, matrix.shape[1]))
    for name, array in _sources(grad=gradient, saved=saved.array).items():
        if array.dtype.newbyteorder("=") != dtype and not (name == "saved" and saved.kind == "index"):
            raise TypeError(
                f"{function}: expected x and {name} to have one dtype, got {dtype} and {array.dtype}; "
                f"convert {name}, or pass what belongs to this x"
            )
        if array.shape != shape:
            raise ValueError(
                f"{function}: expected {name} to have shape {shape} as x and weight say, got {array.shape}"
            )
    if accumulate and out_weight is None:
        raise ValueError(f"{function}: accumulate=True adds to out_weight; pass it, or leave accumulate out")
    if out_input is not None and not need_input_grad:
        raise ValueError(f"{function}: out_input is given but need_input_grad is False; drop one of them")
    learned = None
    if isinstance(bound, BoundLearned):
        learned, _ = checks.learned_weight(function, bound.entry.weight_name, bound.weight, dtype, shape[-1])
    elif out_parameter is not None:
        raise ValueError(f"{function}: out_parameter is given but {bound.name} has no learned weight; leave it out")
    taken = _sources(grad=gradient, saved=saved.array, x=source, weight=matrix, activation=learned)
    shapes = {"out_input": source.shape, "out_weight": matrix.shape, "out_bias": (matrix.shape[1],)}
    given = {"out_input": out_input, "out_weight": out_weight, "out_bias": out_bias, "out_parameter": out_parameter}
    shapes["out_parameter"] = () if learned is None else learned.shape
    targets: dict[str, np.ndarray | None] = {}
    for name, out in given.items():
        targets[name] = checks.output(function, out, shapes[name], dtype, taken, name, exact=False)
        taken |= _sources(**{name: targets[name]})

    wanted = [name for name in targets if need_input_grad or name != "out_input"]
    results = {name: _plain_or_new(targets[name], shapes[name], dtype) for name in wanted}
    add = {name: accumulate and target is not None for name, target in targets.items()}
    for name, target in targets.items():
        if add[name] and results[name] is not target:
            results[name][...] = target
    state = None if saved.array is None else checks.plain(saved.array)
    g = checks.plain(gradient)
    overwrite = overwrite_grad and g.flags.writeable and state is not None and saved.kind != "index"
    backward_into(
        bound,
        _rows(g),
        None if state is None else _rows(state),
        _rows(g) if overwrite else None,
        _usable(_rows(source)),
        _usable(matrix),
        _rows(results["out_input"]) if need_input_grad else None,
        results["out_weight"],
        results["out_bias"],
        add["out_weight"],
        add["out_bias"],
        results["out_parameter"],
        add["out_parameter"],
    )
    return DenseGradients(
        _returned(targets["out_input"], results["out_input"]) if need_input_grad else None,
        _returned(targets["out_weight"], results["out_weight"]),
        _returned(targets["out_bias"], results["out_bias"]),
        None if learned is None else _returned(targets["out_parameter"], results["out_parameter"]),
    )
