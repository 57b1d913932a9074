"""The training loop: fit, evaluate, predict."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from .. import checks
from ..data import conversion as _convert
from ..layers import BatchNorm
from ..layers.chain import flattened
from ..memory import aligned_empty
from ..network import Sequential
from ..optim import SGD, Optimizer
from .callbacks import Callback, Checkpoint, EarlyStopping, History, Run, overridden
from .checkpoints import Resumed, callback_states, settings_of, state_of
from .objectives import Metric, Objective, measure
from .progress import Interrupts, Progress

__all__ = ["evaluate", "fit", "predict"]

BATCH = 1024  # rows at a time in predict and evaluate


def predict(net: Sequential, x: Any, batch_size: int = BATCH) -> np.ndarray:
    """The network's raw outputs for x (anything that converts to rows of numbers), computed in batches."""
    _network("predict", net)
    size = checks.whole("predict", "batch_size", batch_size, 1)
    return _predict(net, _convert.features("predict", net, x), size)


def _predict(net: Sequential, data: np.ndarray, size: int) -> np.ndarray:
    result = np.empty((len(data), net.outputs), net.dtype)
    for start in range(0, len(data), size):
        result[start : start + size] = net(data[start : start + size])
    return result


def evaluate(
    net: Sequential,
    x: Any,
    y: Any,
    loss: Any = "softmax_cross_entropy",
    metrics: Any = None,
    *,
    sample_weight: Any = None,
    batch_size: int = BATCH,
) -> dict[str, float]:
    """The loss and the metrics of the network on x, y, by name: {"loss": ..., "accuracy": ...}.

    ``loss`` and ``metrics`` as for ``fit``; ``sample_weight`` (numbers >= 0, one a row) weighs the loss alone.
    """
    _network("evaluate", net)
    size = checks.whole("evaluate", "batch_size", batch_size, 1)
    objective = Objective("evaluate", loss)
    measured = objective.metrics("evaluate", metrics)
    data = _convert.features("evaluate", net, x)
    targets = objective.targets("evaluate", net, y, len(data))
    weights = objective.weights("evaluate", sample_weight, len(data))
    return _evaluate(net, objective, measured, data, targets, weights, size)


def _evaluate(
    net: Sequential,
    objective: Objective,
    metrics: Mapping[str, Metric],
    data: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    size: int = BATCH,
) -> dict[str, float]:
    outputs = _predict(net, data, size)
    value, _ = objective(outputs, targets, np.empty_like(outputs), weights)
    return {"loss": float(value), **measure("evaluate", metrics, outputs, targets)}


