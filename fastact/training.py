"""The training loop: fit, evaluate, predict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _checks, losses
from .layers import Sequential
from .optim import SGD, Optimizer

__all__ = ["History", "evaluate", "fit", "predict"]

LOSSES: dict[str, Callable[..., losses.LossAndGradient]] = {"softmax_cross_entropy": losses.softmax_cross_entropy}


@dataclass
class History:
    """What happened, epoch by epoch. ``seconds`` is the time inside training steps alone."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Epochs finished."""
        return len(self.loss)


def _features(function: str, net: Sequential, x: Any) -> np.ndarray:
    """People's data as a finite (rows, inputs) array of the network's dtype: converted once, here."""
    try:
        array = np.asarray(x)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{function}: expected numbers, got an array of {array.dtype}")
        array = np.ascontiguousarray(array, dtype=net.dtype)
    except ValueError as error:
        raise ValueError(f"{function}: expected rows of {net.inputs} numbers ({error})") from error
    if array.ndim != 2 or array.shape[1] != net.inputs:
        raise ValueError(f"{function}: expected data of shape (rows, {net.inputs}), got {array.shape}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{function}: the data hold NaN or infinity at row {row}, column {column}; clean them first")
    return array


def _targets(function: str, net: Sequential, y: Any, rows: int) -> np.ndarray:
    """Labels (int64) or rows of probabilities in the network's dtype."""
    array = np.asarray(y)
    if array.dtype.kind == "f":
        array = np.ascontiguousarray(array, dtype=net.dtype)
        if array.shape != (rows, net.outputs):
            raise ValueError(
                f"{function}: expected whole class numbers of shape ({rows},), or probabilities of shape "
                f"({rows}, {net.outputs}), got {array.dtype} {array.shape}"
            )
        return array
    return _checks.labels(function, array, rows, net.outputs)


def predict(net: Sequential, x: Any, batch_size: int = 1024) -> np.ndarray:
    """The network's raw outputs for x (anything that converts to rows of numbers), computed in batches."""
    size = _checks.whole("predict", "batch_size", batch_size, 1)
    data = _features("predict", net, x)
    result = np.empty((len(data), net.outputs), net.dtype)
    for start in range(0, len(data), size):
        result[start : start + size] = net(data[start : start + size])
    return result


def evaluate(net: Sequential, x: Any, y: Any, loss: str = "softmax_cross_entropy") -> dict[str, float]:
    """Mean loss and accuracy of the network on x, y: {"loss": ..., "accuracy": ...}."""
    _checks.choice("evaluate", "loss", loss, tuple(LOSSES))
    data = _features("evaluate", net, x)
    targets = _targets("evaluate", net, y, len(data))
    outputs = predict(net, data)
    value, _ = LOSSES[loss](outputs, targets)
    truth = targets if targets.ndim == 1 else targets.argmax(axis=1)
    return {"loss": value, "accuracy": float((outputs.argmax(axis=1) == truth).mean()) if len(data) else math.nan}


def fit(
    net: Sequential,
    x: Any,
    y: Any,
    *,
    loss: str = "softmax_cross_entropy",
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    validation: tuple[Any, Any] | None = None,
    rng: Any = None,
    progress: bool = True,
) -> History:
    """Train net on x, y in shuffled mini-batches.

    Parameters
    ----------
    x, y : data of shape (rows, inputs); class numbers, or rows of probabilities. Converted once to the network's dtype.
    loss : "softmax_cross_entropy"
    optimizer : ``fastact.optim.SGD(lr=0.01, momentum=0.9)`` unless given
    epochs, batch_size : whole numbers >= 1; a last short batch is used too
    validation : (x, y) to evaluate after each epoch
    rng : seed or numpy Generator for the shuffling
    progress : whether to show a progress bar on standard error

    Returns a ``History``. Raises TypeError or ValueError for bad data or options before anything is trained, and
    ValueError naming the epoch when the loss is no longer finite.
    """
    from tqdm.auto import tqdm

    if not isinstance(net, Sequential):
        raise TypeError(f"fit: expected net to be a Sequential, got {_checks.describe(net)}")
    _checks.choice("fit", "loss", loss, tuple(LOSSES))
    loss_function = LOSSES[loss]
    epochs = _checks.whole("fit", "epochs", epochs, 1)
    batch_size = _checks.whole("fit", "batch_size", batch_size, 1)
    data = _features("fit", net, x)
    rows = len(data)
    if not rows:
        raise ValueError("fit: expected at least one row of data, got none")
    targets = _targets("fit", net, y, rows)
    if validation is not None:
        valid_x = _features("fit (validation)", net, validation[0])
        valid_y = _targets("fit (validation)", net, validation[1], len(valid_x))
    optimizer = SGD(lr=0.01, momentum=0.9) if optimizer is None else optimizer
    generator = np.random.default_rng(rng)

    size = min(batch_size, rows)
    batch_x = np.empty((size, net.inputs), net.dtype)
    batch_y = np.empty((size, *targets.shape[1:]), targets.dtype)
    grad = np.empty((size, net.outputs), net.dtype)
    history = History()
    steps_per_epoch = -(-rows // size)
    with tqdm(total=epochs * steps_per_epoch, unit="step", disable=not progress, leave=True) as bar:
        for epoch in range(epochs):
            order = generator.permutation(rows)
            total, began = 0.0, time.perf_counter()
            for start in range(0, rows, size):
                chosen = order[start : start + size]
                n = len(chosen)
                # mode="clip" writes straight into out; "raise" would go through a copy
                np.take(data, chosen, axis=0, out=batch_x[:n], mode="clip")
                np.take(targets, chosen, axis=0, out=batch_y[:n], mode="clip")
                outputs = net.forward(batch_x[:n], training=True)
                value, _ = loss_function(outputs, batch_y[:n], out=grad[:n])
                net.backward(grad[:n])
                optimizer.step(net)
                total += value * n
                bar.update()
            history.seconds += time.perf_counter() - began
            history.steps += steps_per_epoch
            history.loss.append(total / rows)
            if not math.isfinite(total):
                raise ValueError(
                    f"fit: the loss became {total / rows} in epoch {epoch + 1}; "
                    "lower the learning rate or check the data"
                )
            shown = {"epoch": epoch + 1, "loss": f"{history.loss[-1]:.4f}"}
            if validation is not None:
                result = evaluate(net, valid_x, valid_y, loss)
                history.validation_loss.append(result["loss"])
                history.validation_accuracy.append(result["accuracy"])
                shown["accuracy"] = f"{result['accuracy']:.4f}"
            bar.set_postfix(shown)
    return history
