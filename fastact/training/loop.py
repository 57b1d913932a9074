"""The training loop: fit, evaluate, predict."""

from __future__ import annotations

import copy
import functools
import math
import numbers
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import checks, wording
from ..data import conversion, sources
from ..data.batches import ArrayBatches, Batches, Rows, Selected
from ..data.splits import held_out
from ..data.streaming import WINDOW, StreamBatches
from ..layers import Standardize
from ..network import Sequential
from ..optim import Adam, Optimizer, named_optimizer
from .callbacks import Callback, Callbacks, Checkpoint, EarlyStopping, Run
from .checkpoints import Resumed, checksum, recorder, through_json
from .history import History
from .interrupts import Interrupts
from .metrics import Metric, measure
from .objectives import Objective
from .objectives import objective as objective_of
from .penalties import Penalty, described
from .progress import Progress
from .raw_data import RawData
from .step import Step, check_parameters, not_finite
from .streamed import BATCH_SIZE, Streamed, collected

BATCH = 1024  # rows at a time in predict and evaluate


@wording.explained
def predict(net: Sequential, x: Any, batch_size: int = BATCH, *, out: Any = None) -> np.ndarray:
    """The network's raw outputs for x, computed in batches.

    x : anything that converts to rows of numbers, or a source as for ``fit``, whose targets are not read
    out : where the outputs go, an array on disk (``np.lib.format.open_memmap``, a dataset) too; None: a new array

    Returns the array of shape (rows, outputs), which is out where that is given.
    """
    _check_network("predict", net)
    size = checks.whole("predict", "batch_size", batch_size, 1)
    if out is None and sources.found("predict", x, again=False, labelled=False) is None:
        return _predict(net, conversion.features("predict", net, x), size)
    blocks, rows = _blocks("predict", net, x, size)
    return collected("predict", blocks, rows, net, out)


def predictions(net: Sequential, x: Any, batch_size: int = BATCH) -> Iterator[np.ndarray]:
    """The outputs that ``predict`` gives, one batch after the other: for a source whose outputs are to be written away.

    >>> import numpy as np
    >>> import fastact as fa
    >>> net = fa.Sequential(fa.Dense(2, 3), rng=0)
    >>> [outputs.shape for outputs in predictions(net, np.zeros((5, 2)), 3)]
    [(3, 3), (2, 3)]
    """
    _check_network("predictions", net)
    return _blocks("predictions", net, x, checks.whole("predictions", "batch_size", batch_size, 1))[0]


def _blocks(function: str, net: Sequential, x: Any, size: int) -> tuple[Iterator[np.ndarray], int | None]:
    """Outputs in batches, and the number of rows where it is known."""
    source = sources.found(function, x, again=False, labelled=False)
    if source is not None:
        return Streamed(function, net, None, source, WINDOW).predictions(net, size), source.rows
    given = conversion.features(function, net, x)
    return (net(given[start : start + size]) for start in range(0, len(given), size)), len(given)


def _predict(net: Sequential, x: Rows, size: int) -> np.ndarray:
    result = np.empty((len(x), net.outputs), net.dtype)
    for start in range(0, len(x), size):
        result[start : start + size] = net(x[start : start + size])
    return result


@wording.explained
def evaluate(
    net: Sequential,
    x: Any,
    y: Any = None,
    loss: Any = "softmax_cross_entropy",
    metrics: Any = None,
    *,
    sample_weight: Any = None,
    batch_size: int = BATCH,
) -> dict[str, float]:
    """The loss and the metrics of the network on x, y, by name: {"loss": ..., "accuracy": ...}.

    ``x``, ``y``, ``loss`` and ``metrics`` as for ``fit``, sources too, of which one batch after the other is measured;
    functions as metrics are given all outputs at once. ``sample_weight`` (numbers >= 0, one a row) weighs the loss
    alone.
    """
    _check_network("evaluate", net)
    size = checks.whole("evaluate", "batch_size", batch_size, 1)
    objective = objective_of("evaluate", loss)
    measured = objective.metrics("evaluate", metrics)
    data = _given("evaluate", net, objective, x, y, sample_weight, WINDOW, again=False)
    return _evaluate(net, objective, measured, data, size)


