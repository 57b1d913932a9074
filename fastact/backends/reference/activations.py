"""Elementwise activations, learned ones, functions of rows, maxout and the masked ReLU."""

from __future__ import annotations

import numpy as np

from ... import registry

_ENTRIES = tuple(registry.ACTIVATIONS.values())
_LEARNED = tuple(registry.LEARNED.values())


def forward(number: int, x: np.ndarray, y: np.ndarray, a: float, b: float) -> None:
    entry = _ENTRIES[number]
    y[...] = registry.value(entry, x, (a, b)[: len(entry.parameters)])


def backward(number: int, grad: np.ndarray, saved: np.ndarray, dx: np.ndarray, a: float, b: float) -> None:
    entry = _ENTRIES[number]
    dx[...] = registry.gradient(entry, grad, saved, (a, b)[: len(entry.parameters)])


def learned(number: int, x: np.ndarray, weight: np.ndarray, y: np.ndarray) -> None:
    y[...] = _LEARNED[number].value(x, weight)


def learned_backward(
    number: int, grad: np.ndarray, x: np.ndarray, weight: np.ndarray, dx: np.ndarray, dweight: np.ndarray
) -> None:
    entry = _LEARNED[number]
    change = entry.weight_gradient(grad, x, weight)
    gradient = entry.gradient(grad, x, weight)
    with np.errstate(all="ignore"):
        dweight[...] = change.sum(axis=tuple(range(change.ndim - 1)) if weight.size > 1 else None)
    dx[...] = gradient


def row_function_names() -> list[str]:
    return ["softmax", "log_softmax"]


def rows(number: int, x: np.ndarray, y: np.ndarray) -> None:
    if x.size == 0:
        return
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=-1, keepdims=True)
        e = np.exp(shifted)
        sums = e.sum(axis=-1, keepdims=True)
        y[...] = shifted - np.log(sums) if number else e / sums


def rows_backward(number: int, grad: np.ndarray, y: np.ndarray, dx: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        if number:
            dx[...] = grad - np.exp(y) * grad.sum(axis=-1, keepdims=True)
        else:
            dx[...] = y * (grad - (grad * y).sum(axis=-1, keepdims=True))


def maxout(x: np.ndarray, y: np.ndarray, index: np.ndarray | None, pieces: int) -> None:
    groups = x.reshape(*y.shape, pieces)
    winners = groups.argmax(axis=-1)  # NumPy's argmax: the first of equals, the first NaN
    y[...] = np.take_along_axis(groups, winners[..., np.newaxis], axis=-1)[..., 0]
    if index is not None:
        index[...] = winners


def maxout_backward(grad: np.ndarray, index: np.ndarray, dx: np.ndarray, pieces: int) -> None:
    groups = dx.reshape(*grad.shape, pieces)
    groups[...] = 0
    np.put_along_axis(groups, index[..., np.newaxis].astype(np.intp), grad[..., np.newaxis], axis=-1)


def relu_masked(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> None:
    bits = np.packbits(x.reshape(-1) >= 0, bitorder="little")
    y[...] = np.where(x < 0, x.dtype.type(0), x)
    mask[...] = bits


def relu_masked_backward(grad: np.ndarray, mask: np.ndarray, dx: np.ndarray) -> None:
    kept = np.unpackbits(mask, count=grad.size, bitorder="little").reshape(grad.shape)
    dx[...] = np.where(kept, grad, grad.dtype.type(0))
