"""Dense layers: products, what follows them, and their gradients."""

from __future__ import annotations

import numpy as np

from ... import registry
from . import activations

#: In place of an activation's number: saved holds the slope itself, of which a 0 blocks whatever the gradient is.
SLOPE, BLOCKING_SLOPE = -1, -2
_ENTRIES = tuple(registry.ACTIVATIONS.values())
_IDENTITY = next(number for number, entry in enumerate(_ENTRIES) if entry.saves is None)


def dense(
    number: int, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, slope: np.ndarray | None,
    a: float, b: float,
) -> None:  # fmt: skip
    with np.errstate(all="ignore"):
        np.matmul(x, weight, out=y)
        if bias is not None:
            y += bias
    if slope is not None:
        entry = _ENTRIES[number]
        slope[...] = registry.slope(entry, y, (a, b)[: len(entry.parameters)])
    if number != _IDENTITY:
        activations.forward(number, y, y, a, b)


def dense_learned(
    number: int, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, z: np.ndarray | None,
    parameter: np.ndarray,
) -> None:  # fmt: skip
    z = y if z is None else z
    dense(_IDENTITY, x, weight, bias, z, None, 0.0, 0.0)
    activations.learned(number, z, parameter, y)


def dense_maxout(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, index: np.ndarray | None, pieces: int
) -> None:
    z = np.empty((len(x), weight.shape[1]), y.dtype)
    dense(_IDENTITY, x, weight, bias, z, None, 0.0, 0.0)
    activations.maxout(z, y, index, pieces)


def dense_backward(
    number: int, grad: np.ndarray, saved: np.ndarray | None, dz: np.ndarray | None, x: np.ndarray, weight: np.ndarray,
    dx: np.ndarray | None, dw: np.ndarray | None, db: np.ndarray | None, add_to_dw: bool, add_to_db: bool,
    a: float, b: float,
) -> None:  # fmt: skip
    if saved is None:
        dz = grad
    else:
        dz = np.empty_like(grad) if dz is None else dz
        if number in (SLOPE, BLOCKING_SLOPE):
            with np.errstate(all="ignore"):
                product = grad * saved
            dz[...] = np.where(saved == 0, 0, product) if number == BLOCKING_SLOPE else product
        else:
            activations.backward(number, grad, saved, dz, a, b)
    _products(dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def dense_learned_backward(
    number: int, grad: np.ndarray, z: np.ndarray, dz: np.ndarray | None, x: np.ndarray, weight: np.ndarray,
    dx: np.ndarray | None, dw: np.ndarray | None, db: np.ndarray | None, parameter: np.ndarray,
    dparameter: np.ndarray | None, add_to_dw: bool, add_to_db: bool, add_to_dparameter: bool,
) -> None:  # fmt: skip
    dz = np.empty_like(grad) if dz is None else dz
    change = np.empty_like(parameter)
    activations.learned_backward(number, grad, z, parameter, dz, change)
    if dparameter is not None:
        dparameter[...] = dparameter + change if add_to_dparameter else change
    _products(dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def dense_maxout_backward(
    grad: np.ndarray, index: np.ndarray, dz: np.ndarray | None, x: np.ndarray, weight: np.ndarray,
    dx: np.ndarray | None, dw: np.ndarray | None, db: np.ndarray | None, pieces: int, add_to_dw: bool, add_to_db: bool,
) -> None:  # fmt: skip
    dz = np.empty((len(grad), grad.shape[1] * pieces), grad.dtype) if dz is None else dz
    activations.maxout_backward(grad, index, dz, pieces)
    _products(dz, x, weight, dx, dw, db, add_to_dw, add_to_db)


def _products(
    dz: np.ndarray, x: np.ndarray, weight: np.ndarray, dx: np.ndarray | None, dw: np.ndarray | None,
    db: np.ndarray | None, add_to_dw: bool, add_to_db: bool,
) -> None:  # fmt: skip
    with np.errstate(all="ignore"):
        if db is not None:
            db[...] = db + dz.sum(axis=0) if add_to_db else dz.sum(axis=0)
        if dw is not None:
            dw[...] = dw + x.T @ dz if add_to_dw else x.T @ dz
        if dx is not None:
            np.matmul(dz, weight.T, out=dx)
