"""What goes on inside a network: dead and saturated units, zeros, means, gradients and updates; and gradient checks.

Three doors: ``Monitor`` is a callback of ``fit``; ``observe`` does the same around a loop written by hand;
``check_gradients`` compares a network's gradients with differences of its loss. All counts of a matrix come from one
pass over it, ``column_statistics``.

A unit is *dead* where its slope is exactly 0 for every sample looked at: no gradient reaches its weights, so nothing
brings it back. It is *saturated* where it is not dead, yet |slope| stays below a threshold. A smooth activation never
has the slope 0; where the slope merely rounds to it (elu below about -17 in float32), the unit is called saturated.
"""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import backends, checks, losses, runtime
from ..epilogues import FixedActivation as BoundActivation
from ..layers import Layer, Swish
from ..memory import Workspace
from ..network import Sequential
from ..training.callbacks import Callback, Run

__all__ = [
    "ColumnStatistics",
    "GradientCheck",
    "LayerStatistics",
    "Monitor",
    "Observer",
    "TrainingWarning",
    "check_gradients",
    "column_statistics",
    "observe",
]

#: |slope| below this counts as saturated: less than a hundredth of the gradient passes.
SATURATION = 0.01


class TrainingWarning(UserWarning):
    """Something in the training looks wrong; the text says what, where, and what usually helps."""


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
    return _column_statistics(checks.plain(source), small, out)


def _column_statistics(x: np.ndarray, small: float, out: np.ndarray) -> ColumnStatistics:
    """The same for a plain x, without a check."""
    backends.current().column_statistics(x, small, out)
    return ColumnStatistics(*out)


def _output_statistics(y: np.ndarray, table: np.ndarray) -> tuple[float, float, float]:
    """(elements that are not 0, mean, sum of squared deviations from it) of a matrix."""
    if backends.get_backend() == "native":
        return backends.engine.output_statistics(y, table)
    seen = _column_statistics(y, 0.0, table)
    with np.errstate(all="ignore"):  # numbers that are not finite are told, not warned about
        mean = float(seen.mean.mean())
        squares = float(np.sum(seen.squares) + len(y) * np.sum((seen.mean - mean) ** 2))
    return float(np.sum(seen.above + seen.below)), mean, squares


def _slope_statistics(
    slope: np.ndarray, small: float, flat: bool, alive: np.ndarray, active: np.ndarray, table: np.ndarray
) -> tuple[float, float, int, int]:
    """(elements that are 0, others below small, columns of nothing but 0, other columns all below small).

    alive and active are brought up to date: columns with an element that is not 0, and that is not below small. Zeros
    count as merely small unless flat; a column with NaN is alive and active.
    """
    if backends.get_backend() == "native":
        return backends.engine.slope_statistics(slope, small, flat, alive, active, table)
    seen = _column_statistics(slope, small, table)
    rows = len(slope)
    zero = rows - seen.above - seen.below if flat else np.zeros(alive.size)
    unknown = np.isnan(seen.mean)
    lives, acts = (zero < rows) | unknown, (seen.small < rows) | unknown
    alive |= lives
    active |= acts
    smalls = float(np.sum(np.maximum(seen.small - zero, 0)))
    return float(np.sum(zero)), smalls, int(np.sum(~lives)), int(np.sum(lives & ~acts))


def _gradient_statistics(gradient: np.ndarray, table: np.ndarray) -> tuple[float, float]:
    """(sum of squares, mean over columns of the share of the commoner sign); NaN for columns of nothing but 0."""
    if backends.get_backend() == "native":
        return backends.engine.gradient_statistics(gradient, table)
    seen = _column_statistics(gradient, 0.0, table)
    total = seen.above + seen.below
    shares = np.maximum(seen.above, seen.below)[total > 0] / total[total > 0]
    with np.errstate(all="ignore"):
        squares = float(np.sum(seen.squares + len(gradient) * seen.mean**2))
    return squares, float(shares.mean()) if shares.size else math.nan


