"""Normalisation and dropout."""

from __future__ import annotations

import numpy as np


def layer_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray, mean: np.ndarray | None,
    rest: np.ndarray | None, rstd: np.ndarray | None, eps: float,
) -> None:  # fmt: skip
    """y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(variance + eps), over each row.

    mean and rest, whose sum is the mean, and rstd, of a number a row, are filled unless None. y may be x.
    """
    if not x.shape[1]:
        return
    with np.errstate(all="ignore"):
        moments = _Moments(x.T, eps)
        if mean is not None and rest is not None and rstd is not None:
            moments.store(mean, rest, rstd)
        _affine(moments.normalized.T, weight, bias, y)


def layer_norm_backward(
    grad: np.ndarray, x: np.ndarray, mean: np.ndarray, rest: np.ndarray, rstd: np.ndarray, weight: np.ndarray | None,
    dx: np.ndarray | None, dweight: np.ndarray | None, dbias: np.ndarray | None,
) -> None:  # fmt: skip
    """With h = grad * weight and z the normalised x: dx = rstd (h - mean(h) - z mean(h z)), over each row.

    dx may be grad; dweight and dbias are the column sums of grad z and of grad (both None: not computed).
    """
    with np.errstate(all="ignore"):
        z = _normalized(x.T, mean, rest, rstd).T
        if dweight is not None and dbias is not None:
            dweight[...], dbias[...] = (grad * z).sum(axis=0), grad.sum(axis=0, dtype=np.float64)
        if dx is not None and x.shape[1]:
            h = grad.astype(np.float64) if weight is None else grad * weight.astype(np.float64)
            slant = (h * z).mean(axis=1, keepdims=True)
            dx[...] = (h - h.mean(axis=1, keepdims=True) - z * slant) * rstd[:, np.newaxis]


def batch_norm(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray, mean: np.ndarray,
    rest: np.ndarray, rstd: np.ndarray, running_mean: np.ndarray, running_variance: np.ndarray, eps: float,
    factor: float,
) -> None:  # fmt: skip
    """Each column normalised as layer_norm does rows, from at least two rows; mean, rest and rstd are filled.

    The running statistics move by the factor towards the batch's mean and unbiased variance, at most to the largest
    number.
    """
    with np.errstate(all="ignore"):
        moments = _Moments(x, eps)
        moments.store(mean, rest, rstd)
        variance = moments.squares / (len(x) - 1) / moments.scale / moments.scale
        running_mean[...] = running_mean + factor * ((moments.mean - running_mean) + moments.rest)
        moved = running_variance + factor * (variance - running_variance)
        running_variance[...] = np.minimum(moved, np.finfo(x.dtype).max)
        _affine(moments.normalized, weight, bias, y)


def batch_norm_inference(
    x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, y: np.ndarray, mean: np.ndarray,
    variance: np.ndarray, eps: float,
) -> None:  # fmt: skip
    """Each column normalised with a given mean and variance. y may be x."""
    with np.errstate(all="ignore"):
        _affine((x - mean.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + eps), weight, bias, y)


def batch_norm_backward(
    grad: np.ndarray, x: np.ndarray, mean: np.ndarray, rest: np.ndarray | None, rstd: np.ndarray,
    weight: np.ndarray | None, dx: np.ndarray | None, dweight: np.ndarray | None, dbias: np.ndarray | None,
    given: bool,
) -> None:  # fmt: skip
    """dx = rstd weight (grad - mean(grad) - z mean(grad z)), over each column; dx may be grad or None.

    Where mean and rstd are given, and do not follow x, dx = rstd weight grad; rest, dweight and dbias may then be None.
    """
    with np.errstate(all="ignore"):
        z = _normalized(x, mean, rest, rstd)
        slant, shift = (grad * z).sum(axis=0), grad.sum(axis=0, dtype=np.float64)
        if dweight is not None and dbias is not None:
            dweight[...], dbias[...] = slant, shift
        if dx is not None:
            g = grad if given else grad - shift / len(x) - z * (slant / len(x))
            dx[...] = g * (rstd if weight is None else rstd * weight)


class _Moments:
    """Of each column: the mean in two parts, 1 / sqrt(variance + eps), and the column normalised.

    Squares are of numbers times `scale`, a power of two that keeps them finite.
    """

    def __init__(self, x: np.ndarray, eps: float) -> None:
        _, exponent = np.frexp(np.abs(x).max(axis=0).astype(np.float64))
        self.scale = np.ldexp(1.0, -np.maximum(exponent, 0))
        scaled = x * self.scale
        mean = scaled.mean(axis=0)
        apart = scaled - mean
        rest = apart.mean(axis=0)
        apart -= rest
        self.squares = (apart * apart).sum(axis=0)
        self.mean, self.rest = mean / self.scale, rest / self.scale
        inverse = 1 / np.sqrt(self.squares / len(x) + eps * self.scale * self.scale)
        self.rstd, self.normalized = inverse * self.scale, apart * inverse

    def store(self, mean: np.ndarray, rest: np.ndarray, rstd: np.ndarray) -> None:
        mean[...] = self.mean
        rest[...], rstd[...] = (self.mean - mean) + self.rest, self.rstd


def _normalized(x: np.ndarray, mean: np.ndarray, rest: np.ndarray | None, rstd: np.ndarray) -> np.ndarray:
    apart = x - mean.astype(np.float64)
    return (apart if rest is None else apart - rest) * rstd


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
