"""Metrics by name, one row each: the function, and whether more of it is better (None: neither)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import checks, functional, losses
from ..losses import Facts, several

Metric = Callable[[np.ndarray, np.ndarray], float]


class NamedMetric(NamedTuple):
    """A metric that has a name: a function of (outputs, targets, facts of the loss)."""

    function: Callable[[np.ndarray, np.ndarray, Facts], float]
    rises: bool | None
    running: Callable[..., Any]  # (function, facts) -> ``Running``


def largest_column(outputs: np.ndarray) -> np.ndarray:
    """The number of each row's largest output: the first of equals, or the first NaN."""
    columns = outputs.shape[1]
    return functional.maxout(outputs, columns).index[:, 0] if 1 <= columns <= 256 else outputs.argmax(axis=1)


def accuracy(outputs: np.ndarray, targets: np.ndarray, facts: Facts) -> float:
    """Fraction of the rows (of the outputs, where each is a yes or no by itself) that are right."""
    if facts.targets in ("probabilities", "signs") or outputs.shape[1] == 1:
        right = (outputs > facts.threshold) == (targets.reshape(outputs.shape) > 0.5)
    elif targets.ndim == 1:
        right = (largest_column(outputs) == targets)[targets != facts.ignore_index]
    else:
        right = largest_column(outputs) == targets.argmax(axis=1)
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
    if not several(facts.q):
        return float(np.mean(targets <= outputs))
    low, high = np.argmin(facts.q), np.argmax(facts.q)
    return float(np.mean((outputs[:, low] <= targets[:, low]) & (targets[:, high] <= outputs[:, high])))


class Running(Protocol):
    """A metric that sees one batch after the other."""

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Take one more batch."""

    def value(self) -> float:
        """Of all that were added."""


class RunningMean:
    """A metric that is a mean over rows."""

    def __init__(self, function: Callable[[np.ndarray, np.ndarray, Facts], float], facts: Facts) -> None:
        self.function, self.facts, self.total, self.counted = function, facts, 0.0, 0

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        labels = self.facts.targets == "classes" and targets.ndim == 1
        rows = int((targets != self.facts.ignore_index).sum()) if labels else len(targets)
        if rows:
            self.total += self.function(outputs, targets, self.facts) * rows
            self.counted += rows

    def value(self) -> float:
        return self.total / self.counted if self.counted else float("nan")


class RunningR2:
    """``r2`` from sums, of what is left and of the spread around a running mean (Chan, Golub and LeVeque 1983)."""

    def __init__(self, _: Any, facts: Facts) -> None:
        self.rows, self.mean, self.spread, self.left = 0, np.zeros(1), np.zeros(1), np.zeros(1)

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        rows, t = len(targets), targets.astype(np.float64)
        if not rows:
            return
        if not self.rows:
            self.first = t[0].copy()
            r2(outputs, targets, losses.CUSTOM)  # for its check of shapes
        self.left = self.left + np.square(t - outputs).sum(axis=0)
        t -= self.first  # so that constant targets stay exactly that
        mean = t.mean(axis=0)
        total, apart = self.rows + rows, mean - self.mean
        self.spread = self.spread + np.square(t - mean).sum(axis=0) + apart**2 * (self.rows * rows / total)
        self.mean = self.mean + apart * (rows / total)
        self.rows = total

    def value(self) -> float:
        if not self.rows:
            return float("nan")
        constant = self.spread == 0
        return float(np.mean(np.where(constant, self.left == 0, 1 - self.left / np.where(constant, 1, self.spread))))


class Collected:
    """A metric of the user's, which may need all outputs at once."""

    def __init__(self, function: str, name: str, metric: Metric) -> None:
        self.function, self.name, self.metric = function, name, metric
        self.outputs: list[np.ndarray] = []
        self.targets: list[np.ndarray] = []

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        self.outputs.append(outputs)
        self.targets.append(targets.copy())

    def value(self) -> float:
        arrays = np.concatenate(self.outputs), np.concatenate(self.targets)
        return measure(self.function, {self.name: self.metric}, *arrays)[self.name]


METRICS = {
    "accuracy": NamedMetric(accuracy, rises=True, running=RunningMean),
    "r2": NamedMetric(r2, rises=True, running=RunningR2),
    "pinball": NamedMetric(pinball, rises=False, running=RunningMean),
    "coverage": NamedMetric(coverage, rises=None, running=RunningMean),
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


class Bound:
    """A metric that has a name, for a loss."""

    def __init__(self, metric: NamedMetric, facts: Facts) -> None:
        self.metric, self.facts = metric, facts

    def __call__(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        return self.metric.function(outputs, targets, self.facts)


def running(function: str, metrics: Mapping[str, Metric]) -> dict[str, Running]:
    """Each metric as one that sees batch after batch; a function of the user's collects them."""
    return {
        name: metric.metric.running(metric.metric.function, metric.facts)
        if isinstance(metric, Bound)
        else Collected(function, name, metric)
        for name, metric in metrics.items()
    }
