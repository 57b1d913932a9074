"""Penalties: what is added to the loss for the parameters themselves."""

from __future__ import annotations

import math
from collections.abc import Callable

from .. import backends, checks
from ..network import Sequential

#: A function of the network, whose gradients are those of the batch's loss, and of the weight of the batch (its rows,
#: or the sum of their weights): adds its gradient to ``net.gradients`` and returns its value.
Penalty = Callable[[Sequential, float], float]


class L2:
    """strength / 2 * sum of w^2 / weight of the batch, over the weights (not biases and norms) that are not frozen.

    That is scikit-learn's ``alpha``: a strength for the whole data, of which each row bears its part. An optimiser's
    ``weight_decay`` is strength / weight of the batch, and does not show in the loss.
    """

    def __init__(self, strength: float) -> None:
        self.strength = checks.real("L2", "strength", strength)
        self._segments: object = None
        self._axpy = backends.engine.Update()  # SGD's step, p -= rate * g, with gradients for p and weights for g
        self._number = backends.engine.optimizer_names().index("sgd")

    def __repr__(self) -> str:
        return f"L2({self.strength:g})"

    def __call__(self, net: Sequential, weight: float) -> float:
        """Add the gradient to net's and return the value, for a batch of that weight."""
        if net.segments is not self._segments:
            self._segments, self._parts = net.segments, _weights(net)
        backend, factor, total = backends.current(), self.strength / weight, 0.0
        self._axpy.rate = -factor
        for start, stop in self._parts:
            total += backend.sum_of_squares(net.parameters, start, stop)
            backend.update(self._number, net.gradients, net.parameters, (None,), start, stop, 1.0, math.inf, self._axpy)
        return 0.5 * factor * total


def _weights(net: Sequential) -> list[tuple[int, int]]:
    """The stretches of the flat arrays that hold weights, neighbours joined."""
    stretches: list[tuple[int, int]] = []
    joined = False
    for segment in net.segments:
        chosen = segment.decayed and not segment.frozen
        if chosen:
            stretches.append((stretches.pop()[0] if joined else segment.start, segment.stop))
        joined = chosen
    return stretches


def described(penalty: Penalty | None) -> str | None:
    """What a checkpoint knows a penalty by: L2 with its strength, others by their names."""
    if penalty is None:
        return None
    return repr(penalty) if isinstance(penalty, L2) else getattr(penalty, "__name__", type(penalty).__name__)
