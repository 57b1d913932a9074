"""One step of a training, and what is said where its numbers are no longer finite."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from ..data.conversion import finite
from ..network import Sequential
from .callbacks import Run
from .objectives import Objective
from .penalties import Penalty


class Step:
    """A training step: forward, loss, backward, reduce, update; each phase is an attribute that is called.

    ``reduce`` (None: nothing to do) is given the weight of the batch when ``net.gradients`` are those of its loss, and
    is where they become those of several processes. ``penalty`` (None: none) then adds its own gradient.
    With ``accumulate`` the gradients of that many batches are added up for a step, which is that of all their rows.
    """

    def __init__(
        self,
        run: Run,
        objective: Objective,
        penalty: Penalty | None = None,
        check_finite: bool = True,
        accumulate: int = 1,
    ) -> None:
        net = run.net
        self.run, self.net = run, net
        self.forward, self.backward, self.update = net.forward, net.backward, run.optimizer.step
        self.reduce: Callable[[float], object] | None = None
        self.loss: Callable[..., Any] = objective.step
        self.penalty, self.check_finite = penalty, check_finite
        self.gradients = net.output_gradients
        self.accumulate, self.summed = accumulate, objective.summed
        self.added, self.weight = 0, 0.0  # batches whose gradients wait for a step, and their weight

    def make(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None, batch_weight: float) -> float:
        """Make the step, or a part of it, and return the loss of the batch, penalty included.

        Where the loss is not finite no step is made, and ValueError raised, unless ``check_finite`` is off. A batch of
        weight 0 has no loss.
        """
        outputs = self.forward(x, True)
        value: float
        if sample_weight is None:
            value, grad = self.loss(outputs, y, out=self.gradients.rows(len(x)))
        else:
            value, grad = self.loss(outputs, y, out=self.gradients.rows(len(x)), sample_weight=sample_weight)
        if self.check_finite and not isfinite(value):
            raise not_finite(self.run, f"the loss became {float(value)}", x)
        if self.accumulate == 1:
            self.backward(grad)
            return value + self._finish(batch_weight)
        if not self.summed:
            grad = np.multiply(grad, batch_weight, out=self.gradients.rows(len(x)))
        self.backward(grad, accumulate=self.added > 0)
        self.added += 1
        self.weight += batch_weight
        return value if self.added < self.accumulate else value + self.rest() / (1 if self.summed else batch_weight)

    def rest(self) -> float:
        """Make the step of the batches that wait for one; what the penalty adds to the sum of their losses."""
        if not self.added:
            return 0.0
        weight, self.added, self.weight = self.weight, 0, 0.0
        if self.summed:
            return self._finish(weight)
        self.net.gradients /= weight
        return self._finish(weight) * weight

    def _finish(self, weight: float) -> float:
        """The step of the gradients that are there; what the penalty adds to the loss."""
        added = 0.0
        if self.reduce is not None:
            self.reduce(weight)
        if self.penalty is not None:
            added = self.penalty(self.net, weight)
        self.update(self.net)
        self.run.step += 1
        return added


def check_parameters(run: Run) -> None:
    """ValueError where a parameter, or a number of the buffers, is NaN or infinite."""
    for flat in (run.net.parameters, run.net.buffers):
        if not finite(flat):
            raise not_finite(run, "a parameter became NaN or infinite")


def not_finite(run: Run, what: str, x: np.ndarray | None = None) -> ValueError:
    """The error that names where NaN or infinity first stands: in a parameter, else in a layer's output for x.

    x is the batch of a step that is not made; without it, the last step is meant.
    """
    named = {**run.net.named_parameters(), **run.net.named_buffers()}
    spoilt = [name for name, array in named.items() if not np.isfinite(array).all()]
    where, step = "", run.step if x is None else run.step + 1
    if spoilt:
        number = min(int(name.partition(".")[0]) for name in spoilt)
        names = " and ".join(name for name in spoilt if name.startswith(f"{number}."))
        where = f": NaN or infinity in {names} of {_layer(run.net, number)}"
    elif x is not None:
        sizes = _output_sizes(run.net, x)
        first = next((i for i, size in enumerate(sizes) if not isfinite(size)), None)
        if first is not None:
            where = f": NaN or infinity in the output of {_layer(run.net, first)}"
        else:
            where = f": parameters and outputs are finite, the largest output is {max(sizes):.3g} of "
            where += _layer(run.net, int(np.argmax(sizes)))
    return ValueError(
        f"fit: {what} in epoch {run.epoch} (step {step}){where}; lower the learning rate, clip the gradient "
        "(clip_norm=1.0), or check data and targets"
    )


def _layer(net: Sequential, number: int) -> str:
    return f"layer {number} ({type(net.layers[number]).__name__})"


def _output_sizes(net: Sequential, x: np.ndarray) -> list[float]:
    """The largest magnitude of each layer's outputs for x, NaN where there is one."""
    sizes = []
    with np.errstate(all="ignore"):
        for layer in net.layers:
            x = layer.forward(x)
            sizes.append(float(np.abs(x).max()))
    return sizes
