"""Data of a source, which need not fit into memory, as the estimators train on them and predict for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..data.conversion import finite
from ..data.sources import Source, found
from ..data.streaming import WINDOW, Converted, StreamBatches, converted, pieces_of, window_rows
from ..layers.normalization import standardization
from ..training import History, Run
from ..training.objectives import Objective
from ..training.step import Step

FLOATS = (np.float32, np.float64)  # the first is what other types become
NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
UNLABELLED = "expected targets beside the features, got none; name their column (label=...), or give batches (X, y)"


def source_of(function: str, X: Any, y: Any = None, sample_weight: Any = None) -> Source | None:
    """The source that X is; None for data in memory, among which memory maps are.

    joblib hands large arrays to its workers as memory maps, and what is fitted must not depend on that.
    """
    if isinstance(X, np.ndarray) or hasattr(X, "tocsr") or hasattr(X, "iloc"):
        return None
    return found(function, X, y, sample_weight, again=function == "fit", labelled=function != "predict")


def whole(source: Source, window: Any) -> tuple[Any, Any, Any] | None:
    """All of it as arrays, as the user has them, where it is no more than a window; None: more, or made anew."""
    blocks, rows = [], 0
    if source.batched:
        return None
    for block in source.blocks():
        blocks.append(block)
        rows += len(block[0])
        if max(rows, source.rows or 0) > window_rows("fit", window, 4 * np.shape(block[0])[-1]):
            return None
    parts = zip(*blocks, strict=True)
    x, y, weight = (None if part[0] is None else np.concatenate([np.asarray(p) for p in part]) for part in parts)
    return x, y, weight


def first_block(source: Source) -> tuple[Any, Any, Any]:
    """The first rows."""
    for x, y, weight in source.blocks(256):
        if y is None:
            raise ValueError(UNLABELLED)
        if len(x):
            return x, y, weight
    raise ValueError("expected at least one row of data, got none")


def targets(source: Source) -> Iterator[np.ndarray]:
    """The targets, block by block."""
    for _, y, _ in source.blocks():
        if y is None:
            raise ValueError(UNLABELLED)
        yield np.asarray(y)


def labels(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels, sorted, and how many rows have each."""
    counts: dict[Any, int] = {}
    kind: Any = None
    for y in targets(source):
        kind = y.dtype if kind is None else np.promote_types(kind, y.dtype)
        for label, count in zip(*np.unique(y, return_counts=True), strict=True):
            counts[label.item()] = counts.get(label.item(), 0) + int(count)
    found = np.array(list(counts), kind)
    order = np.argsort(found)
    return found[order], np.array(list(counts.values()))[order]


def moments(source: Source, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the targets, 1 where they are constant."""
    return standardization((y.reshape(len(y), -1).astype(np.float64) for y in targets(source)), columns)


def batches(
    source: Source,
    columns: int,
    itemsize: int,
    convert: Callable[[Any, Any, Any], Converted],
    size: int | None,
    window: Any,
    random_state: np.random.RandomState | None,
) -> StreamBatches:
    """Batches of that many rows, or as the source has them."""
    generator = None if random_state is None or size is None else np.random.default_rng(random_state.randint(2**31))
    rows = window_rows("fit", window, columns * itemsize)
    return StreamBatches("fit", source, convert, size, rows, generator)


def collected(
    source: Source, convert: Callable[[Any, Any, Any], Converted], compute: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray | None]:
    """What compute makes of all rows, and their targets where convert gives some."""
    outputs, found = [], []
    for piece in pieces_of(source, 1 << 18):
        with closing(converted(piece, convert, True)) as blocks:
            for x, y, _, _ in blocks:
                outputs.append(compute(x))
                if y is not None:
                    found.append(y)
    if not outputs:
        raise ValueError("expected at least one row of data, got none")
    return np.concatenate(outputs), np.concatenate(found) if found else None


class FromSources:
    """What an estimator does with a source."""

    def _fit_source(self: Any, source: Source, validation: Any, window: Any) -> Any:
        if self.solver == "lbfgs" and self.optimizer is None:
            raise ValueError("solver='lbfgs' needs all data in memory; use 'adam' or 'sgd'")
        if self.early_stopping and validation is None:
            raise ValueError("early_stopping=True needs validation=(X, y) where the data are not in memory")
        first = not (self.warm_start and "net_" in self.__dict__)
        random_state, made = self._start_source(source, first, window)
        with self._threads():
            self._fit_epochs(made, None, None, validation, random_state)
        if not finite(self.net_.parameters):
            raise ValueError(NON_FINITE)
        return self

    def _start_source(
        self: Any, source: Source, first: bool, window: Any, incremental: bool = False
    ) -> tuple[np.random.RandomState, StreamBatches]:
        """What ``_start`` does, for data that are not in memory; and their batches."""
        self.__dict__.pop("_step", None)
        random_state = check_random_state(self.random_state)
        if first:
            x, y, _ = first_block(source)
            given = np.dtype(self.dtype) if self.dtype is not None else np.asarray(x).dtype
            x = validate_data(self, x, dtype=given if given in FLOATS else FLOATS[0], reset=True)
            if not incremental:
                self._survey(source, np.asarray(y))
            else:
                self._check_targets(np.asarray(y), True, True)
            for name in ("net_",) if incremental else ("net_", "_given"):
                self.__dict__.pop(name, None)
            self._begin(self._make_network(x.shape[1], x.dtype, random_state))
        size = int(self.batch_size) if self.batch_size != "auto" else None if source.batched else 200
        net = self.net_
        return random_state, batches(
            source, net.inputs, net.dtype.itemsize, self._convert, size, window,
            random_state if self.shuffle else None,
        )  # fmt: skip

    def _convert(self: Any, x: Any, y: Any, weight: Any) -> Converted:
        """A block of a source as the network and the loss take it."""
        if y is None:
            raise ValueError(UNLABELLED)
        features = self._convert_features(x)
        targets = self._plain_targets(self._check_targets(np.asarray(y), True, False))
        if weight is not None:
            weight = _check_sample_weight(weight, features, dtype=np.float64, ensure_non_negative=True)
        weights = self._row_weights(targets, weight, True)
        return features, targets, weights, weights

    def _convert_features(self: Any, x: Any) -> np.ndarray:
        with np.errstate(over="ignore"):
            checked = validate_data(self, x, dtype=self.net_.dtype, order="C", reset=False)
        return np.require(checked, requirements=["C", "A"])

    def _partial_fit_source(self: Any, source: Source) -> Any:
        """Go once through a source."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._validate_params()
        _, made = self._start_source(source, "net_" not in self.__dict__, WINDOW, True)
        self._prepare_optimizer()
        run = Run(self.net_, self._optimizer, 1, made.steps)
        step = Step(run, Objective("partial_fit", self._loss()), self._penalty(), False)
        self.__dict__.setdefault("history_", History())
        total = counted = 0.0
        with self._threads(), np.errstate(all="ignore"), closing(made.epoch()) as batches:
            for batch in batches:
                if batch[3]:
                    total, counted = total + step.make(*batch) * batch[3], counted + batch[3]
        self.n_iter_ = 0
        self.history_.loss.append(total / (counted or 1))
        self._after_epoch({"loss": total / (counted or 1)}, made.passed)
        if not finite(self.net_.parameters):
            raise ValueError(NON_FINITE)
        return self

    def _features_alone(self: Any, x: Any, y: Any, weight: Any) -> Converted:
        return self._convert_features(x), None, None, None
