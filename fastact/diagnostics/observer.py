"""Statistics of the training passes of a network, around any loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import checks
from ..layers import Layer
from ..network import Sequential
from .statistics import SATURATION, LayerCounts, LayerStatistics, table


class Observer:
    """Collects statistics of every training pass of a network while it is ``net.observer``.

    ``layers`` are the statistics so far, one ``LayerStatistics`` a layer, and ``batches`` how many passes they are
    from; ``clear()`` starts anew. The weights' gradients and the step are read when the next pass begins, when
    ``layers`` is read, or by ``collect()``: after the optimiser's step and before anything changes the gradients.
    ``dead_units(i)`` and ``saturated_units(i)`` name the units of layer i.
    """

    def __init__(self, net: Sequential, saturation: float = SATURATION) -> None:
        if not isinstance(net, Sequential):
            raise TypeError(f"Observer: expected net to be a Sequential, got {checks.describe(net)}")
        saturation = checks.real("Observer", "saturation", saturation)
        frozen = set(net.frozen)
        self._counts = [
            LayerCounts(i, layer, net.dtype, saturation, lambda name: name not in frozen)
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
            self._counts[i].forward(y)

    def backward(self, i: int, layer: Layer, grad: np.ndarray) -> None:
        """See the gradient of a layer's output."""
        if i == len(self._counts) - 1:
            for counts in self._counts:
                counts.remember_weights()
            self._pending = True
        self._counts[i].backward(grad)

    def collect(self) -> None:
        """Read the gradients and the step that belong to the last backward, once."""
        if self._pending:
            self._pending = False
            for counts in self._counts:
                counts.measure_weights()

    def clear(self) -> None:
        """Forget everything seen."""
        self._pending, self.batches = False, 0
        for counts in self._counts:
            counts.clear()

    @property
    def layers(self) -> list[LayerStatistics]:
        """Statistics of each layer over the batches seen."""
        self.collect()
        return [counts.statistics() for counts in self._counts]

    def dead_units(self, i: int) -> list[int]:
        """Numbers of layer i's units whose slope was 0 for every sample seen."""
        counts = self._counts[i]
        return np.flatnonzero(~counts.alive).tolist() if counts.sloped else []

    def saturated_units(self, i: int) -> list[int]:
        """Numbers of layer i's units that are not dead and whose |slope| was below the threshold throughout."""
        counts = self._counts[i]
        return np.flatnonzero(counts.alive & ~counts.active).tolist() if counts.sloped else []

    def report(self) -> str:
        """A table of what was seen."""
        return table(self.layers)


class Observers:
    """Several observers of one network."""

    def __init__(self, each: tuple[Any, ...]) -> None:
        self.each = each

    def forward(self, *seen: Any) -> None:
        """See a layer's training forward."""
        for observer in self.each:
            observer.forward(*seen)

    def backward(self, *seen: Any) -> None:
        """See the gradient of a layer's output."""
        for observer in self.each:
            observer.backward(*seen)


def attach(net: Sequential, observer: Any) -> None:
    """Have the observer see the passes of the network, beside those that do already."""
    _set(net, (*_attached(net), observer))


def detach(net: Sequential, observer: Any) -> None:
    """Undo ``attach``, whatever came in between."""
    _set(net, tuple(one for one in _attached(net) if one is not observer))


def _attached(net: Sequential) -> tuple[Any, ...]:
    if isinstance(net.observer, Observers):
        return net.observer.each
    return () if net.observer is None else (net.observer,)


def _set(net: Sequential, observers: tuple[Any, ...]) -> None:
    net.observer = Observers(observers) if len(observers) > 1 else next(iter(observers), None)


@contextmanager
def observe(net: Sequential, saturation: float = SATURATION) -> Iterator[Observer]:
    """``with observe(net) as stats:`` every training pass inside is observed; then read ``stats.layers``.

    ``saturation`` is the |slope| below which a unit counts as saturated. Raises TypeError or ValueError for a wrong
    argument.
    """
    observer = Observer(net, saturation)
    attach(net, observer)
    try:
        yield observer
    finally:
        detach(net, observer)
        observer.collect()