def _distance(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(sum of squares of x - y, sum of squares of x) of two plain arrays of one shape."""
    if backends.get_backend() == "native":
        return backends.engine.distance(x, y)
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        return float(np.sum((wide - y) ** 2)), float(np.sum(wide**2))


def _sum_of_squares(x: np.ndarray) -> float:
    """The sum of squares of a plain array, in double."""
    if backends.get_backend() == "native":
        return backends.engine.sum_of_squares(x, 0, x.size)
    return float(np.sum(np.square(x, dtype=np.float64)))


# ------------------------------------------------------------------------------------------------ what one layer does


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
    """One weight matrix: its gradients' norm and signs, and how far a step moves it."""

    def __init__(self, weight: np.ndarray, gradient: np.ndarray) -> None:
        self.weight = weight.reshape(-1, weight.shape[-1])
        self.gradient = gradient.reshape(self.weight.shape)
        self.before = np.empty_like(self.weight)
        self.table = np.empty((5, self.weight.shape[1]))

    def remember(self) -> None:
        """Note the weights before a step."""
        np.copyto(self.before, self.weight)

    def collect(self) -> tuple[float, float, float, float]:
        """Squared norms of the gradient, of the step and of the weights; the share of one sign (NaN: all are 0)."""
        squares, share = _gradient_statistics(self.gradient, self.table)
        return squares, *_distance(self.weight, self.before), share


class _Tracker:
    """The running counts of one layer.

    ``flat``: a slope of 0 means that the activation is flat there; elsewhere it is a small slope rounded.
    """

    def __init__(self, number: int, layer: Layer, dtype: np.dtype, saturation: float, trained: Callable[[str], bool]):
        assert layer.outputs is not None
        self.number, self.layer, self.saturation = number, layer, saturation
        activation = getattr(layer, "activation", None)
        if isinstance(activation, BoundActivation):
            self.flat = activation.entry.zero_blocks
        else:
            self.flat = not isinstance(layer, Swish) and getattr(activation, "name", "") != "swish"
        self.name = type(layer).__name__ if activation is None else f"{type(layer).__name__} {activation}"
        self.table = np.empty((5, layer.outputs))
        self.slopes = Workspace(layer.outputs, dtype)
        self.weights = [
            _Weight(array, layer.gradients[name])
            for name, array in layer.parameters.items()
            if array.ndim > 1 and trained(f"{number}.{name}")
        ]
        self.clear()

    def clear(self) -> None:
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
        rows, columns = y.shape
        nonzero, mean, squares = _output_statistics(checks.plain(y), self.table)
        self.zeros += y.size - nonzero
        before, self.elements = self.elements, self.elements + y.size
        change = mean - self.mean  # Chan, Golub and LeVeque 1979, to join the batch to those before
        self.mean += change * y.size / self.elements
        self.squares += squares + change * change * before * y.size / self.elements
        self.batches += 1

        slope = self.layer.slope(self.slopes.rows(rows))
        if slope is None:
            return
        self.sloped = True
        zeros, smalls, dead, saturated = _slope_statistics(
            checks.plain(slope), self.saturation, self.flat, self.alive, self.active, self.table
        )
        self.zero_slopes += zeros
        self.small_slopes += smalls
        self.dead.add(dead / columns)
        self.saturated.add(saturated / columns)

    def backward(self, grad: np.ndarray) -> None:
        self.output_gradient.add(math.sqrt(_sum_of_squares(checks.plain(grad))))

    def collect(self) -> None:
        if not self.weights:
            return
        parts = [weight.collect() for weight in self.weights]
        gradient, step, size = (math.sqrt(sum(part[k] for part in parts)) for k in range(3))
        self.weight_gradient.add(gradient)
        if size:
            self.update_ratio.add(step / size)
        shares = [part[3] for part in parts if not math.isnan(part[3])]
        if shares:
            self.one_sign.add(sum(shares) / len(shares))

    def statistics(self) -> LayerStatistics:
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


class Observer:
    """Collects statistics of every training pass of a network while it is ``net.observer``.

    ``layers`` are the statistics so far, one ``LayerStatistics`` a layer, and ``batches`` how many passes they are
    from; ``clear()`` starts anew. The weights' gradients and the step are read when the next pass begins, when
    ``layers`` is read, or by ``collect()``: after the optimiser's step and before anything changes the gradients.
    ``dead_units(i)`` and ``saturated_units(i)`` name the units of layer i.
    """

    def __init__(self, net: Sequential, saturation: float = SATURATION) -> None:
        """Lay out the counters; nothing more is allocated for a batch size seen before."""
        if not isinstance(net, Sequential):
            raise TypeError(f"Observer: expected net to be a Sequential, got {checks.describe(net)}")
        saturation = checks.real("Observer", "saturation", saturation)
        frozen = {segment.name for segment in net.segments if segment.frozen}
        self._trackers = [
            _Tracker(i, layer, net.dtype, saturation, lambda name: name not in frozen)
            for i, layer in enumerate(net.layers)
        ]
        self._pending = False
        self.batches = 0

    def forward(self, i: int, layer: Layer, x: np.ndarray, y: np.ndarray) -> None:
        """See a layer's training forward."""
        if i == 0:
            self.collect()
            self.batches += 1
        if len(y):
            self._trackers[i].forward(y)

    def backward(self, i: int, layer: Layer, grad: np.ndarray) -> None:
        """See the gradient of a layer's output."""
        if i == len(self._trackers) - 1:
            for tracker in self._trackers:
                for weight in tracker.weights:
                    weight.remember()
            self._pending = True
        self._trackers[i].backward(grad)

    def collect(self) -> None:
        """Read the gradients and the step that belong to the last backward, once."""
        if self._pending:
            self._pending = False
            for tracker in self._trackers:
                tracker.collect()

    def clear(self) -> None:
        """Forget everything seen."""
        self._pending, self.batches = False, 0
        for tracker in self._trackers:
            tracker.clear()

    @property
    def layers(self) -> list[LayerStatistics]:
        """Statistics of each layer over the batches seen."""
        self.collect()
        return [tracker.statistics() for tracker in self._trackers]

    def dead_units(self, i: int) -> list[int]:
        """Numbers of layer i's units whose slope was 0 for every sample seen."""
        tracker = self._trackers[i]
        return np.flatnonzero(~tracker.alive).tolist() if tracker.sloped else []

    def saturated_units(self, i: int) -> list[int]:
        """Numbers of layer i's units that are not dead and whose |slope| was below the threshold throughout."""
        tracker = self._trackers[i]
        return np.flatnonzero(tracker.alive & ~tracker.active).tolist() if tracker.sloped else []

    def report(self) -> str:
        """A table of what was seen."""
        return table(self.layers)


@contextmanager
def observe(net: Sequential, saturation: float = SATURATION) -> Iterator[Observer]:
    """``with observe(net) as stats:`` every training pass inside is observed; then read ``stats.layers``.

    ``saturation`` is the |slope| below which a unit counts as saturated. Raises TypeError or ValueError for a wrong
    argument.
    """
    observer = Observer(net, saturation)
    before, net.observer = net.observer, observer
    try:
        yield observer
    finally:
        net.observer = before
        observer.collect()


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
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %" if math.isfinite(value) else "nan"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


# ------------------------------------------------------------------------------------------------ during fit


@dataclass(frozen=True)
class _Trouble:
    """A kind of trouble: how much of it a layer has, from where on it is told, and in which words."""

    measure: Callable[[LayerStatistics], float | None]
    limit: float
    text: str


_TROUBLES = {
    "dead": _Trouble(
        lambda s: s.dead, 0.25, "{share:.0%} of units dead; lower the learning rate or use a positive bias"
    ),
    "saturated": _Trouble(
        lambda s: s.saturated,
        0.25,
        "{share:.0%} of units saturated; scale the inputs, use smaller initial weights or a normalisation layer",
    ),
    "step": _Trouble(
        lambda s: s.update_ratio,
        0.1,
        "a step changes the weights by {share:.0%} of their size (0.1 % is usual); lower the learning rate",
    ),
    "not finite": _Trouble(
        lambda s: 0.0 if math.isfinite(s.mean) and math.isfinite(s.variance) else 1.0,
        0.5,
        "outputs are no longer finite; lower the learning rate or check the data",
    ),
}


class Monitor(Callback):
    """A callback of ``fit`` that watches the layers, and warns in words.

    Parameters
    ----------
    every : observe the first batch and then every so many. Between them nothing is seen: a unit counts as dead over
        an epoch where it is dead in all batches observed in it. The default adds 2 to 4 % to steps of 0.2 ms and
        more, and about a fifth to one of 15 us (take more there); 1 sees all.
    saturation : |slope| below which a unit counts as saturated
    limits : from which value on to warn, of "dead" and "saturated" (shares of a layer's units over an epoch, 0.25) and
        "step" (change of the weights by one step as a share of them, 0.1)
    warn : whether to issue a ``TrainingWarning``, once for each layer and kind of trouble

    ``epochs`` has for every epoch with an observed batch its number and the layers' statistics, ``warnings`` the texts;
    ``report()`` is the last epoch as a table with both. Raises TypeError or ValueError for wrong arguments.
    """

    def __init__(
        self,
        every: int = 25,
        *,
        saturation: float = SATURATION,
        limits: dict[str, float] | None = None,
        warn: bool = True,
    ) -> None:
        """Check the arguments."""
        self.every = checks.whole("Monitor", "every", every, 1)
        self.saturation = checks.real("Monitor", "saturation", saturation)
        self.limits = {kind: trouble.limit for kind, trouble in _TROUBLES.items()}
        for kind, limit in (limits or {}).items():
            checks.choice("Monitor", "limits", kind, tuple(self.limits))
            self.limits[kind] = checks.real("Monitor", f"limits[{kind!r}]", limit)
        self.warn = bool(warn)
        self.epochs: list[tuple[int, list[LayerStatistics]]] = []
        self.warnings: list[str] = []
        self._told: set[tuple[int, str]] = set()
        self._observer: Observer | None = None
        self._steps = 0
        self._seen = 0
        self._others: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Lay out the counters for this network."""
        self._observer = Observer(run.net, self.saturation)
        self._steps = self._seen = 0

    def on_epoch_begin(self, run: Run) -> None:
        """Start an epoch's statistics."""
        assert self._observer is not None
        self._observer.clear()

    def on_batch_begin(self, run: Run) -> None:
        """Look at this batch if its turn has come."""
        if self._steps % self.every == 0:
            self._others, run.net.observer = run.net.observer, self._observer
        self._steps += 1

    def on_batch_end(self, run: Run) -> None:
        """Read gradients and step of a batch that was looked at."""
        if run.net.observer is self._observer and self._observer is not None:
            run.net.observer = self._others
            self._observer.collect()
            self._seen += 1

    def on_epoch_end(self, run: Run) -> None:
        """Keep the epoch's statistics and judge them."""
        assert self._observer is not None
        if self._observer.batches:
            layers = self._observer.layers
            self.epochs.append((run.epoch, layers))
            self._judge(layers)

    def on_train_end(self, run: Run) -> None:
        """Leave the network as it was."""
        if run.net.observer is self._observer:
            run.net.observer = self._others

    def _judge(self, layers: list[LayerStatistics]) -> None:
        for statistics in layers:
            for kind, trouble in _TROUBLES.items():
                share = trouble.measure(statistics)
                if share is None or not share > self.limits[kind] or (statistics.layer, kind) in self._told:
                    continue
                self._told.add((statistics.layer, kind))
                text = f"layer {statistics.layer}: {trouble.text.format(share=share)}".replace("%", " %", 1)
                self.warnings.append(text)
                if self.warn:
                    warnings.warn(text, TrainingWarning, stacklevel=3)

    def report(self) -> str:
        """The last observed epoch as a table, how much of the training was seen, and what was found wrong."""
        if not self.epochs:
            return "nothing observed yet"
        epoch, layers = self.epochs[-1]
        seen = f"epoch {epoch}; observed {self._seen} of {self._steps} batches, one in {self.every}"
        return "\n".join([seen, table(layers), *self.warnings])


# ------------------------------------------------------------------------------------------------ gradient check

#: Step of the centred differences relative to max(1, |parameter|): near the cube root of float64's eps, where their
#: truncation (h^2) and the loss's rounding (eps / h) weigh alike.
STEP = 6e-6
#: Relative errors as CS231n judges them (notes on gradient checks, cs231n.github.io/neural-networks-3): 1e-7 and less
#: is good; 1e-4 is usually bad for smooth functions and may pass where there are kinks; above 1e-2 is wrong.
GOOD, BAD, WRONG = 1e-7, 1e-4, 1e-2
EPSILON, TINY = sys.float_info.epsilon, sys.float_info.min


@dataclass(frozen=True)
class ParameterCheck:
    """The worst relative error in one array and where it is, how many elements were compared and how many skipped."""

    name: str
    error: float
    index: tuple[int, ...] | None
    gradient: float  # the network's, there
    difference: float  # the loss's centred difference, there
    checked: int
    skipped: int  # at kinks


@dataclass(frozen=True)
class GradientCheck:
    """What ``check_gradients`` found: one ``ParameterCheck`` for "input" and for each parameter that is not frozen."""

    parameters: dict[str, ParameterCheck]
    tolerance: float
    loss: float = field(default=math.nan)

    @property
    def worst(self) -> float:
        """The largest relative error; NaN if a gradient or the loss is not finite."""
        errors = [check.error for check in self.parameters.values()]
        return math.nan if any(math.isnan(error) for error in errors) else max(errors, default=0.0)

    @property
    def checked(self) -> int:
        """Elements compared."""
        return sum(check.checked for check in self.parameters.values())

    @property
    def skipped(self) -> int:
        """Elements left out because the loss has a kink within the step."""
        return sum(check.skipped for check in self.parameters.values())

    @property
    def ok(self) -> bool:
        """Whether something was compared and all of it agrees within the tolerance."""
        return self.checked > 0 and self.worst <= self.tolerance

    @property
    def verdict(self) -> str:
        """The worst error in words."""
        if not self.checked:
            return "nothing compared"
        if not self.worst <= WRONG:
            return "wrong"
        if self.worst > BAD:
            return "probably wrong"
        return "good" if self.worst <= GOOD else "right, if something in the network is badly scaled or deep"

    def __str__(self) -> str:
        """One line an array."""
        lines = []
        for check in self.parameters.values():
            line = f"{check.name:20}{check.error:10.1e}  {check.checked} compared, {check.skipped} at kinks"
            if check.index is not None:
                line += f"; worst at {check.index}: {check.gradient:.8g}, by differences {check.difference:.8g}"
            lines.append(line)
        return "\n".join([*lines, f"{'worst':20}{self.worst:10.1e}  {self.verdict}"])


def check_gradients(
    net: Sequential,
    loss: str | Callable[[np.ndarray, np.ndarray], Any],
    x: Any,
    y: Any,
    *,
    samples: int | None = 100,
    tolerance: float = 1e-5,
    rng: Any = 0,
) -> GradientCheck:
    """Compare the gradients of a network with centred differences of its loss, in a float64 copy.

    Parameters
    ----------
    net : the network; it is not touched. Frozen parameters are left out. Batches are seen as in training: BatchNorm by
        the batch's statistics, Dropout with one mask for all evaluations.
    loss : name of a function of ``fastact.losses``, or a function of (outputs, y) that returns (loss, gradient)
    x, y : a batch, converted to float64 (class numbers stay whole numbers); a few rows are enough
    samples : how many elements of each array to compare, chosen by ``rng``; None for all
    tolerance : largest relative error for ``ok``, relative to the larger of the two numbers. Numbers so small that the
        rounding of the loss itself would show as more than 1e-7 are measured against that size instead.

    Returns a ``GradientCheck`` and raises nothing for wrong gradients. At a kink (relu's corner, a change of maxout's
    winner) the two one-sided differences disagree however small the step: where they disagree by as much as the error,
    the step is made smaller, and if that does not help the element is skipped and counted.

    Raises TypeError or ValueError for wrong arguments.
    """
    name = "check_gradients"
    if not isinstance(net, Sequential):
        raise TypeError(f"{name}: expected net to be a Sequential, got {checks.describe(net)}")
    if isinstance(loss, str):
        known = [known for known in losses.__all__ if known != "LossAndGradient"]
        criterion = getattr(losses, checks.choice(name, "loss", loss, tuple(known)))
    elif callable(loss):
        criterion = loss
    else:
        raise TypeError(f"{name}: expected loss to be a name or a function, got {checks.describe(loss)}")
    if samples is not None:
        samples = checks.whole(name, "samples", samples, 1)
    tolerance = checks.real(name, "tolerance", tolerance)
    generator = np.random.default_rng(rng)
    twin = _in_float64(net)
    data = np.array(x, np.float64)
    target = np.asarray(y)
    if target.dtype.kind == "f":
        target = target.astype(np.float64)
    state = net.random_state()

    def value() -> float:
        twin.set_random_state(state)
        return float(criterion(twin.forward(data, training=True), target)[0])

    twin.set_random_state(state)
    base, grad = criterion(twin.forward(data, training=True), target)
    base = float(base)
    below = twin.backward(np.asarray(grad, np.float64), need_input_grad=True)
    assert below is not None
    arrays = {"input": (data, below.copy())}
    for segment in twin.segments:
        if not segment.frozen:
            part = slice(segment.start, segment.stop)
            arrays[segment.name] = (
                twin.parameters[part].reshape(segment.shape),
                twin.gradients[part].reshape(segment.shape).copy(),
            )
    found = {}
    for key, (array, gradient) in arrays.items():
        chosen = np.arange(array.size)
        if samples is not None and samples < array.size:
            chosen = np.sort(generator.choice(array.size, samples, replace=False))
        found[key] = _check_array(key, array, gradient, chosen, value, base, tolerance)
    return GradientCheck(found, tolerance, base)


def _in_float64(net: Sequential) -> Sequential:
    """A float64 network with net's layers, numbers and frozen parameters."""
    twin = Sequential(*copy.deepcopy(net.layers), dtype="float64")
    twin.set_parameters({key: array.astype(np.float64) for key, array in net.named_parameters().items()})
    twin.set_buffers({key: array.astype(np.float64) for key, array in net.named_buffers().items()})
    frozen = [segment.name for segment in net.segments if segment.frozen]
    if frozen:
        twin.freeze(*frozen)
    return twin


def _check_array(
    name: str,
    array: np.ndarray,
    gradient: np.ndarray,
    chosen: np.ndarray,
    value: Callable[[], float],
    base: float,
    tolerance: float,
) -> ParameterCheck:
    """Compare the chosen elements of one array, which is perturbed in place and restored."""
    flat, analytic = array.reshape(-1), gradient.reshape(-1)
    worst, place, numbers, skipped = 0.0, None, (math.nan, math.nan), 0
    for k in chosen.tolist():
        error, difference, kink = _check_element(flat, k, float(analytic[k]), value, base, tolerance)
        if kink:
            skipped += 1
        elif place is None or error > worst or math.isnan(error):
            worst, place, numbers = error, k, (float(analytic[k]), difference)
            if math.isnan(error):
                break
    index = None if place is None else tuple(int(i) for i in np.unravel_index(place, array.shape))
    return ParameterCheck(name, worst, index, *numbers, checked=len(chosen) - skipped, skipped=skipped)


def _check_element(
    flat: np.ndarray, k: int, analytic: float, value: Callable[[], float], base: float, tolerance: float
) -> tuple[float, float, bool]:
    """(relative error, centred difference, whether a kink explains the error) of one element."""
    centre = float(flat[k])
    for shrink in (1.0, 0.1):
        h = STEP * shrink * max(1.0, abs(centre))
        flat[k] = centre + h
        up, right = float(flat[k]), value()
        flat[k] = centre - h
        down, left = float(flat[k]), value()
        flat[k] = centre
        difference = (right - left) / (up - down)
        # the rounding of the loss, a few units in its last place, as seen through the division by the step
        noise = 4 * EPSILON * max(abs(right), abs(left), abs(base)) / h
        error = abs(analytic - difference) / max(abs(analytic), abs(difference), noise / GOOD, TINY)
        if math.isnan(error) or error <= tolerance:
            return error, difference, False
        # Across a kink the centred difference lies between the one-sided ones, and so does the gradient. Where the
        # loss is smooth they differ by h f'' alone, which is far less than any error worth the name.
        bend = abs((right - base) / (up - centre) - (base - left) / (centre - down))
        if abs(analytic - difference) > 0.75 * bend + noise:
            return error, difference, False
    return error, difference, True