def fit(
    net: Sequential,
    x: Any,
    y: Any,
    *,
    loss: Any = "softmax_cross_entropy",
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    validation: Any = None,
    metrics: Any = None,
    sample_weight: Any = None,
    shuffle: bool = True,
    callbacks: Iterable[Callback] = (),
    patience: int | None = None,
    checkpoint: Any = None,
    resume: Any = None,
    rng: Any = None,
    progress: bool = True,
) -> History:
    """Train net on x, y in shuffled mini-batches.

    Parameters
    ----------
    x : data of shape (rows, inputs). Lists, NumPy arrays, pandas frames and CPU torch tensors are converted once to
        the network's dtype.
    y : what the loss compares with: class numbers of shape (rows,) or rows of probabilities (of sum 1) for
        softmax_cross_entropy;
        else targets of shape (rows, outputs), or (rows,) for one output
    loss : a name ("softmax_cross_entropy", "bce_with_logits", "squared_error", "absolute_error", "huber", "quantile");
        such a function with options, ``functools.partial(fa.huber, delta=0.5)``; or a function of your own:
        (outputs, targets) -> (mean loss, its gradient with respect to outputs), which is passed ``out=`` for the
        gradient and ``sample_weight=`` where it takes them. A whole-number y reaches it as int64.
    optimizer : ``fastact.optim.SGD(lr=0.01, momentum=0.9)`` unless given
    epochs, batch_size : whole numbers >= 1; a last short batch is used too
    validation : (x, y) to evaluate after each epoch; or a fraction between 0 and 1: that part of the rows, drawn by
        rng, is held out of the training
    metrics : "accuracy", "r2", functions (outputs, targets) -> number, a list of these or {name: function}; measured
        after each epoch on the validation data ("validation_accuracy" in the history), or without any, where metrics
        are asked for, on the training data ("accuracy"). The default is what suits the loss, with validation data.
    sample_weight : numbers >= 0, one a row, for the training loss
    shuffle : whether to draw a new order of the rows in each epoch
    callbacks : ``Callback`` objects
    patience : short for ``callbacks=[EarlyStopping(patience)]``, on the validation loss where there is one
    checkpoint : short for ``callbacks=[Checkpoint(path)]``
    resume : path of a checkpoint to go on from: with the same net, data and arguments, and ``epochs`` counted from the
        very beginning, the result is bit-identical to that of an uninterrupted run
    rng : seed or numpy Generator for shuffling and splitting
    progress : a progress bar on standard error, or where that is no terminal one line an epoch; False: silent

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError : bad data or options, before anything is trained
    ValueError : the loss, or a parameter after an epoch, is NaN or infinite; the message names epoch and layer. A step
        that starts from such a loss is not made.
    KeyboardInterrupt : after Ctrl-C. The step that runs is finished first, and then the callbacks' ``on_train_end``, so
        that network and optimiser are as after a whole number of steps; training can go on from there. The exception's
        ``history`` is the history so far, ``interrupted``. A second Ctrl-C stops at once.
    """
    _network("fit", net)
    objective = Objective("fit", loss)
    epochs = checks.whole("fit", "epochs", epochs, 1)
    batch_size = checks.whole("fit", "batch_size", batch_size, 1)
    if optimizer is None:
        optimizer = SGD(lr=0.01, momentum=0.9)
    elif not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit: expected optimizer to be an Optimizer, got {checks.describe(optimizer)}")
    generator = checks.generator("fit", rng)
    measured = objective.metrics("fit", metrics)

    data = _convert.features("fit", net, x)
    if not len(data):
        raise ValueError("fit: expected at least one row of data, got none")
    targets = objective.targets("fit", net, y, len(data))
    weights = objective.weights("fit", sample_weight, len(data))
    hooks = _callbacks(callbacks, patience, checkpoint, validated=validation is not None)
    saved = None if resume is None else Resumed(resume, generator)
    start = state_of(generator)
    held_out = None
    if isinstance(validation, numbers.Real):
        chosen, rest = _split(float(validation), len(data), generator)
        held_out = data[chosen], targets[chosen]
        data, targets, weights = data[rest], targets[rest], None if weights is None else weights[rest]
    elif validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise TypeError(f"fit: expected validation to be (x, y) or a fraction, got {checks.describe(validation)}")
        valid = _convert.features("fit (validation)", net, validation[0])
        if not len(valid):
            raise ValueError("fit: expected at least one row of validation data, got none")
        held_out = valid, objective.targets("fit (validation)", net, validation[1], len(valid))

    mass = objective.mass("fit", net, targets, weights)
    if held_out is not None:
        objective.mass("fit (validation)", net, held_out[1], None)
    size = min(batch_size, len(data))
    if 1 in (size, len(data) % size) and any(
        isinstance(one, BatchNorm) for layer in net.layers for one in flattened(layer)
    ):
        raise ValueError(
            f"fit: expected batches of two rows at least for BatchNorm, got a batch of one ({len(data)} rows by "
            f"{size}); choose another batch_size"
        )
    run = Run(net, optimizer, epochs, -(-len(data) // size))
    facts = {"rows": len(data), "batch_size": batch_size, "shuffle": bool(shuffle), "loss": objective.name}
    before = settings_of(optimizer)
    if saved is not None:
        saved.restore(run, facts, hooks)

    def state() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        changed = {name: value for name, value in settings_of(optimizer).items() if value != before[name]}
        callbacks, arrays = callback_states(hooks)
        content = {
            "epoch": run.epoch, "facts": facts, "history": run.history.to_dict(), "settings": changed,
            "rng_start": start, "rng": state_of(generator), "callbacks": callbacks,
        }  # fmt: skip
        return content, arrays

    run.checkpoint = state
    batches = _Batches(net.outputs, data, targets, weights, mass, size, generator if shuffle else None)
    if metrics is None and held_out is None:
        measured = {}

    def after_epoch() -> dict[str, float]:
        if held_out is not None:
            return {f"validation_{k}": v for k, v in _evaluate(net, objective, measured, *held_out).items()}
        if not measured:
            return {}
        outputs = _predict(net, data, BATCH)
        return measure("fit", measured, outputs, targets)

    try:
        with Progress(run, progress) as bar, Interrupts() as interrupts:
            begun: list[Callback] = []
            try:
                for hook in hooks:
                    begun.append(hook)
                    hook.on_train_begin(run)
                if saved is not None:
                    saved.restore_callbacks()
                _train(run, objective, batches, hooks, after_epoch, bar, interrupts)
            except KeyboardInterrupt:
                run.history.interrupted = True
                raise
            finally:
                run.checkpoint = None
                run.history.steps = run.step
                with ExitStack() as ends:  # calls each, whatever the others raise, and the last one pushed first
                    for hook in reversed(begun):
                        ends.callback(hook.on_train_end, run)
    except KeyboardInterrupt as stop:  # also one that was held back to the very end
        run.history.interrupted = True
        stop.history = run.history  # type: ignore[attr-defined]
        raise
    return run.history


def _train(
    run: Run,
    objective: Objective,
    batches: _Batches,
    hooks: tuple[Callback, ...],
    after_epoch: Callable[[], dict[str, float]],
    bar: Progress,
    interrupts: Interrupts,
) -> None:
    net, history, logs = run.net, run.history, run.logs
    forward, backward, step, loss = net.forward, net.backward, run.optimizer.step, objective.step()
    epoch_begin, epoch_end = overridden(hooks, "on_epoch_begin"), overridden(hooks, "on_epoch_end")
    batch_begin, batch_end = overridden(hooks, "on_batch_begin"), overridden(hooks, "on_batch_end")
    clock, isfinite, summed = time.perf_counter, math.isfinite, objective.summed
    while run.epoch < run.epochs and not run.stopping:
        run.epoch += 1
        logs.clear()
        for call in epoch_begin:
            call(run)
        if run.stopping:
            run.epoch -= 1
            break
        total = counted = 0.0
        began = clock()
        with np.errstate(all="ignore"):  # what is not finite is told below
            for x, y, out, weight, share in batches.epoch():
                for call in batch_begin:
                    call(run)
                outputs = forward(x, True)
                if weight is None:
                    value, grad = loss(outputs, y, out=out)
                else:
                    value, grad = loss(outputs, y, out=out, sample_weight=weight)
                if not isfinite(value):
                    if share == 0:  # the mean of nothing
                        continue
                    raise _not_finite(run, f"the loss became {float(value)}", x)
                backward(grad)
                step(net)
                run.step += 1
                total += value if summed else value * share
                counted += share
                if batch_end:
                    logs["loss"] = float(value)
                    for call in batch_end:
                        call(run)
                if interrupts.pending:
                    interrupts.deliver()
                if clock() >= bar.due:
                    bar.show(total / (counted or 1))
        seconds = clock() - began
        history.seconds += seconds
        history.steps = run.step
        for flat in (net.parameters, net.buffers):
            with np.errstate(all="ignore"):
                suspect = not isfinite(np.add.reduce(flat))  # a sum may overflow too, so look again
            if suspect and not np.isfinite(flat).all():
                raise _not_finite(run, "a parameter became NaN or infinite", None)

        logs.clear()
        logs["loss"] = total if summed else total / counted
        with np.errstate(all="ignore"), interrupts.allowed():
            logs.update(after_epoch())
        if not isfinite(logs.get("validation_loss", 0.0)):
            raise _not_finite(run, f"the validation loss became {logs['validation_loss']}", None)
        logs["rate"] = run.rate(-1)
        history.append(logs)
        for call in epoch_end:
            call(run)
            interrupts.deliver()
        bar.epoch(seconds)
        interrupts.deliver()


# ------------------------------------------------------------------------------------------------ parts of fit


def _network(function: str, net: Any) -> None:
    if not isinstance(net, Sequential):
        raise TypeError(f"{function}: expected net to be a Sequential, got {checks.describe(net)}")


def _callbacks(given: Any, patience: int | None, checkpoint: Any, validated: bool) -> tuple[Callback, ...]:
    if not isinstance(given, (Callback, Iterable)):
        raise TypeError(f"fit: expected callbacks to be Callback objects, got {checks.describe(given)}")
    hooks = [given] if isinstance(given, Callback) else list(given)
    if patience is not None:
        hooks.append(EarlyStopping(patience, "validation_loss" if validated else "loss"))
    if checkpoint is not None:
        hooks.append(Checkpoint(checkpoint))
    for hook in hooks:
        if not isinstance(hook, Callback):
            raise TypeError(f"fit: expected callbacks to be Callback objects, got {checks.describe(hook)}")
    return tuple(sorted(hooks, key=lambda hook: isinstance(hook, Checkpoint)))  # they save what the others know


def _split(fraction: float, rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    count = round(fraction * rows) if 0 < fraction < 1 else 0
    if not 0 < count < rows:
        raise ValueError(
            f"fit: expected validation to be (x, y) or a fraction that leaves rows on both sides, got {fraction} of "
            f"{rows} rows"
        )
    order = generator.permutation(rows)
    return np.sort(order[:count]), np.sort(order[count:])


class _Batches:
    """Mini-batches, each gathered once into the same memory; without shuffling they are views of the data."""

    def __init__(
        self,
        outputs: int,
        data: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        mass: np.ndarray | None,
        size: int,
        generator: np.random.Generator | None,
    ) -> None:
        """Take the memory: for batches of so many rows, and for a last short one."""
        self.data, self.targets, self.weights, self.mass = data, targets, weights, mass
        self.size, self.generator = size, generator
        sizes = {size, len(data) % size} - {0}
        self.gradients = {n: aligned_empty((n, outputs), data.dtype) for n in sizes}
        if generator is not None:
            self.identity = np.arange(len(data))
            self.order = self.identity.copy()
            sources = data, targets, weights, mass
            self.buffers: dict[int, list[Any]] = {n: [self._buffer(n, a) for a in sources] for n in sizes}

    @staticmethod
    def _buffer(rows: int, array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else aligned_empty((rows, *array.shape[1:]), array.dtype)

    def epoch(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, float]]:
        """Each batch: x, y, room for the gradient, sample weights, and what it counts in the epoch's mean."""
        size, gradients = self.size, self.gradients
        if self.generator is None:
            for start in range(0, len(self.data), size):
                part = slice(start, start + size)
                x = self.data[part]
                yield (
                    x,
                    self.targets[part],
                    gradients[len(x)],
                    None if self.weights is None else self.weights[part],
                    len(x) if self.mass is None else float(self.mass[part].sum()),
                )
            return
        np.copyto(self.order, self.identity)
        self.generator.shuffle(self.order)
        order, buffers = self.order, self.buffers
        take_x, take_y = self.data.take, self.targets.take
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows = len(chosen)
            x, y, weight, mass = buffers[rows]
            take_x(chosen, 0, x, "clip")  # "clip" writes straight into x; "raise" would go through a copy
            take_y(chosen, 0, y, "clip")
            share: float = rows
            if self.weights is not None:
                self.weights.take(chosen, 0, weight, "clip")
            if self.mass is not None:
                share = float(self.mass.take(chosen, 0, mass, "clip").sum())
            yield x, y, gradients[rows], weight, share


def _not_finite(run: Run, what: str, x: np.ndarray | None) -> ValueError:
    """The error that tells where NaN or infinity first stands: in a parameter, else in a layer's output for x."""
    named = {**run.net.named_parameters(), **run.net.named_buffers()}
    found = [name for name, array in named.items() if not np.isfinite(array).all()]
    where, step = "", run.step
    if x is not None:  # of the step that is not made
        step += 1
    if found:
        number = min(int(name.partition(".")[0]) for name in found)
        own = " and ".join(name for name in found if name.startswith(f"{number}."))
        where = f": NaN or infinity in {own} of {_layer(run.net, number)}"
    elif x is not None:
        sizes = _output_sizes(run.net, x)
        spoilt = [i for i, size in enumerate(sizes) if not math.isfinite(size)]
        largest = int(np.argmax(sizes))
        where = f": parameters and outputs are finite, the largest output is {max(sizes):.3g} of "
        where += _layer(run.net, largest)
        if spoilt:
            where = f": NaN or infinity in the output of {_layer(run.net, spoilt[0])}"
    return ValueError(
        f"fit: {what} in epoch {run.epoch} (step {step}){where}; lower the learning rate, clip the gradient "
        "(clip_norm=1.0), or check data and targets"
    )


def _layer(net: Sequential, number: int) -> str:
    return f"layer {number} ({type(net.layers[number]).__name__})"


def _output_sizes(net: Sequential, x: np.ndarray) -> list[float]:
    """The largest magnitude of each layer's outputs for x, NaN where there is one."""
    sizes = []
    with np.errstate(all="ignore"):
        for layer in net.layers:
            x = layer.forward(x)
            sizes.append(float(np.abs(x).max()))
    return sizes
