"""Normalisation and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np


def layer_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray, mean: np.ndarray | None,
    rstd: np.ndarray | None, eps: float,
) -> None:  # fmt: skip
    """y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(variance + eps), over each row.

    mean and rstd, of a number a row, are filled unless None. y may be x.
    """
    with np.errstate(all="ignore"):
        centre: Any = np.mean(x, axis=1, dtype=np.float64, keepdims=True) if x.shape[1] else np.zeros((len(x), 1))
        apart = x - centre
        inverse: np.ndarray = 1 / np.sqrt((apart * apart).mean(axis=1, keepdims=True) + eps) if x.shape[1] else centre
        if mean is not None and rstd is not None:
            mean[...], rstd[...] = centre[:, 0], inverse[:, 0]
        _affine(apart * inverse, weight, bias, y)


def layer_norm_backward(
    grad: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: np.ndarray | None,
    dx: np.ndarray | None, dweight: np.ndarray | None, dbias: np.ndarray | None,
) -> None:  # fmt: skip
    """With h = grad * weight and z the normalised x: dx = rstd (h - mean(h) - z mean(h z)), over each row.

    dx may be grad; dweight and dbias are the column sums of grad z and of grad (both None: not computed).
    """
    with np.errstate(all="ignore"):
        z = (x - mean[:, np.newaxis].astype(np.float64)) * rstd[:, np.newaxis]
        if dweight is not None and dbias is not None:
            dweight[...], dbias[...] = (grad * z).sum(axis=0), grad.sum(axis=0, dtype=np.float64)
        if dx is not None and x.shape[1]:
            h = grad.astype(np.float64) if weight is None else grad * weight.astype(np.float64)
            slant = (h * z).mean(axis=1, keepdims=True)
            dx[...] = (h - h.mean(axis=1, keepdims=True) - z * slant) * rstd[:, np.newaxis]


def batch_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray, mean: np.ndarray,
    rstd: np.ndarray, running_mean: np.ndarray, running_variance: np.ndarray, eps: float, factor: float,
) -> None:  # fmt: skip
    """Each column normalised as layer_norm does rows, from at least two rows; mean and rstd are filled.

    The running statistics move by the factor towards the batch's mean and unbiased variance.
    """
    with np.errstate(all="ignore"):
        centre = x.mean(axis=0, dtype=np.float64)
        apart = x - centre
        squares = (apart * apart).sum(axis=0)
        inverse = 1 / np.sqrt(squares / len(x) + eps)
        mean[...], rstd[...] = centre, inverse
        running_mean[...] = running_mean + factor * (centre - running_mean)
        running_variance[...] = running_variance + factor * (squares / (len(x) - 1) - running_variance)
        _affine(apart * inverse, weight, bias, y)


def batch_norm_inference(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray, mean: np.ndarray,
    variance: np.ndarray, eps: float,
) -> None:  # fmt: skip
    """Each column normalised with a given mean and variance. y may be x."""
    with np.errstate(all="ignore"):
        _affine((x - mean.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + eps), weight, bias, y)


def batch_norm_backward(
    grad: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: np.ndarray | None,
    dx: np.ndarray | None, dweight: np.ndarray | None, dbias: np.ndarray | None, given: bool,
) -> None:  # fmt: skip
    """dx = rstd weight (grad - mean(grad) - z mean(grad z)), over each column; dx may be grad or None.

    Where mean and rstd are given, and do not follow x, dx = rstd weight grad; dweight and dbias may then be None.
    """
    with np.errstate(all="ignore"):
        z = (x - mean.astype(np.float64)) * rstd
        slant, shift = (grad * z).sum(axis=0), grad.sum(axis=0, dtype=np.float64)
        if dweight is not None and dbias is not None:
            dweight[...], dbias[...] = slant, shift
        if dx is not None:
            g = grad if given else grad - shift / len(x) - z * (slant / len(x))
            dx[...] = g * (rstd if weight is None else rstd * weight)


def _affine(z: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray) -> None:
    if weight is not None:
        z = z * weight
    y[...] = z if bias is None else z + bias


def dropout(
    x: np.ndarray, y: np.ndarray, key: tuple[int, int], threshold: int, scale: float, shift: float, dropped: float
) -> None:
    """y = x * scale + shift, or dropped where the hash of key and element number (C order) is below threshold."""
    with np.errstate(all="ignore"):
        index = np.arange(x.size, dtype=np.uint64).reshape(x.shape)
        low, high = index.astype(np.uint32), (index >> np.uint64(32)).astype(np.uint32)
        h = low ^ np.uint32(key[0])
        h ^= h >> 17
        h *= np.uint32(0xED5AD4BB)
        h += np.uint32(key[1]) + high * np.uint32(0x9E3779B9)
        h ^= h >> 11
        h *= np.uint32(0xAC4C1B51)
        h ^= h >> 15
        h *= np.uint32(0x31848BAB)
        h ^= h >> 14
        real = x.dtype.type
        y[...] = np.where(h < threshold, real(dropped), x * real(scale) + real(shift))
