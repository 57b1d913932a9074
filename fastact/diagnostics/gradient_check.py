"""A network's gradients against differences of its loss."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks, losses
from ..network import Sequential

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
    criterion = _criterion(loss)
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

    def evaluate() -> tuple[float, Any]:
        twin.set_random_state(state)
        value, grad = criterion(twin.forward(data, training=True), target)
        return float(value), grad

    base, grad = evaluate()
    dx = twin.backward(np.asarray(grad, np.float64), need_input_grad=True)
    assert dx is not None
    arrays = {"input": (data, dx.copy())}
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
        found[key] = _check_array(key, array, gradient, chosen, lambda: evaluate()[0], base, tolerance)
    return GradientCheck(found, tolerance, base)


def _criterion(loss: str | Callable[[np.ndarray, np.ndarray], Any]) -> Callable[[np.ndarray, np.ndarray], Any]:
    """The function that returns loss and gradient."""
    if callable(loss):
        return loss
    if not isinstance(loss, str):
        raise TypeError(f"check_gradients: expected loss to be a name or a function, got {checks.describe(loss)}")
    known = tuple(name for name in losses.__all__ if name != "LossAndGradient")
    return vars(losses)[checks.choice("check_gradients", "loss", loss, known)]


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
    name: str, array: np.ndarray, gradient: np.ndarray, chosen: np.ndarray, value: Callable[[], float], base: float,
    tolerance: float,
) -> ParameterCheck:  # fmt: skip
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
        # loss is smooth they differ by h f'' alone, far less than the errors looked for.
        bend = abs((right - base) / (up - centre) - (base - left) / (centre - down))
        if abs(analytic - difference) > 0.75 * bend + noise:
            return error, difference, False
    return error, difference, True
