"""What is said, once in a fit, where data or a network make training stop before it has begun."""

from __future__ import annotations

import numpy as np

from .. import backends, checks
from ..data.batches import Rows
from ..layers import BatchNorm, Dense, Standardize
from ..network import Sequential
from ..wording import TrainingWarning, warn

ROWS = 1024  # that are looked at, from all over the data
RATIO = 100.0  # of the largest column to the smallest, from which on they are said to differ
LARGE = 10.0  # where no column is above this, small ones are only weak, as rare pixels are
FLAT = 0.01  # a slope below which a unit is taken to be saturated
MOST = 0.98  # of the first layer's units, over all rows


class RawData:
    """Looks at a sample of the data before the first epoch, and at what the network makes of it after that one.

    x : the data; None: where they are not at hand, ``first`` is told of the first rows
    """

    def __init__(self, net: Sequential, x: Rows | None) -> None:
        self.net, self.sample = net, np.empty((0, net.inputs)) if x is None else x[:: max(1, len(x) // ROWS)]
        self.said = isinstance(net.layers[0], (Standardize, BatchNorm))

    def first(self, x: np.ndarray) -> None:
        """Look at the first rows, which may be overwritten afterwards."""
        self.sample = x[:ROWS].copy()
        self.before()

    def before(self) -> None:
        """Warn where columns differ in scale."""
        if self.said or not len(self.sample) or backends.current().largest(checks.plain(self.sample)) <= LARGE:
            return
        sizes = np.maximum(self.sample.max(axis=0), -self.sample.min(axis=0))
        sizes = sizes[sizes > 0]
        if sizes.size and sizes.max() > max(LARGE, RATIO * sizes.min()):
            self._say(
                f"the columns of x differ in scale, from {sizes.min():.3g} to {sizes.max():.3g}, and the largest drown "
                "the others; pass standardize=True"
            )

    def after(self) -> None:
        """Warn where the first layer's units, or the outputs, no longer depend on x."""
        if self.said or not len(self.sample) or not np.ptp(self.sample, axis=0).any():
            return
        with np.errstate(all="ignore"):
            outputs = self.net.outputs_of(self.sample)
            flat, last = self._flat(outputs[0]), outputs[-1]
            same = (np.ptp(last, axis=0) <= 1e-6 * np.abs(last).max(axis=0)).all()
        remedy = "; lower the learning rate, or pass standardize=True"
        if same:
            self._say(f"after the first epoch the outputs are the same for every row of x{remedy}")
        elif flat > MOST:
            self._say(f"after the first epoch {flat:.0%} of what layer 0 does is saturated or dead{remedy}")

    def _flat(self, y: np.ndarray) -> float:
        """How much of the first layer's outputs has no slope to speak of, where outputs say so."""
        layer = self.net.layers[0]
        if not isinstance(layer, Dense) or layer.saves != "y":
            return 0.0
        slopes = layer.activation.slope(y)
        return 0.0 if slopes is None else float(np.mean(np.abs(slopes) < FLAT))

    def _say(self, text: str) -> None:
        self.said = True
        warn(f"fit: {text}", TrainingWarning)