def _evaluate(
    net: Sequential, objective: Objective, metrics: Mapping[str, Metric], data: Data | Streamed, size: int = BATCH
) -> dict[str, float]:
    if isinstance(data, Streamed):
        return data.evaluate(net, metrics, size)
    outputs = _predict(net, data.x, size)
    value, _ = objective(outputs, data.y, np.empty_like(outputs), data.sample_weight)
    return {"loss": float(value), **measure("evaluate", metrics, outputs, data.y)}


@wording.explained
def fit(
    net: Sequential,
    x: Any,
    y: Any = None,
    *,
    loss: Any = "softmax_cross_entropy",
    optimizer: Optimizer | str | None = None,
    epochs: int = 10,
    batch_size: int | None = None,
    validation: Any = None,
    metrics: Any = None,
    sample_weight: Any = None,
    accumulate: int = 1,
    standardize: bool = False,
    shuffle: bool = True,
    window: int | str = WINDOW,
    callbacks: Iterable[Callback] = (),
    patience: int | None = None,
    checkpoint: Any = None,
    resume: Any = None,
    penalty: Penalty | None = None,
    check_finite: bool = True,
    rng: Any = None,
    progress: bool = True,
) -> History:
    """Train net on x, y in shuffled mini-batches.

    Parameters
    ----------
    x : data of shape (rows, inputs). Lists, NumPy arrays, pandas frames and CPU torch tensors are converted once to
        the network's dtype. Or a *source*, which need not fit into memory and stays where it is:

        - an array on disk (``np.memmap``, ``h5py.Dataset``, ``zarr.Array``), with y in memory or on disk;
        - ``fastact.data.Parquet(...)`` and ``fastact.data.Csv(...)``: y left out;
        - batches (x, y) or (x, y, sample_weight), y left out: a list, a loader, any object to go through once an epoch,
          or a function that is called once an epoch and returns an iterator of them (``fastact.data.Stream`` for more
          of that). They are taken as they come, or, where ``batch_size`` is given, as any other source.

        A source of at most ``window`` is read into memory, and trained on as arrays are.
    y : what the loss compares with: class numbers of shape (rows,) or rows of probabilities (of sum 1) for
        softmax_cross_entropy;
        else targets of shape (rows, outputs), or (rows,) for one output
    loss : a name ("softmax_cross_entropy", "bce_with_logits", "squared_error", "absolute_error", "huber", "quantile",
        "log_cosh", "poisson", "hinge", "binary_cross_entropy");
        such a function with options, ``functools.partial(fa.huber, delta=0.5)``; or any other function:
        (outputs, targets) -> (mean loss, its gradient with respect to outputs), which is passed ``out=`` for the
        gradient and ``sample_weight=`` where it takes them. A whole-number y reaches it as int64; for one output, a y
        of shape (rows,) as a column of floats.
    optimizer : an ``Optimizer``, or a name of ``fastact.optim.OPTIMIZERS`` ("sgd", "adam", "adamw", ...), which is that
        optimiser with its defaults; ``fastact.optim.Adam(lr=0.001)`` unless given
    epochs, batch_size : whole numbers >= 1; batches of 32 rows unless given, a last short one is used too
    validation : (x, y), or (x, y, sample_weight), or a source, to evaluate after each epoch; or a fraction between 0
        and 1: that part of the rows, of each class where y is classes, drawn by rng, is held out (nothing is copied);
        of a source, that part of its blocks, row groups or files
    metrics : "accuracy", "r2", functions (outputs, targets) -> number, a list of these or {name: function}; measured
        after each epoch on the validation data ("validation_accuracy" in the history), or without any, where metrics
        are asked for, on the training data ("accuracy"). The default is what suits the loss, with validation data.
    sample_weight : numbers >= 0, one a row, for the training loss
    accumulate : whole number >= 1: batches whose gradients are added up for a step, which is then that of a batch as
        large as all of them (but for BatchNorm's statistics) in the memory of one
    standardize : whether the network is to take raw data: one that does not begin with a ``Standardize`` layer is given
        one, with mean and deviation of the columns that are trained on (``net.standardize``); it stays there, in
        ``predict``, ``save`` and further fits
    shuffle : whether to draw a new order of the rows in each epoch that is of more than one batch. Of a source, its
        blocks, row groups or files are read in a random order, and the rows of each ``window`` are shuffled
    window : how much of a source is in memory at a time (twice: one part is trained on, the next is read meanwhile), as
        a number of rows or bytes ("64 MB")
    callbacks : ``Callback`` objects
    patience : short for ``callbacks=[EarlyStopping(patience)]``, on the validation loss where there is one
    checkpoint : short for ``callbacks=[Checkpoint(path)]``
    resume : path of a checkpoint to go on from: with the same net, data and arguments, and ``epochs`` counted from the
        very beginning, the result is bit-identical to that of an uninterrupted run. ValueError for other data, another
        seed, loss or kind of optimizer, or other constants of it. Its ``lr``, ``weight_decay`` and clipping, and what
        is validated and measured, may be others from there on.
    penalty : what is added to the loss for the parameters, ``fastact.training.L2(strength)`` or any function of
        (net, weight of the batch) that adds its gradient to net.gradients and returns its value
    check_finite : False: go on where loss or parameters are NaN or infinite
    rng : seed or numpy Generator for shuffling and splitting
    progress : a progress bar on standard error, or where that is no terminal at most ten lines; False: silent

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError : bad data or options, before anything is trained
    ValueError : the loss, or a parameter after an epoch, is NaN or infinite; the message names epoch and layer. A step
        that starts from such a loss is not made. Not with ``check_finite=False``.
    KeyboardInterrupt : after Ctrl-C. The step that runs is finished first, and then the callbacks' ``on_train_end``, so
        that network and optimiser are as after a whole number of steps; training can go on from there. The exception's
        ``history`` is the history so far, ``interrupted``. A second Ctrl-C stops at once.

    Warns
    -----
    TrainingWarning : once, where the columns of x differ in scale by more than 100 (raw data), or where after the first
        of several epochs the outputs, or the first layer's units, no longer depend on x
    """
    _check_network("fit", net)
    objective = objective_of("fit", loss)
    epochs = checks.whole("fit", "epochs", epochs, 1)
    if batch_size is not None:
        batch_size = checks.whole("fit", "batch_size", batch_size, 1)
    accumulate = checks.whole("fit", "accumulate", accumulate, 1)
    optimizer = _optimizer("fit", optimizer)
    draws = checks.Draws("fit", rng)
    measured = objective.metrics("fit", metrics) if validation is not None or metrics is not None else {}

    data = _given("fit", net, objective, x, y, sample_weight, window)
    if isinstance(data, Data) and not len(data.x):
        raise ValueError("fit: expected at least one row of data, got none")
    called = _callbacks(callbacks, patience, checkpoint, validated=validation is not None)
    resumed = None if resume is None else Resumed(resume, draws(), isinstance(rng, numbers.Integral))
    start = draws().bit_generator.state if called.all or resumed is not None else None
    with nullcontext() if resumed is None else resumed.refusing():
        data, valid = _divide(net, objective, data, validation, draws)
        if isinstance(valid, Data):
            objective.row_weights("fit (validation)", net, valid.y, valid.sample_weight)
        batches = _batches(net, objective, data, batch_size, draws if shuffle else None)
        _check_sizes(net, batches)

        raw = standardize and not isinstance(net.layers[0], Standardize)
        run = Run(net, optimizer, epochs, None if batches.steps is None else -(-batches.steps // accumulate))

        def facts() -> dict[str, Any]:
            return {
                "rows": batches.rows, "batch_size": batch_size or BATCH_SIZE, "accumulate": accumulate,
                "shuffle": bool(shuffle), "loss": objective.name,
                "loss options": through_json(objective.options),
                "penalty": described(penalty),
                "optimizer": {"name": type(optimizer).__name__, **through_json(optimizer.hyperparameters())},
                **data.facts(),
            }  # fmt: skip

        if called.all:  # one of them may save
            run.checkpoint = recorder(run, facts, called.all, draws(), start)
        if raw and resumed is not None:  # a checkpoint is refused before the layer is put in
            trial = Run(copy.copy(net), copy.copy(optimizer), epochs, run.steps_per_epoch)
            trial.net.standardize(data.features())
            resumed.restore(trial, facts(), called.all)
        if raw:
            net.standardize(data.features())
        looked = RawData(net, data.x if isinstance(data, Data) else None)
        if isinstance(batches, StreamBatches):
            batches.first = looked.first
        if resumed is not None:
            resumed.restore(run, facts(), called.all)

    found = [f"validation_{name}" for name in ("loss", *measured)] if valid is not None else list(measured)
    run.names = ("loss", *(found if metrics is not None or valid is not None else ()), "rate")

    def after_epoch() -> dict[str, float]:
        if run.epoch == 1 and epochs > 1:
            looked.after()
        if valid is not None:
            return {f"validation_{k}": v for k, v in _evaluate(net, objective, measured, valid).items()}
        if metrics is None or not measured:
            return {}
        found = _evaluate(net, objective, measured, data)
        return {name: value for name, value in found.items() if name in measured}

    looked.before()
    measures = valid is not None or measured or epochs > 1
    after = after_epoch if measures else None
    _Training(run, objective, batches, called, after, penalty, check_finite, accumulate).start(resumed, progress)
    return run.history


def fit_batches(
    net: Sequential,
    batches: Batches,
    *,
    loss: Any = "softmax_cross_entropy",
    optimizer: Optimizer | str | None = None,
    epochs: int = 10,
    validate: Callable[[Sequential], Mapping[str, float]] | None = None,
    callbacks: Iterable[Callback] = (),
    penalty: Penalty | None = None,
    check_finite: bool = True,
    progress: bool = True,
) -> History:
    """Train net on batches of any source: ``fit`` without its conversions.

    Parameters
    ----------
    batches : an object with ``rows`` and ``steps`` an epoch, the ``sizes`` that its batches may have, and ``epoch()``,
        an iterator of (x, y, sample weights or None, weight of the batch in the epoch's mean loss). x and y are as the
        network and the loss take them: plain arrays of the network's dtype, class numbers as int64.
    validate : called with net after each epoch; what it returns, numbers by name ("validation_loss", ...), is recorded

    All else as for ``fit``, errors too; there is nothing to resume from.
    """
    _check_network("fit_batches", net)
    objective, epochs = objective_of("fit_batches", loss), checks.whole("fit_batches", "epochs", epochs, 1)
    optimizer = _optimizer("fit_batches", optimizer)
    _check_sizes(net, batches)
    run = Run(net, optimizer, epochs, batches.steps)
    called = _callbacks(callbacks, None, None, False)
    run.names, run.extended = ("loss", "rate"), validate is not None

    after = None if validate is None else functools.partial(validate, net)
    _Training(run, objective, batches, called, after, penalty, check_finite).start(None, progress)
    return run.history


class Data(NamedTuple):
    """Rows of data in memory, converted, with their targets and, where there are any, weights."""

    x: Rows
    y: np.ndarray
    sample_weight: np.ndarray | None

    def features(self) -> np.ndarray:
        """The features as one array."""
        return np.asarray(self.x)

    def facts(self) -> dict[str, Any]:
        """What a training that resumes must have in common with this one."""
        return {"checksum of the data": checksum(*self)}


def _check_network(function: str, net: Any) -> None:
    if not isinstance(net, Sequential):
        raise TypeError(f"{function}: expected net to be a Sequential, got {checks.describe(net)}")


def _optimizer(function: str, given: Optimizer | str | None) -> Optimizer:
    return Adam(lr=0.001) if given is None else named_optimizer(function, given)


def _labelled(
    function: str, net: Sequential, objective: Objective, features: np.ndarray, y: Any, sample_weight: Any
) -> Data:
    if y is None:
        raise TypeError(f"{function}: expected y beside x, got None; only what gives batches (x, y) goes without")
    rows = len(features)
    targets = objective.targets(function, net, y, rows)
    return Data(features, targets, objective.sample_weight(function, sample_weight, rows))


def _given(
    function: str,
    net: Sequential,
    objective: Objective,
    x: Any,
    y: Any,
    sample_weight: Any,
    window: Any,
    again: bool = True,
) -> Data | Streamed:
    """Data in memory, converted; or a source that is larger than a window, or made anew each time."""
    source = sources.found(function, x, y, sample_weight, again)
    if source is not None:
        streamed = Streamed(function, net, objective, source, window)
        if source.rows is None or source.rows > streamed.window or not isinstance(x, np.memmap):
            arrays = streamed.in_memory()
            return streamed if arrays is None else Data(*arrays)
    return _labelled(function, net, objective, conversion.features(function, net, x), y, sample_weight)


def _batches(
    net: Sequential,
    objective: Objective,
    data: Data | Streamed,
    batch_size: int | None,
    draws: checks.Draws | None,
) -> ArrayBatches | StreamBatches:
    """Batches of the data; draws: None: in their order."""
    if isinstance(data, Streamed):
        rows = data.size(batch_size)
        return data.batches(rows, None if rows is None or draws is None else draws())
    size = batch_size or BATCH_SIZE
    row_weights = objective.row_weights("fit", net, data.y, data.sample_weight)
    return ArrayBatches(*data, row_weights, size, None if draws is None or size >= len(data.x) else draws())


def _callbacks(given: Any, patience: int | None, checkpoint: Any, validated: bool) -> Callbacks:
    if not isinstance(given, (tuple, list, Callback, Iterable)):
        raise TypeError(f"fit: expected callbacks to be Callback objects, got {checks.describe(given)}")
    callbacks = [given] if isinstance(given, Callback) else list(given)
    if patience is not None:
        callbacks.append(EarlyStopping(patience, "validation_loss" if validated else "loss"))
    if checkpoint is not None:
        callbacks.append(Checkpoint(checkpoint))
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"fit: expected callbacks to be Callback objects, got {checks.describe(callback)}")
    return Callbacks(callbacks)


def _divide(
    net: Sequential, objective: Objective, data: Data | Streamed, validation: Any, draws: checks.Draws
) -> tuple[Data | Streamed, Data | Streamed | None]:
    """What is trained on, and what is validated on."""
    if validation is None:
        return data, None
    if isinstance(validation, numbers.Real):
        if isinstance(data, Streamed):
            return data.held_out(net, float(validation), draws())
        return _split(objective, data, float(validation), draws())
    if isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        parts = validation
    elif sources.found("fit (validation)", validation) is not None:
        parts = (validation, None)
    else:
        raise TypeError(
            f"fit: expected validation to be (x, y), (x, y, sample_weight), a source or a fraction, got "
            f"{checks.describe(validation)}"
        )
    weight = parts[2] if len(parts) == 3 else None
    valid = _given("fit (validation)", net, objective, parts[0], parts[1], weight, WINDOW)
    if isinstance(valid, Data) and not len(valid.x):
        raise ValueError("fit: expected at least one row of validation data, got none")
    return data, valid


def _split(objective: Objective, data: Data, fraction: float, generator: np.random.Generator) -> tuple[Data, Data]:
    """Rows to train on and rows to validate on; of classes, the fraction of each."""
    rows = len(data.x)
    count = round(fraction * rows) if 0 < fraction < 1 else 0
    if not 0 < count < rows:
        raise ValueError(
            f"fit: expected validation to be (x, y) or a fraction that leaves rows on both sides, got {fraction} of "
            f"{rows} rows"
        )
    chosen, rest = held_out(rows, count, generator, objective.classes(data.y))
    weights = None if data.sample_weight is None else data.sample_weight[rest]
    x = np.asarray(data.x)
    return Data(Selected(x, rest), data.y[rest], weights), Data(Selected(x, chosen), data.y[chosen], None)


def _check_sizes(net: Sequential, batches: Batches) -> None:
    """No batch has fewer rows than a layer demands."""
    if not batches.sizes:  # not known beforehand
        return
    smallest, largest = min(batches.sizes), max(batches.sizes)
    layers = list(net.layers)
    for layer in layers:
        layers += layer.sublayers  # which are gone through too
        if smallest < layer.min_batch_rows:
            raise ValueError(
                f"fit: expected batches of at least {layer.min_batch_rows} rows for {type(layer).__name__}, got a "
                f"batch of {smallest} ({batches.rows} rows by {largest}); choose another batch_size"
            )


# ------------------------------------------------------------------------------------------------ training


@dataclass
class _Training:
    """The epochs of a run."""

    run: Run
    objective: Objective
    batches: Batches
    callbacks: Callbacks
    after_epoch: Callable[[], Mapping[str, float]] | None  # what is measured then
    penalty: Penalty | None
    check_finite: bool
    accumulate: int = 1  # batches of a step

    def start(self, resumed: Resumed | None, progress: bool) -> None:
        """Train to the end, or to where it is stopped."""
        run = self.run
        step = Step(run, self.objective, self.penalty, self.check_finite, self.accumulate)
        try:
            with Progress(run, progress, self._passed) as bar, Interrupts() as interrupts:
                if isinstance(self.batches, StreamBatches):
                    self.batches.waiting = interrupts.allowed
                try:
                    self.callbacks.begin(run)
                    if resumed is not None:
                        resumed.restore_callbacks()
                    while run.epoch < run.epochs and not run.stopping:
                        self._epoch(step, bar, interrupts)
                except KeyboardInterrupt:
                    run.history.interrupted = True
                    raise
                finally:
                    run.history.steps = run.step
                    self.callbacks.end(run)
        except KeyboardInterrupt as stop:  # also one that was deferred to the very end
            run.history.interrupted = True
            stop.history = run.history  # type: ignore[attr-defined]
            raise

    def _passed(self) -> int:
        """Rows that came from a source so far."""
        return self.batches.passed if isinstance(self.batches, StreamBatches) else 0

    def _epoch(self, step: Step, bar: Progress, interrupts: Interrupts) -> None:
        run, history, logs = self.run, self.run.history, self.run.logs
        run.epoch += 1
        logs.clear()
        for call in self.callbacks.overridden("on_epoch_begin"):
            call(run)
        if run.stopping:
            run.epoch -= 1
            return
        began = time.perf_counter()
        loss = self._steps(step, bar, interrupts)
        seconds = time.perf_counter() - began
        history.seconds += seconds
        history.steps = run.step
        if self.check_finite:
            check_parameters(run)

        logs.clear()
        logs["loss"] = loss
        if self.after_epoch is not None:
            with np.errstate(all="ignore"), interrupts.allowed():
                logs.update(self.after_epoch())
        if self.check_finite and not math.isfinite(logs.get("validation_loss", 0.0)):
            raise not_finite(run, f"the validation loss became {logs['validation_loss']}")
        logs["rate"] = run.optimizer.last_rate
        history.append(logs)
        for call in self.callbacks.overridden("on_epoch_end"):
            call(run)
            interrupts.deliver()
        bar.epoch(seconds)
        interrupts.deliver()

    def _steps(self, step: Step, bar: Progress, interrupts: Interrupts) -> float:
        """The steps of an epoch; the mean loss of the rows that count, or the sum of a summed loss."""
        run, make, summed = self.run, step.make, self.objective.summed
        begin, end = self.callbacks.overridden("on_batch_begin"), self.callbacks.overridden("on_batch_end")
        clock, shown = time.perf_counter, bar.due < math.inf
        total = counted = 0.0
        epoch: Any = self.batches.epoch()
        ended = closing(epoch) if hasattr(epoch, "close") else nullcontext()  # readers end whatever happens
        with np.errstate(all="ignore"), ended:  # the step finds what is not finite
            for x, y, sample_weight, batch_weight in epoch:
                if not batch_weight:
                    continue
                for call in begin:
                    call(run)
                value = make(x, y, sample_weight, batch_weight)
                total += value if summed else value * batch_weight
                counted += batch_weight
                if end:
                    run.logs["loss"] = float(value)
                    for call in end:
                        call(run)
                if interrupts.pending:
                    interrupts.deliver()
                if shown and clock() >= bar.due:
                    bar.show(total / (counted or 1))
            total += step.rest()
            for call in self.callbacks.overridden("on_steps_end"):
                call(run)
        return total if summed else total / counted
