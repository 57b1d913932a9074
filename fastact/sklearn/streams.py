"""Data of a source, which need not fit into memory, as the estimators train on them and predict for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from ..data.sources import Source, found
from ..data.streaming import Converted, StreamBatches, converted, pieces_of, window_rows
from ..layers.normalization import standardization

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
