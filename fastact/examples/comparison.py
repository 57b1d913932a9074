"""The same small network trained on the bundled digits with one activation after another (``fastact compare``)."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import diagnostics, optim
from ..data.tables import load_digits, stratified_split
from ..diagnostics.statistics import aligned
from ..epilogues import Epilogue
from ..layers import Dense
from ..measure.by_hand import library_step
from ..network import Sequential

__all__ = ["ActivationResult", "compare_activations", "table"]

#: Which rows are for testing: the same for every activation, seed and run.
SPLIT_SEED = 1998


@dataclass(frozen=True)
class ActivationResult:
    """How one activation did. Lists have one entry a seed.

    ``dead`` and ``saturated`` are shares of the hidden units, judged after training over all training rows at once
    (see ``fastact.diagnostics``); ``small_slopes`` and ``zeros`` are shares of the hidden outputs: those whose slope is
    small yet not 0, and those that are exactly 0. ``epochs_to_threshold`` counts the epochs until the error on the
    training rows was at most the threshold (None: never). ``microseconds`` is the median over epochs of the time of a
    training step. ``training_error`` is a list of each epoch's error, for each seed.
    """

    activation: str
    test_accuracy: list[float]
    epochs_to_threshold: list[int | None]
    dead: float
    saturated: float
    small_slopes: float
    zeros: float
    microseconds: float
    training_error: list[list[float]]

    @property
    def accuracy_mean(self) -> float:
        """Mean test accuracy."""
        return statistics.fmean(self.test_accuracy)

    @property
    def accuracy_spread(self) -> float:
        """Standard deviation of the test accuracy over seeds; 0 for one seed."""
        return statistics.stdev(self.test_accuracy) if len(self.test_accuracy) > 1 else 0.0

    @property
    def epochs(self) -> float | None:
        """Median number of epochs to the threshold; None where half of the seeds never got there."""
        middle = statistics.median(math.inf if epochs is None else epochs for epochs in self.epochs_to_threshold)
        return middle if math.isfinite(middle) else None

    def as_dict(self) -> dict[str, Any]:
        """All of it by name, as JSON."""
        means = {"accuracy_mean": self.accuracy_mean, "accuracy_spread": self.accuracy_spread, "epochs": self.epochs}
        return {**asdict(self), **means}


def compare_activations(
    activations: Iterable[Epilogue],
    *,
    seeds: int = 5,
    epochs: int = 20,
    hidden: Sequence[int] = (128,),
    batch_size: int = 64,
    lr: float = 0.1,
    momentum: float = 0.9,
    threshold: float = 0.01,
    progress: Callable[[], Any] | None = None,
) -> list[ActivationResult]:
    """Train a dense network on four fifths of the digits with each activation and each seed 0, 1, ..., and test it.

    Softmax cross-entropy, SGD with momentum, float32. The rows held out, and for each seed the order of the batches,
    are the same for all activations; the initial weights follow the activation (``fastact.init``). ``threshold`` is the
    training error to reach. ``progress`` is called after every epoch. A training that diverges has the accuracy that it
    has.
    """
    pixels, digits = load_digits()
    x, y = (pixels / 16).astype(np.float32), digits.astype(np.int64)
    train, test = stratified_split(y, SPLIT_SEED)
    results = []
    for activation in activations:
        runs = []
        for seed in range(seeds):
            net = _network(activation, (64, *hidden, 10), seed)
            step = library_step(net, optim.SGD(lr=lr, momentum=momentum))
            errors, times = _train(net, step, x[train], y[train], seed, epochs, batch_size, progress)
            accuracy = float(np.mean(net(x[test]).argmax(axis=1) == y[test]))
            reached = next((i + 1 for i, error in enumerate(errors) if error <= threshold), None)
            runs.append((accuracy, reached, _shares(net, x[train]), times, errors))
        accuracies, reaches, shares, all_times, all_errors = (list(column) for column in zip(*runs, strict=True))
        dead, saturated, small_slopes, zeros = np.mean(shares, axis=0).tolist()
        microseconds = 1e6 * statistics.median(itertools.chain.from_iterable(all_times))
        results.append(
            ActivationResult(
                str(activation), accuracies, reaches, dead, saturated, small_slopes, zeros, microseconds, all_errors
            )
        )
    return results


def _network(activation: Epilogue, widths: Sequence[int], seed: int) -> Sequential:
    shapes = list(itertools.pairwise(widths))
    hidden = [Dense(*shape, activation=activation) for shape in shapes[:-1]]
    return Sequential(*hidden, Dense(*shapes[-1]), rng=seed)


def _train(
    net: Sequential, step: Callable[[np.ndarray, np.ndarray], Any], x: np.ndarray, y: np.ndarray, seed: int,
    epochs: int, batch_size: int, progress: Callable[[], Any] | None,
) -> tuple[list[float], list[float]]:  # fmt: skip
    """The error on all rows after each epoch, and the seconds of a step in it."""
    order = np.random.default_rng(seed)
    errors, times = [], []
    starts = range(0, len(x), batch_size)
    for _ in range(epochs):
        shuffled = order.permutation(len(x))
        epoch_x, epoch_y = x[shuffled], y[shuffled]
        with np.errstate(all="ignore"):  # where a training diverges its numbers say so
            began = time.perf_counter()
            for start in starts:
                step(epoch_x[start : start + batch_size], epoch_y[start : start + batch_size])
            times.append((time.perf_counter() - began) / len(starts))
            errors.append(float(np.mean(net(x).argmax(axis=1) != y)))
        if progress is not None:
            progress()
    return errors, times


def _shares(net: Sequential, x: np.ndarray) -> tuple[float, ...]:
    """(dead, saturated, small_slopes, zeros) of the hidden layers together, over all of x at once."""
    with diagnostics.observe(net) as stats:
        net.forward(x, training=True)
    hidden = stats.layers[:-1]
    units = sum(s.units for s in hidden)
    each = [(s.dead or 0.0, s.saturated or 0.0, s.small_slopes or 0.0, s.zeros) for s in hidden]
    return tuple(
        sum(share * s.units for share, s in zip(column, hidden, strict=True)) / units
        for column in zip(*each, strict=True)
    )


def table(results: Sequence[ActivationResult]) -> str:
    """The results, one line an activation."""
    heads = ("activation", "test accuracy", "epochs", "dead", "saturated", "small slopes", "zeros", "us/step")
    lines: list[tuple[str, ...]] = [heads]
    for r in results:
        accuracy = f"{100 * r.accuracy_mean:.2f} +- {100 * r.accuracy_spread:.2f} %"
        shares = [f"{100 * share:.1f} %" for share in (r.dead, r.saturated, r.small_slopes, r.zeros)]
        epochs = "-" if r.epochs is None else f"{r.epochs:g}"
        lines.append((r.activation, accuracy, epochs, *shares, f"{r.microseconds:.0f}"))
    return aligned(lines)
