"""A network's gradients against differences of its loss."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..data import conversion
from ..network import Sequential
from ..training.objectives import Objective

#: Step of the centred differences relative to max(1, |parameter|): near the cube root of float64's eps, where their
#: truncation (h^2) and the loss's rounding (eps / h) weigh alike.
STEP = 6e-6
#: How far, relative to the same, the points lie to which an element is moved away from where several kinks meet.
AWAY = 1e-3
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
    loss: float = math.nan

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

    def __repr__(self) -> str:
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
    loss : as for ``fit``: a name, or a function of (outputs, y) that returns (loss, gradient)
    x, y : a batch, converted to float64 as ``fit`` converts it; a few rows are enough. A y that ``fit`` would refuse
        reaches a function of your own as it is.
    samples : how many elements of each array to compare, chosen by ``rng``; None for all
    tolerance : largest relative error for ``ok``, relative to the larger of the two numbers. Numbers so small that the
        rounding of the loss itself would show as more than 1e-7 are measured against that size instead.

    Returns a ``GradientCheck`` and raises nothing for wrong gradients. At a kink (relu's corner, a change of maxout's
    winner) the two one-sided differences disagree however small the step: where they disagree by as much as the error,
    the step is made smaller, and if that does not help the element is skipped and counted. So it is where several kinks
    meet, whose differences may cancel: where the gradient jumps from one side of the point to the other, and is right
    at points beside it.

    Raises TypeError or ValueError for wrong arguments.
    """
    name = "check_gradients"
    if not isinstance(net, Sequential):
        raise TypeError(f"{name}: expected net to be a Sequential, got {checks.describe(net)}")
    objective = Objective(name, loss)
    if samples is not None:
        samples = checks.whole(name, "samples", samples, 1)
    tolerance = checks.real(name, "tolerance", tolerance)
    generator = checks.generator(name, rng)
    subject = _Subject(net, objective, x, y, tolerance, generator)
    found = {}
    for key, array in subject.arrays.items():
        chosen = np.arange(array.size)
        if samples is not None and samples < array.size:
            chosen = np.sort(generator.choice(array.size, samples, replace=False))
        found[key] = _check_array(subject, key, chosen)
    return GradientCheck(found, tolerance, subject.here.loss)


@dataclass(frozen=True)
class _Point:
    """Values of data and parameters: the offsets that lead there, and the loss and its gradients there."""

    offsets: tuple[np.ndarray, ...]
    loss: float
    gradients: dict[str, np.ndarray]


