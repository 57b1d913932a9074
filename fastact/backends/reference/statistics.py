"""What diagnostics ask of matrices with at least one row and one column."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def column_statistics(x: Array, small: float, result: Array) -> None:
    """Into result, for each column: elements above 0, below 0, and below small in magnitude; mean; squares about it."""
    result[0] = np.count_nonzero(x > 0, axis=0)
    result[1] = np.count_nonzero(x < 0, axis=0)
    result[2] = np.count_nonzero(np.abs(x) < x.dtype.type(small), axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        result[3] = x[0] + np.mean(x - x[0], axis=0, dtype=np.float64)
        result[4] = np.sum(np.square(x - result[3]), axis=0)


def output_statistics(x: Array, result: Array) -> tuple[float, float, float]:
    """(elements that are not 0, mean, sum of squared deviations from it) of the whole matrix."""
    column_statistics(x, 0.0, result)
    above, below, _, means, squares = result
    with np.errstate(all="ignore"):
        mean = float(means.mean())
        total = float(np.sum(squares) + len(x) * np.sum((means - mean) ** 2))
    return float(np.sum(above + below)), mean, total


def slope_statistics(
    x: Array, small: float, flat: bool, alive: Array, active: Array, result: Array
) -> tuple[float, float, int, int]:
    """(elements that are 0, others below small, columns of nothing but 0, other columns all below small).

    alive and active are brought up to date: columns with an element that is not 0, and that is not below small. Zeros
    count as merely small unless flat; a column with NaN is alive and active.
    """
    column_statistics(x, small, result)
    above, below, smaller, means, _ = result
    rows, unknown = len(x), np.isnan(means)
    zero = rows - above - below if flat else np.zeros(alive.size)
    lives, acts = (zero < rows) | unknown, (smaller < rows) | unknown
    alive |= lives
    active |= acts
    smalls = float(np.sum(np.maximum(smaller - zero, 0)))
    return float(np.sum(zero)), smalls, int(np.sum(~lives)), int(np.sum(lives & ~acts))


def gradient_statistics(x: Array, result: Array) -> tuple[float, float]:
    """(sum of squares, mean over columns of the share of the commoner sign); NaN for columns of nothing but 0."""
    column_statistics(x, 0.0, result)
    above, below, _, means, squares = result
    total = above + below
    shares = np.maximum(above, below)[total > 0] / total[total > 0]
    with np.errstate(all="ignore"):
        whole = float(np.sum(squares + len(x) * means**2))
    return whole, float(shares.mean()) if shares.size else math.nan


def distance(x: Array, y: Array) -> tuple[float, float]:
    """(sum of squares of x - y, sum of squares of x) of two arrays of one shape."""
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        return float(np.sum((wide - y) ** 2)), float(np.sum(wide**2))


def largest(x: Array) -> float:
    """The largest magnitude: NaN where there is one, 0 of nothing."""
    return float(np.abs(x).max(initial=0))
