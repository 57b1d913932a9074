"""What is counted: the columns of a matrix, and one layer over many batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import backends, checks
from ..layers import Layer
from ..memory import Workspace
from ..wording import Text

#: |slope| below this counts as saturated: less than a hundredth of the gradient passes.
SATURATION = 0.01


class ColumnStatistics(NamedTuple):
    """What ``column_statistics`` returns: float64 arrays with one number a column."""

    above: np.ndarray  # elements above 0
    below: np.ndarray  # elements below 0
    small: np.ndarray  # elements whose magnitude is below the threshold
    mean: np.ndarray
    squares: np.ndarray  # sum of squared deviations from the mean


def column_statistics(x: np.ndarray, small: float = 0.0, *, out: np.ndarray | None = None) -> ColumnStatistics:
    """Signs, smallness, mean and squared deviations of each column of x, from one pass.

    Parameters
    ----------
    x : float32 or float64 array of shape (rows, columns) with at least one row
    small : number >= 0, rounded to x's dtype; elements with |x| < small are counted
    out : optional float64 array of shape (5, columns) for the results, C-contiguous

    Raises TypeError for another dtype, ValueError for another shape. A column with NaN or infinity has the mean NaN; a
    NaN counts nowhere. The same bits come out whatever the number of threads.
    """
    source = checks.matrix("column_statistics", "x", x)
    if len(source) == 0:
        raise ValueError("column_statistics: expected x to have at least one row, got none")
    small = checks.real("column_statistics", "small", small)
    columns = source.shape[1]
    if out is None:
        out = np.empty((5, columns))
    elif out.dtype != np.float64 or out.shape != (5, columns) or not checks.is_plain(out):
        raise ValueError(f"column_statistics: expected out to be float64 of shape {(5, columns)}, C-contiguous")
    backends.current().column_statistics(checks.plain(source), small, out)
    return ColumnStatistics(*out)


@dataclass(frozen=True)
class LayerStatistics:
    """What was seen of one layer. Shares are from 0 to 1; None where a layer has no such thing.

    Per unit: ``dead`` and ``saturated`` over all batches seen, ``dead_in_batch`` and ``saturated_in_batch`` over one
    batch on average, so that a unit that is silent in one batch and not in the next counts only there. Per element:
    ``zero_slopes``, ``small_slopes`` (below the threshold, exact zeros of piecewise functions left out), ``zeros``
    (outputs that are exactly 0), ``mean`` and ``variance`` of the outputs.

    ``output_gradient`` is the norm of the gradient at the layer's output, ``weight_gradient`` that of its weights,
    ``update_ratio`` the norm of a step's change of the weights divided by theirs (about 1e-3 is usual, CS231n), and
    ``one_sign`` the share of a unit's weight gradients that have the sign of the majority: 1/2 for no rule, 1 where
    they can only move together. Each is the mean over batches.
    """

    layer: int
    name: str
    units: int
    batches: int
    dead: float | None
    dead_in_batch: float | None
    saturated: float | None
    saturated_in_batch: float | None
    zero_slopes: float | None
    small_slopes: float | None
    zeros: float
    mean: float
    variance: float
    output_gradient: float | None
    weight_gradient: float | None
    update_ratio: float | None
    one_sign: float | None

    def as_dict(self) -> dict[str, Any]:
        """All of it by name; numbers that are not finite become None, so that it is JSON."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in vars(self).items()
        }


