"""Dense layers as functions: a product, and what follows it in one pass; and all its gradients in another.

A call with plain arrays goes straight to the compiled core; everything else, errors included, goes through ``checks``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import backends, checks
from ..epilogues import Epilogue, FixedActivation, Kernel, ParameterGradients, epilogue
from ..registry import ACTIVATIONS

__all__ = ["DenseGradients", "Saved", "dense", "dense_backward", "dense_forward"]

_try_dense, _try_dense_backward = backends.engine.try_dense, backends.engine.try_dense_backward


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
    activation: Epilogue


#: Forward kernels of the elementwise activations with default parameters, by name.
_KERNELS = {name: FixedActivation(entry, entry.defaults).kernel for name, entry in ACTIVATIONS.items()}
_IDENTITY = _KERNELS["identity"]


def dense(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | Epilogue | None = None,
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
    kernel: Kernel | None
    if activation is None:
        kernel = _IDENTITY
    elif type(activation) is str:
        kernel = _KERNELS.get(activation)
    else:
        kernels = epilogue("dense", activation).kernels
        kernel = None if kernels is None else kernels[0]
    if kernel is not None:
        result = _try_dense(kernel[0], x, weight, bias, out, kernel[1], kernel[2])
        if result is not None:
            return result
    return _forward("dense", x, weight, bias, epilogue("dense", activation), out, False)[0]


def dense_forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | Epilogue | None = None,
    *,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, Saved]:
    """``dense`` for training: returns (y, saved), and ``dense_backward`` takes saved.

    Where the slope follows from y, saved refers to y itself, which must then stay as it is until backward; for the
    other activations the slope is stored in the same pass, for learned ones x @ weight + bias, and for maxout the
    winners' numbers. A learned weight given as an array must stay as it is too. Arguments and errors as for ``dense``.
    """
    y, saved = _forward("dense_forward", x, weight, bias, epilogue("dense_forward", activation), out, True)
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
    overwrite_grad : allow dz to be put where grad is, which saves an array; grad is left alone where x, weight or what
        was saved lies there too
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
    kernels = saved.activation.kernels
    if kernels is not None and out_parameter is None:
        number, a, b = kernels[1]
        result = _try_dense_backward(
            number, grad, saved.array, x, weight, need_input_grad, accumulate, overwrite_grad,
            out_input, out_weight, out_bias, a, b,
        )  # fmt: skip
        if result is not None:
            dx, dw, db = result
            return DenseGradients(dx, dw, db, None)
    outs = {"out_input": out_input, "out_weight": out_weight, "out_bias": out_bias, "out_parameter": out_parameter}
    return _backward(grad, saved, x, weight, need_input_grad, accumulate, overwrite_grad, outs)


def _backward(
    grad: Any,
    saved: Saved,
    x: Any,
    weight: Any,
    need_input_grad: bool,
    accumulate: bool,
    overwrite_grad: bool,
    outs: dict[str, np.ndarray | None],
) -> DenseGradients:
    """All gradients for any layout, backend or mistake."""
    function = "dense_backward"
    source, matrix, _ = _operands(function, x, weight, None)
    gradient = checks.real_array(function, "grad", grad, source)
    after, dtype = saved.activation, source.dtype.newbyteorder("=")
    shape = (*source.shape[:-1], after.outputs(function, matrix.shape[1]))
    _check_saved(function, saved, gradient, dtype, shape)
    if accumulate and outs["out_weight"] is None:
        raise ValueError(f"{function}: accumulate=True adds to out_weight; pass it, or leave accumulate out")
    if outs["out_input"] is not None and not need_input_grad:
        raise ValueError(f"{function}: out_input is given but need_input_grad is False; drop one of them")
    parameter = after.parameter_array(function, dtype, shape[-1])
    if parameter is None and outs["out_parameter"] is not None:
        raise ValueError(f"{function}: out_parameter is given but {after.name} has no learned weight; leave it out")
    sources = _given(grad=gradient, saved=saved.array, x=source, weight=matrix, activation=parameter)
    read = [array for name, array in sources.items() if name != "grad"]
    shapes = {"out_input": source.shape, "out_weight": matrix.shape, "out_bias": (matrix.shape[1],)}
    shapes["out_parameter"] = () if parameter is None else parameter.shape
    targets: dict[str, np.ndarray | None] = {}
    for name, out in outs.items():
        targets[name] = checks.output(function, out, shapes[name], dtype, sources, name, exact=False)
        sources |= _given(**{name: targets[name]})

    results = {name: checks.writable(target, shapes[name], dtype) for name, target in targets.items()}
    add = {name: accumulate and target is not None for name, target in targets.items()}
    for name, target in targets.items():
        if add[name] and results[name] is not target:
            results[name][...] = target
    state = None if saved.array is None else checks.plain(saved.array)
    g = checks.plain(gradient)
    overwrite = overwrite_grad and g.flags.writeable and state is not None and saved.kind != "index"
    overwrite = overwrite and not any(checks.overlap(g, array) for array in read)
    after.backward_into(
        _rows(g),
        None if state is None else _rows(state),
        _rows(g) if overwrite else None,
        _usable(_rows(source)),
        _usable(matrix),
        _rows(results["out_input"]) if need_input_grad else None,
        ParameterGradients(
            results["out_weight"],
            results["out_bias"],
            None if parameter is None else results["out_parameter"],
            add["out_weight"],
            add["out_bias"],
            add["out_parameter"],
        ),
        None if parameter is None else checks.plain(parameter),
    )
    return DenseGradients(
        checks.returned(results["out_input"], targets["out_input"]) if need_input_grad else None,
        checks.returned(results["out_weight"], targets["out_weight"]),
        checks.returned(results["out_bias"], targets["out_bias"]),
        None if parameter is None else checks.returned(results["out_parameter"], targets["out_parameter"]),
    )


def _forward(
    function: str, x: Any, weight: Any, bias: Any, after: Epilogue, out: Any, training: bool
) -> tuple[np.ndarray, Saved | None]:
    """y, and what backward needs, for any layout, backend or mistake."""
    source, matrix, vector = _operands(function, x, weight, bias)
    shape = (*source.shape[:-1], after.outputs(function, matrix.shape[1]))
    parameter = after.parameter_array(function, source.dtype, shape[-1])
    sources = _given(x=source, weight=matrix, bias=vector, activation=parameter)
    target = checks.output(function, out, shape, source.dtype, sources, exact=False)
    y = checks.writable(target, shape, source.dtype)
    kept = after.saved_dtype(y.dtype) if training else None
    state = None if kept is None else np.empty(shape, kept)
    after.forward_into(
        _usable(_rows(source)),
        _usable(matrix),
        None if vector is None else checks.plain(vector),
        _rows(y),
        None if state is None else _rows(state),
        None if parameter is None else checks.plain(parameter),
    )
    return checks.returned(y, target), Saved(
        after.saves, y if after.saves == "y" else state, after
    ) if training else None


def _check_saved(function: str, saved: Saved, gradient: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """The gradient and the saved state belong to this x and weight."""
    for name, array in _given(grad=gradient, saved=saved.array).items():
        if array.dtype.newbyteorder("=") != dtype and not (name == "saved" and saved.kind == "index"):
            raise TypeError(
                f"{function}: expected x and {name} to have one dtype, got {dtype} and {array.dtype}; "
                f"convert {name}, or pass what belongs to this x"
            )
        if array.shape != shape:
            raise ValueError(
                f"{function}: expected {name} to have shape {shape} as x and weight say, got {array.shape}"
            )


def _usable(array: np.ndarray) -> np.ndarray:
    """The array itself where the kernels can follow its strides, else a plain copy."""
    return array if array.flags.aligned and array.dtype.isnative else checks.plain(array)


def _rows(array: np.ndarray) -> np.ndarray:
    """The array as a matrix of its last axis; a view wherever NumPy can make one."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _operands(
    function: str, x: object, weight: object, bias: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x, weight and bias, checked against each other."""
    source = checks.real_array(function, "x", x, weight, bias)
    matrix = checks.real_array(function, "weight", weight, source)
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
    vector = None if bias is None else checks.real_array(function, "bias", bias, source)
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


def _given(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if array is not None}
