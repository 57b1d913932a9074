"""What the normalisation and dropout layers compute: the compiled kernels, and their NumPy twins.

Arrays are C-contiguous, aligned, native, of one dtype and of matching shapes: the layers see to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backends, runtime

# ------------------------------------------------------------------------------------------ normalisation


def layer_norm_into(
    x: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    y: np.ndarray,
    mean: np.ndarray | None,
    rstd: np.ndarray | None,
    eps: float,
) -> None:
    """y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(variance + eps), over each row.

    mean and rstd, of a number a row, are filled unless None. y may be x.
    """
    if backends.get_backend() == "native":
        runtime._core.layer_norm(x, weight, bias, y, mean, rstd, eps)
        return
    with np.errstate(all="ignore"):
        centre: Any = np.mean(x, axis=1, dtype=np.float64, keepdims=True) if x.shape[1] else np.zeros((len(x), 1))
        apart = x - centre
        inverse: np.ndarray = 1 / np.sqrt((apart * apart).mean(axis=1, keepdims=True) + eps) if x.shape[1] else centre
        if mean is not None and rstd is not None:
            mean[...], rstd[...] = centre[:, 0], inverse[:, 0]
        _affine(apart * inverse, weight, bias, y)


def layer_norm_backward_into(
    grad: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    rstd: np.ndarray,
    weight: np.ndarray | None,
    dx: np.ndarray | None,
    dweight: np.ndarray | None,
    dbias: np.ndarray | None,
) -> None:
    """With h = grad * weight and z the normalised x: dx = rstd (h - mean(h) - z mean(h z)), over each row.

    dx may be grad; dweight and dbias are the column sums of grad z and of grad (both None: not wanted).
    """
    if backends.get_backend() == "native":
        runtime._core.layer_norm_backward(grad, x, mean, rstd, weight, dx, dweight, dbias)
        return
    with np.errstate(all="ignore"):
        z = (x - mean[:, np.newaxis].astype(np.float64)) * rstd[:, np.newaxis]
        if dweight is not None and dbias is not None:
            dweight[...], dbias[...] = (grad * z).sum(axis=0), grad.sum(axis=0, dtype=np.float64)
        if dx is not None and x.shape[1]:
            h = grad.astype(np.float64) if weight is None else grad * weight.astype(np.float64)
            slant = (h * z).mean(axis=1, keepdims=True)
            dx[...] = (h - h.mean(axis=1, keepdims=True) - z * slant) * rstd[:, np.newaxis]


def batch_norm_into(
    x: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    y: np.ndarray,
    mean: np.ndarray,
    rstd: np.ndarray,
    running_mean: np.ndarray,
    running_variance: np.ndarray,
    eps: float,
    factor: float,
) -> None:
    """The same over each column, from at least two rows; mean and rstd are filled.

    The running statistics move by the factor towards the batch's mean and unbiased variance.
    """
    if backends.get_backend() == "native":
        runtime._core.batch_norm(
            x, weight, bias, y, mean, rstd, running_mean, running_variance, eps, factor
        )  # fmt: skip
        return
    with np.errstate(all="ignore"):
        centre = x.mean(axis=0, dtype=np.float64)
        apart = x - centre
        squares = (apart * apart).sum(axis=0)
        inverse = 1 / np.sqrt(squares / len(x) + eps)
        mean[...], rstd[...] = centre, inverse
        running_mean[...] = running_mean + factor * (centre - running_mean)
        running_variance[...] = running_variance + factor * (squares / (len(x) - 1) - running_variance)
        _affine(apart * inverse, weight, bias, y)


def batch_norm_inference_into(
    x: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    y: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    eps: float,
) -> None:
    """The same from a given mean and variance. y may be x."""
    if backends.get_backend() == "native":
        runtime._core.batch_norm_inference(x, weight, bias, y, mean, variance, eps)
        return
    with np.errstate(all="ignore"):
        _affine((x - mean.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + eps), weight, bias, y)


def batch_norm_backward_into(
    grad: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    rstd: np.ndarray,
    weight: np.ndarray | None,
    dx: np.ndarray | None,
    dweight: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """dx = rstd weight (grad - mean(grad) - z mean(grad z)), over each column; dx may be grad or None."""
    if backends.get_backend() == "native":
        runtime._core.batch_norm_backward(grad, x, mean, rstd, weight, dx, dweight, dbias)
        return
    with np.errstate(all="ignore"):
        z = (x - mean.astype(np.float64)) * rstd
        slant, shift = (grad * z).sum(axis=0), grad.sum(axis=0, dtype=np.float64)
        dweight[...], dbias[...] = slant, shift
        if dx is not None:
            dx[...] = (grad - shift / len(x) - z * (slant / len(x))) * (rstd if weight is None else rstd * weight)


def _affine(z: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray) -> None:
    """y = z * weight + bias."""
    if weight is not None:
        z = z * weight
    y[...] = z if bias is None else z + bias


# ------------------------------------------------------------------------------------------ dropout

_WORD = 2**64 - 1


def mixed(seed: int, counter: int) -> tuple[int, int]:
    """Two 32-bit words of their own for each pair of numbers below 2^64: SplitMix64 (Steele et al. 2014)."""
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    z ^= z >> 31
    return z & 0xFFFFFFFF, z >> 32


def dropout_into(
    x: np.ndarray,
    y: np.ndarray,
    key: tuple[int, int],
    rate: float,
    scale: float,
    shift: float = 0.0,
    dropped: float = 0.0,
) -> None:
    """y = x * scale + shift, or ``dropped`` with probability ``rate``, as a hash of key and place says. y may be x.

    The place is the element's number in C order, so that the choice depends on neither dtype nor backend.
    """
    threshold = min(round(rate * 2**32), 2**32 - 1)
    if backends.get_backend() == "native":
        runtime._core.dropout(x, y, key, threshold, scale, shift, dropped)
        return
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
