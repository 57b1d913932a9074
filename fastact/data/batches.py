"""Where a training takes its batches from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, Protocol

import numpy as np

from ..memory import aligned_empty

#: x, y, the sample weights that the loss is given, and the weight of the batch in the epoch's mean loss.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None, float]


class Batches(Protocol):
    """The batches of a training, epoch after epoch. What they yield may be overwritten by the batch that follows."""

    rows: int  # an epoch
    steps: int  # batches an epoch
    sizes: Collection[int]  # all numbers of rows that a batch can have

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch."""


class ArrayBatches:
    """Batches of arrays in memory: shuffled ones are gathered into buffers that are reused, others are views.

    Parameters
    ----------
    x, y, sample_weight : one row, or number, a row of data; sample_weight may be None
    row_weights : what each row counts in the epoch's mean loss; None: all alike
    size : rows of a batch; the last one of an epoch may be shorter
    generator : draws a new order for each epoch; None: the data's own
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        row_weights: np.ndarray | None,
        size: int,
        generator: np.random.Generator | None,
    ) -> None:
        self.x, self.y, self.sample_weight, self.row_weights = x, y, sample_weight, row_weights
        self.rows, self.generator = len(x), generator
        self.size = min(size, self.rows)
        self.steps = -(-self.rows // self.size)
        self.sizes: Collection[int] = {self.size, self.rows % self.size} - {0}
        if generator is not None:
            self.identity = np.arange(self.rows)
            self.order = self.identity.copy()
            self.buffers: dict[int, list[Any]] = {
                rows: [_buffer(rows, array) for array in (x, y, sample_weight, row_weights)] for rows in self.sizes
            }

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch."""
        return self._in_order() if self.generator is None else self._shuffled(self.generator)

    def _in_order(self) -> Iterator[Batch]:
        for start in range(0, self.rows, self.size):
            part = slice(start, start + self.size)
            x = self.x[part]
            weight = len(x) if self.row_weights is None else float(self.row_weights[part].sum())
            yield x, self.y[part], None if self.sample_weight is None else self.sample_weight[part], weight

    def _shuffled(self, generator: np.random.Generator) -> Iterator[Batch]:
        order, size, buffers = self.order, self.size, self.buffers
        sample_weights, row_weights = self.sample_weight, self.row_weights
        np.copyto(order, self.identity)
        generator.shuffle(order)
        take_x, take_y = self.x.take, self.y.take
        whole = self.rows - self.rows % size
        for chosen in chain(order[:whole].reshape(-1, size), [order[whole:]] if whole < self.rows else []):
            rows = len(chosen)
            x, y, sample_weight, weights = buffers[rows]
            take_x(chosen, 0, x, "clip")  # "clip" writes straight into x; "raise" would go through a copy
            take_y(chosen, 0, y, "clip")
            if sample_weights is not None:
                sample_weights.take(chosen, 0, sample_weight, "clip")
            if row_weights is None:
                yield x, y, sample_weight, rows
            else:
                yield x, y, sample_weight, float(row_weights.take(chosen, 0, weights, "clip").sum())


def _buffer(rows: int, array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else aligned_empty((rows, *array.shape[1:]), array.dtype)
