"""How good predictions are: tables of right and wrong, errors, and which inputs they depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["class_scores", "confusion", "largest_errors", "permutation_importance", "regression_scores"]


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many rows of each class (down) were said to be of each (across): int64 (classes, classes).

    Rows whose class number is negative are left out.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    known = true >= 0
    flat = true[known] * classes + predicted[known]
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def class_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of each class, from what ``confusion`` counted; NaN where there is nothing to divide by."""
    right = np.diag(counts).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return right / counts.sum(axis=0), right / counts.sum(axis=1)


def regression_scores(
    true: np.ndarray, predicted: np.ndarray, mean: Sequence[float] | np.ndarray
) -> list[dict[str, float]]:
    """Of each column: R2, mean absolute and root mean squared error, and those errors of predicting ``mean`` always.

    R2 is 1 - sum (t - p)^2 / sum (t - mean of t)^2; of constant t it is 1 where all is met, else 0, as in scikit-learn.
    """
    scores = []
    for t, p, m in zip(true.T, predicted.T, mean, strict=True):
        left, spread = float(np.square(t - p).sum()), float(np.square(t - t.mean()).sum())
        scores.append(
            {
                "r2": 1 - left / spread if spread else float(left == 0),
                "mae": float(np.abs(t - p).mean()),
                "rmse": float(np.sqrt(left / len(t))),
                "mean_mae": float(np.abs(t - m).mean()),
                "mean_rmse": float(np.sqrt(np.square(t - m).mean())),
            }
        )
    return scores


def largest_errors(true: np.ndarray, predicted: np.ndarray, count: int = 5) -> list[tuple[int, int]]:
    """(row, column) of the largest errors in units of each column's own deviation, the largest first."""
    spread = true.std(axis=0)
    errors = np.abs(true - predicted) / np.where(spread > 0, spread, 1.0)
    order = np.argsort(-errors, axis=None, kind="stable")[:count]
    return [(int(i) // true.shape[1], int(i) % true.shape[1]) for i in order]


def permutation_importance(
    score: Callable[[np.ndarray], float],
    x: np.ndarray,
    groups: Mapping[str, slice],
    repeats: int = 5,
    rng: Any = None,
) -> dict[str, tuple[float, float]]:
    """How much a score falls when the columns of a group change rows, together: mean and deviation over repeats.

    Parameters
    ----------
    score : of inputs of x's shape; more is better
    x : (rows, columns); it is as before at the end
    groups : columns that belong together, by name
    repeats : orders that are tried
    rng : seed or numpy Generator

    Source: Breiman 2001, Random forests.
    """
    generator = np.random.default_rng(rng)
    before, falls = score(x), {}
    for name, columns in groups.items():
        kept = x[:, columns].copy()
        found = []
        for _ in range(repeats):
            x[:, columns] = kept[generator.permutation(len(x))]
            found.append(before - score(x))
        x[:, columns] = kept
        falls[name] = (float(np.mean(found)), float(np.std(found)))
    return falls