class _Average:
    """A running mean; None before anything was added."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def add(self, value: float) -> None:
        self.sum += value
        self.count += 1

    @property
    def value(self) -> float | None:
        return self.sum / self.count if self.count else None


class _Weight:
    """One weight matrix, its gradient, and what it was before the step."""

    def __init__(self, weight: np.ndarray, gradient: np.ndarray) -> None:
        self.weight = weight.reshape(-1, weight.shape[-1])
        self.gradient = gradient.reshape(self.weight.shape)
        self.before = np.empty_like(self.weight)
        self.columns = np.empty((5, self.weight.shape[1]))

    def remember(self) -> None:
        """Note the weights before a step."""
        np.copyto(self.before, self.weight)

    def measure(self) -> tuple[float, float, float, float]:
        """Squared norms of the gradient, of the step and of the weights; the share of one sign (NaN: all are 0)."""
        backend = backends.current()
        squares, one_sign = backend.gradient_statistics(self.gradient, self.columns)
        return squares, *backend.distance(self.weight, self.before), one_sign


class LayerCounts:
    """What was counted of one layer in the batches since ``clear``.

    Per-batch calls allocate nothing for a number of rows seen before.
    """

    def __init__(self, number: int, layer: Layer, dtype: np.dtype, saturation: float, trained: Callable[[str], bool]):
        assert layer.outputs is not None
        self.number, self.layer, self.saturation = number, layer, saturation
        activation = getattr(layer, "activation", None)
        self.name = type(layer).__name__ if activation is None else f"{type(layer).__name__} {activation}"
        self.columns = np.empty((5, layer.outputs))
        self.slopes = Workspace(layer.outputs, dtype)
        self.weights = [
            _Weight(array, layer.gradients[name])
            for name, array in layer.parameters.items()
            if array.ndim > 1 and trained(f"{number}.{name}")
        ]
        self.clear()

    def clear(self) -> None:
        """Forget everything counted."""
        self.batches = self.elements = 0
        self.zeros = self.mean = self.squares = 0.0
        self.sloped = False
        self.alive = np.zeros(self.layer.outputs, bool)
        self.active = np.zeros(self.layer.outputs, bool)
        self.dead, self.saturated = _Average(), _Average()
        self.zero_slopes = self.small_slopes = 0.0
        self.output_gradient, self.weight_gradient = _Average(), _Average()
        self.update_ratio, self.one_sign = _Average(), _Average()

    def forward(self, y: np.ndarray) -> None:
        """Count a batch of outputs, and the slopes that the layer has saved for backward."""
        nonzero, mean, squares = backends.current().output_statistics(checks.plain(y), self.columns)
        self.zeros += y.size - nonzero
        before, self.elements = self.elements, self.elements + y.size
        change = mean - self.mean  # Chan, Golub and LeVeque 1979, to join the batch to those before
        self.mean += change * y.size / self.elements
        self.squares += squares + change * change * before * y.size / self.elements
        self.batches += 1
        slope = self.layer.slope(self.slopes.rows(len(y)))
        if slope is not None:
            self._count_slopes(checks.plain(slope))

    def _count_slopes(self, slope: np.ndarray) -> None:
        self.sloped = True
        zeros, smalls, dead, saturated = backends.current().slope_statistics(
            slope, self.saturation, self.layer.zero_blocks, self.alive, self.active, self.columns
        )
        self.zero_slopes += zeros
        self.small_slopes += smalls
        self.dead.add(dead / slope.shape[1])
        self.saturated.add(saturated / slope.shape[1])

    def backward(self, grad: np.ndarray) -> None:
        """Measure the gradient at the outputs."""
        self.output_gradient.add(math.sqrt(backends.current().sum_of_squares(checks.plain(grad), 0, grad.size)))

    def remember_weights(self) -> None:
        """Note the weights before a step."""
        for weight in self.weights:
            weight.remember()

    def measure_weights(self) -> None:
        """Measure the weights' gradients and the step since ``remember_weights``."""
        if not self.weights:
            return
        measured = [weight.measure() for weight in self.weights]
        gradient, step, size = (math.sqrt(sum(parts[k] for parts in measured)) for k in range(3))
        self.weight_gradient.add(gradient)
        if size:
            self.update_ratio.add(step / size)
        signs = [parts[3] for parts in measured if not math.isnan(parts[3])]
        if signs:
            self.one_sign.add(sum(signs) / len(signs))

    def statistics(self) -> LayerStatistics:
        """The counts as shares and means."""
        elements, units = max(self.elements, 1), self.alive.size
        return LayerStatistics(
            layer=self.number,
            name=self.name,
            units=units,
            batches=self.batches,
            dead=1 - np.count_nonzero(self.alive) / units if self.sloped else None,
            dead_in_batch=self.dead.value,
            saturated=np.count_nonzero(self.alive & ~self.active) / units if self.sloped else None,
            saturated_in_batch=self.saturated.value,
            zero_slopes=self.zero_slopes / elements if self.sloped else None,
            small_slopes=self.small_slopes / elements if self.sloped else None,
            zeros=self.zeros / elements if math.isfinite(self.mean) else math.nan,
            mean=self.mean,
            variance=self.squares / elements,
            output_gradient=self.output_gradient.value,
            weight_gradient=self.weight_gradient.value,
            update_ratio=self.update_ratio.value,
            one_sign=self.one_sign.value,
        )


def table(layers: list[LayerStatistics]) -> str:
    """Statistics as a table, one line a layer."""
    heads = ("layer", "units", "dead", "saturated", "zeros", "mean", "variance", "gradient", "update", "one sign")
    lines: list[tuple[str, ...]] = [heads]
    for s in layers:
        shares = [_percent(value) for value in (s.dead, s.saturated, s.zeros)]
        numbers = [_short(v) for v in (s.mean, s.variance, s.weight_gradient, s.update_ratio)]
        lines.append((f"{s.layer} {s.name}", str(s.units), *shares, *numbers, _percent(s.one_sign)))
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return Text(
        "\n".join(
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        )
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %" if math.isfinite(value) else "nan"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