class _Subject:
    """A network's float64 twin with a batch and a loss, and the points at which they are looked at."""

    def __init__(
        self, net: Sequential, objective: Objective, x: Any, y: Any, tolerance: float, generator: np.random.Generator
    ) -> None:
        name = "check_gradients"
        self.twin, self.objective, self.tolerance, self.generator = _in_float64(net), objective, tolerance, generator
        self.data = np.array(conversion.features(name, self.twin, x))
        try:
            self.target = objective.targets(name, self.twin, y, len(self.data))
        except (TypeError, ValueError):
            if not objective.custom:
                raise
            self.target = y
        self.state = net.random_state()
        parameters = self.twin.named_parameters()
        self.arrays = {
            "input": self.data,
            **{s.name: parameters[s.name] for s in self.twin.segments if not s.frozen},
        }
        self.here = self._point(())
        self._near: list[_Point] = []
        self._beside: list[_Point] = []

    @property
    def _flats(self) -> tuple[np.ndarray, np.ndarray]:
        return self.data.reshape(-1), self.twin.parameters

    def _forward(self) -> tuple[float, Any]:
        self.twin.set_random_state(self.state)
        outputs = self.twin.forward(self.data, training=True)
        value, grad = self.objective(outputs, self.target, np.empty_like(outputs))
        return float(value), grad

    def loss(self) -> float:
        """The loss of data and parameters as they are now."""
        return self._forward()[0]

    @contextmanager
    def moved(self, offsets: tuple[np.ndarray, ...]) -> Iterator[None]:
        """Data and parameters moved by the offsets, where there are any."""
        before = tuple(flat.copy() for flat in self._flats)
        for flat, offset in zip(self._flats, offsets, strict=False):
            np.add(flat, offset, out=flat)
        try:
            yield
        finally:
            for flat, values in zip(self._flats, before, strict=True):
                flat[...] = values

    def _point(self, offsets: tuple[np.ndarray, ...]) -> _Point:
        with self.moved(offsets):
            value, grad = self._forward()
            dx = self.twin.backward(np.asarray(grad, np.float64), need_input_grad=True)
        gradients = {**self.twin.named_gradients(), "input": dx}
        return _Point(offsets, value, {name: np.array(gradients[name]) for name in self.arrays})

    def _around(self, size: float, pairs: int) -> list[_Point]:
        """Points at random in all directions, and those opposite to them, each number moved by about that much."""
        points = []
        for _ in range(pairs):
            offsets = tuple(
                size * np.maximum(1, np.abs(flat)) * self.generator.standard_normal(flat.shape) for flat in self._flats
            )
            points += [self._point(offsets), self._point(tuple(-offset for offset in offsets))]
        return points

    def kinks_meet(self, name: str, k: int, wrong_by: float) -> bool:
        """Whether kinks that meet here explain an error of element k of an array.

        The gradient jumps between points on all sides (where it is smooth it moves by the step times the curvature),
        and at points beside, where no kink is in the way, it is right.
        """
        self._near = self._near or self._around(STEP, 3)
        values = [float(point.gradients[name].reshape(-1)[k]) for point in self._near]
        if not max(values) - min(values) > 1e-3 * wrong_by:
            return False
        self._beside = self._beside or self._around(AWAY, 2)
        for point in self._beside:
            with self.moved(point.offsets):
                error, _, kink = _check_element(self, point, name, k)
            if not kink:
                return error <= self.tolerance
        return True


def _in_float64(net: Sequential) -> Sequential:
    """A float64 network with net's layers, numbers and frozen parameters."""
    twin = Sequential(*copy.deepcopy(net.layers), dtype="float64")
    twin.set_parameters({key: array.astype(np.float64) for key, array in net.named_parameters().items()})
    twin.set_buffers({key: array.astype(np.float64) for key, array in net.named_buffers().items()})
    if net.frozen:
        twin.freeze(*net.frozen)
    return twin


def _check_array(subject: _Subject, name: str, chosen: np.ndarray) -> ParameterCheck:
    """Compare the chosen elements of one array, which is perturbed in place and restored."""
    array, analytic = subject.arrays[name], subject.here.gradients[name].reshape(-1)
    worst, place, numbers, skipped = 0.0, None, (math.nan, math.nan), 0
    for k in chosen.tolist():
        error, difference, kink = _check_element(subject, subject.here, name, k)
        if not kink and error > subject.tolerance:
            kink = subject.kinks_meet(name, k, abs(float(analytic[k]) - difference))
        if kink:
            skipped += 1
        elif place is None or error > worst or math.isnan(error):
            worst, place, numbers = error, k, (float(analytic[k]), difference)
            if math.isnan(error):
                break
    index = None if place is None else tuple(int(i) for i in np.unravel_index(place, array.shape))
    return ParameterCheck(name, worst, index, *numbers, checked=len(chosen) - skipped, skipped=skipped)


def _check_element(subject: _Subject, point: _Point, name: str, k: int) -> tuple[float, float, bool]:
    """(relative error, centred difference, whether a kink explains the error) of one element, at the point."""
    flat, base, tolerance = subject.arrays[name].reshape(-1), point.loss, subject.tolerance
    centre, analytic, value = float(flat[k]), float(point.gradients[name].reshape(-1)[k]), subject.loss
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
        # loss is smooth they differ by h f'' alone, far less than the errors looked for.
        bend = abs((right - base) / (up - centre) - (base - left) / (centre - down))
        if abs(analytic - difference) > 0.75 * bend + noise:
            return error, difference, False
    return error, difference, True
