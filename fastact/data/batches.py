"""Where a training takes its batches from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

import numpy as np

from ..memory import aligned_empty

#: x, y, the sample weights that the loss is given, and the weight of the batch in the epoch's mean loss.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None, float]


class Selected:
    """Some rows of an array, which stay where they are: a slice of them is gathered when it is asked for.

    Parameters
    ----------
    array : the array whose rows they are
    rows : their numbers
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows
        self.shape, self.dtype = (len(rows), *array.shape[1:]), array.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.array[self.rows[part]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("the rows lie apart: an array of them is a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)


#: Rows of data: an array, or some of an array's.
Rows = np.ndarray | Selected


class Batches(Protocol):
    """The batches of a training, epoch after epoch. What they yield may be overwritten by the batch that follows."""

    @property
    def rows(self) -> int | None:
        """Rows an epoch; None: not known."""

    @property
    def steps(self) -> int | None:
        """Batches an epoch; None: not known."""

    @property
    def sizes(self) -> Collection[int]:
        """All numbers of rows that a batch can have; none: not known."""

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch."""


class ArrayBatches:
    """Batches of arrays in memory: views, or, shuffled or of some rows, gathered into buffers that are reused.

    Parameters
    ----------
    x : rows of data, which may be some of an array's
    y, sample_weight : one row, or number, a row of data; sample_weight may be None
    row_weights : what each row counts in the epoch's mean loss; None: all alike
    size : rows of a batch; the last one of an epoch may be shorter
    generator : draws a new order for each epoch; None: the data's own
    """

    def __init__(
        self,
        x: Rows,
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
        self.gathered = generator is not None or isinstance(x, Selected)
        if self.gathered:
            self.identity = np.arange(self.rows)
            self.order = self.identity.copy()
            self.buffers: dict[int, list[Any]] = {
                rows: [_buffer(rows, array) for array in (x, y, sample_weight, row_weights)] for rows in self.sizes
            }

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch."""
        return self._gathered() if self.gathered else self._in_order()

    def _in_order(self) -> Iterator[Batch]:
        for start in range(0, self.rows, self.size):
            part = slice(start, start + self.size)
            x = self.x[part]
            weight = len(x) if self.row_weights is None else float(self.row_weights[part].sum())
            yield x, self.y[part], None if self.sample_weight is None else self.sample_weight[part], weight

    def _gathered(self) -> Iterator[Batch]:
        order, buffers = self.order, self.buffers
        sample_weights, row_weights = self.sample_weight, self.row_weights
        np.copyto(order, self.identity)
        if self.generator is not None:
            self.generator.shuffle(order)
        source, places = (self.x.array, self.x.rows[order]) if isinstance(self.x, Selected) else (self.x, order)
        take_x, take_y = source.take, self.y.take
        for chosen, place in zip(self._cut(order), self._cut(places), strict=True):
            rows = len(chosen)
            x, y, sample_weight, weights = buffers[rows]
            take_x(place, 0, x, "clip")  # "clip" writes straight into x; "raise" would go through a copy
            take_y(chosen, 0, y, "clip")
            if sample_weights is not None:
                sample_weights.take(chosen, 0, sample_weight, "clip")
            if row_weights is None:
                yield x, y, sample_weight, rows
            else:
                yield x, y, sample_weight, float(row_weights.take(chosen, 0, weights, "clip").sum())

    def _cut(self, order: np.ndarray) -> Iterable[np.ndarray]:
        """Order in pieces of a batch each."""
        whole = self.rows - self.rows % self.size
        return chain(order[:whole].reshape(-1, self.size), [order[whole:]] if whole < self.rows else [])


def _buffer(rows: int, array: Rows | None) -> np.ndarray | None:
    return None if array is None else aligned_empty((rows, *array.shape[1:]), array.dtype)
