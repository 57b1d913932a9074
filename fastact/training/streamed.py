"""Data of a source, which need not fit into memory, as training, ``evaluate`` and ``predict`` take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from ..data import conversion
from ..data.sources import Piece, Source
from ..data.streaming import Convert, Converted, StreamBatches, converted, pieces_of, window_rows
from ..network import Sequential
from .metrics import Metric, running
from .objectives import Objective

BATCH_SIZE = 32  # where none is asked for


def converter(function: str, net: Sequential, objective: Objective | None) -> Convert:
    """What makes of a block what the network and the loss take; without an objective, of its features alone."""

    def convert(x: Any, y: Any, weight: Any) -> Converted:
        features = conversion.features(function, net, x)
        if objective is None:
            return features, None, None, None
        if y is None:
            raise ValueError(
                f"{function}: expected targets beside the features, got none; name their column (label=...), or give "
                "batches (x, y)"
            )
        rows = len(features)
        if isinstance(y, np.ndarray) and y.dtype.kind in "US":
            raise TypeError(
                f"{function}: expected class numbers, got names as {y.reshape(-1).tolist()[0]!r}; pass "
                "classes=[...] to the source (its labels() finds them), or train a fastact.sklearn.MLPClassifier"
            )
        targets = objective.targets(function, net, y, rows)
        weights = objective.sample_weight(function, weight, rows, part=True)
        return features, targets, weights, objective.row_weights(function, net, targets, weights, part=True)

    return convert


class Streamed:
    """Rows of a source, with their targets where there is an objective.

    pieces : of the source; None: all
    """

    def __init__(
        self,
        function: str,
        net: Sequential,
        objective: Objective | None,
        source: Source,
        window: Any,
        pieces: Sequence[Piece] | None = None,
    ) -> None:
        self.function, self.objective, self.source = function, objective, source
        self.window = window_rows(function, window, net.dtype.itemsize * net.inputs)
        self.convert = converter(function, net, objective)
        self.pieces = pieces_of(source, self.window) if pieces is None else pieces

    def part(self, net: Sequential, pieces: Sequence[Piece]) -> Streamed:
        """Those pieces alone."""
        return Streamed(self.function, net, self.objective, self.source, self.window, pieces)

    def batches(self, size: int | None, generator: np.random.Generator | None = None) -> StreamBatches:
        """Batches of that many rows; None: as the source has them."""
        return StreamBatches(
            self.function, self.source, self.convert, size, self.window, generator,
            pieces=self.pieces, labelled=self.objective is not None,
        )  # fmt: skip

    def size(self, batch_size: int | None) -> int | None:
        """The rows of a step."""
        return BATCH_SIZE if batch_size is None and not self.source.batched else batch_size

    def in_memory(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
        """All of the data, converted, where they are no more than a window; None: they are more, or made anew."""
        rows = [piece.rows for piece in self.pieces]
        if self.source.batched or sum(r or 0 for r in rows) > self.window:
            return None
        parts: list[Converted] = []
        room = self.window
        for piece in self.pieces:
            for part in converted(piece, self.convert, True):
                parts.append(part)
                room -= len(part[0])
                if room < 0:
                    return None
        if not parts:
            raise ValueError(f"{self.function}: expected at least one row of data, got none")
        x, y, weight = (_joined([part[i] for part in parts]) for i in range(3))
        assert x is not None
        assert y is not None
        return x, y, weight

    def held_out(self, net: Sequential, fraction: float, generator: np.random.Generator) -> tuple[Streamed, Streamed]:
        """What is trained on and what is validated on: whole pieces, drawn by the generator."""
        rows = [piece.rows or 0 for piece in self.pieces]
        if any(piece.rows is None for piece in self.pieces) or len(rows) < 2 or not 0 < fraction < 1:
            raise ValueError(
                f"{self.function}: expected validation to be (x, y) or another source, got {fraction} of a source with "
                f"{len(rows)} piece(s)" + (" of unknown length" if None in [p.rows for p in self.pieces] else "")
            )
        order, wanted, chosen = generator.permutation(len(rows)).tolist(), fraction * sum(rows), set[int]()
        for number in order[:-1]:
            chosen.add(number)
            wanted -= rows[number]
            if wanted <= 0:
                break
        parts = [[p for i, p in enumerate(self.pieces) if (i in chosen) == held] for held in (False, True)]
        return self.part(net, parts[0]), self.part(net, parts[1])

    def features(self) -> Iterator[np.ndarray]:
        """The features in blocks, in their order."""
        alone = StreamBatches(
            self.function, self.source, lambda x, y, weight: (*self.convert(x, y, weight)[:1], None, None, None),
            None, self.window, pieces=self.pieces, labelled=self.objective is not None,
        )  # fmt: skip
        with closing(alone.epoch()) as batches:
            for x, _, _, _ in batches:
                yield x

    def facts(self) -> dict[str, Any]:
        """What a training that resumes must have in common with this one."""
        return {"window": self.window, "source": self.source.fingerprint()}

    def evaluate(self, net: Sequential, metrics: Mapping[str, Metric], size: int) -> dict[str, float]:
        """Loss and metrics over all rows."""
        assert self.objective is not None
        total = counted = 0.0
        measures = running(self.function, metrics)
        with closing(self.batches(size).epoch()) as batches:
            for x, y, sample_weight, weight in batches:
                outputs = net(x)
                for measure in measures.values():
                    measure.add(outputs, y)
                if weight:
                    value, _ = self.objective(outputs, y, np.empty_like(outputs), sample_weight)
                    total += value if self.objective.summed else value * weight
                    counted += weight
        loss = total if self.objective.summed else total / counted
        return {"loss": loss, **{name: measure.value() for name, measure in measures.items()}}

    def predictions(self, net: Sequential, size: int) -> Iterator[np.ndarray]:
        """Outputs, batch after batch."""
        with closing(self.batches(size).epoch()) as batches:
            for x, _, _, _ in batches:
                yield net(x)


def collected(function: str, blocks: Iterator[np.ndarray], rows: int | None, net: Sequential, out: Any = None) -> Any:
    """Blocks of outputs one after the other, in out where that is given."""
    if out is None:
        if rows is None:
            return np.concatenate(list(blocks))
        out = np.empty((rows, net.outputs), net.dtype)
    shape = (out.shape[0] if rows is None else rows, net.outputs)
    if tuple(out.shape) != shape:
        raise ValueError(f"{function}: expected out of shape {shape}, got {tuple(out.shape)}")
    done = 0
    for block in blocks:
        if done + len(block) > out.shape[0]:
            raise ValueError(f"{function}: expected out to have room for all rows, got {out.shape[0]} rows")
        out[done : done + len(block)] = block
        done += len(block)
    if done != out.shape[0]:
        raise ValueError(f"{function}: expected out to have as many rows as there are, {done}, got {out.shape[0]}")
    return out


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if found else None
