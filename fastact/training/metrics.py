"""Metrics by name, one row each: the function, and whether more of it is better (None: neither)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .. import checks
from ..losses import Facts

Metric = Callable[[np.ndarray, np.ndarray], float]


class NamedMetric(NamedTuple):
    """A metric that has a name: a function of (outputs, targets, facts of the loss)."""

    function: Callable[[np.ndarray, np.ndarray, Facts], float]
    rises: bool | None


def accuracy(outputs: np.ndarray, targets: np.ndarray, facts: Facts) -> float:
    """Fraction of the rows (of the outputs, where each is a yes or no by itself) that are right."""
    if facts.targets == "probabilities" or outputs.shape[1] == 1:
        right = (outputs > 0) == (targets.reshape(outputs.shape) > 0.5)
    elif targets.ndim == 1:
        right = (outputs.argmax(axis=1) == targets)[targets != facts.ignore_index]
    else:
        right = outputs.argmax(axis=1) == targets.argmax(axis=1)
    return float(right.mean()) if right.size else float("nan")


def r2(outputs: np.ndarray, targets: np.ndarray, _: Facts) -> float:
    """Coefficient of determination 1 - sum (t - p)^2 / sum (t - mean t)^2, the mean over the outputs.

    A constant target counts 1 where it is met exactly and else 0, as in scikit-learn.
    """
    if outputs.shape != targets.shape:
        raise ValueError(f"r2: expected targets of the outputs' shape {outputs.shape}, got {targets.shape}")
    if not outputs.size:
        return float("nan")
    t = targets.astype(np.float64)
    left = np.square(t - outputs).sum(axis=0)
    spread = np.square(t - t.mean(axis=0)).sum(axis=0)
    constant = spread == 0
    return float(np.mean(np.where(constant, left == 0, 1 - left / np.where(constant, 1, spread))))


def pinball(outputs: np.ndarray, targets: np.ndarray, facts: Facts) -> float:
    """Mean pinball loss of the quantiles that the loss is of."""
    above = targets.astype(np.float64) - outputs
    q = np.asarray(facts.q)
    return float(np.maximum(q * above, (q - 1) * above).mean()) if outputs.size else float("nan")


def coverage(outputs: np.ndarray, targets: np.ndarray, facts: Facts) -> float:
    """Fraction of the targets that are at most the predicted quantile: q, where the prediction is right.

    Of several quantiles: that lie from the lowest to the highest, which is right at the difference of the two.
    """
    if not outputs.size:
        return float("nan")
    if np.ndim(facts.q) == 0:
        return float(np.mean(targets <= outputs))
    low, high = np.argmin(facts.q), np.argmax(facts.q)
    return float(np.mean((outputs[:, low] <= targets[:, low]) & (targets[:, high] <= outputs[:, high])))


METRICS = {
    "accuracy": NamedMetric(accuracy, rises=True),
    "r2": NamedMetric(r2, rises=True),
    "pinball": NamedMetric(pinball, rises=False),
    "coverage": NamedMetric(coverage, rises=None),
}


def measure(function: str, metrics: Mapping[str, Metric], outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Each metric's value."""
    values = {}
    for name, metric in metrics.items():
        value = metric(outputs, targets)
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"{function}: expected the metric {name} to return a number, got {checks.describe(value)}"
            ) from None
    return values
