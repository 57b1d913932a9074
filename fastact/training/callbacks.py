"""What a running ``fit`` gives to others: the run, and callbacks; among them early stopping and checkpoints."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks, files, persistence, wording
from ..network import Sequential
from ..optim import Optimizer
from .history import History
from .metrics import METRICS


class Run:
    """A running ``fit``: what callbacks are given.

    ``net``, ``optimizer``, ``history``; ``epoch`` is the number of the current epoch, from 1, of ``epochs``; ``step``
    the number of steps done in all, of which each epoch has ``steps_per_epoch`` (None: not known beforehand). ``logs``
    holds the latest numbers: after a batch its "loss", after an epoch all that the history got, by ``names``.
    """

    def __init__(self, net: Sequential, optimizer: Optimizer, epochs: int, steps_per_epoch: int | None) -> None:
        self.net, self.optimizer, self.history = net, optimizer, History()
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.epoch = self.step = 0
        self.logs: dict[str, float] = {}
        self.names: tuple[str, ...] = ()  # of what ``fit`` puts into logs after an epoch
        self.extended = False  # whether callbacks, or what validates, may put more there
        self.stopping = False
        self.write: Callable[[str], object] = _to_stderr
        self.checkpoint: Callable[[], tuple[dict[str, Any], dict[str, np.ndarray]]] | None = None  # set by ``fit``

    def __repr__(self) -> str:
        numbers = "".join(f", {name} {value:.4g}" for name, value in self.logs.items())
        return f"Run(epoch {self.epoch} of {self.epochs}, step {self.step}{numbers})"

    def rate(self, ahead: int = 0) -> float:
        """The learning rate of the next step, or of one that many steps from it."""
        lr = self.optimizer.lr
        return float(lr(max(self.optimizer.steps + ahead, 0)) if callable(lr) else lr)

    def stop(self) -> None:
        """End the training after the current epoch (before it, when called by ``on_epoch_begin``)."""
        self.stopping = True

    def save(self, path: Any) -> None:
        """Write a checkpoint, for ``fit(resume=path)`` and ``fastact.load``; between epochs only."""
        if self.checkpoint is None or self.epoch != self.history.epochs:
            raise RuntimeError(
                "Run.save: expected to be called by on_epoch_end; within an epoch nothing can be resumed"
            )
        persistence.save(self.net, path, self.optimizer, training=self.checkpoint())


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Callback:
    """Base of what ``fit(callbacks=...)`` calls; override what is needed (what is not costs nothing).

    Each method is given the ``Run``. Callbacks are called by their ``order``, those of the same in the order of the
    list. ``on_train_end`` is called in every case, also after an error or Ctrl-C. ``run.write(text)`` prints a line
    beside the progress bar.
    """

    order = 0  # lower ones first; checkpoints, which save what the others know, have 1
    extends = False  # whether on_epoch_end may add to ``run.logs``; where it is overridden, unless that says no

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "on_epoch_end" in vars(cls) and "extends" not in vars(cls):
            cls.extends = True
        wording.explain_constructor(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(wording.shown(self))})"

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before each epoch."""

    def on_batch_begin(self, run: Run) -> None:
        """Before each step."""

    def on_batch_end(self, run: Run) -> None:
        """After each batch: ``run.logs["loss"]``; the gradients are those of the step (of the batches so far, where
        several are accumulated).
        """

    def on_steps_end(self, run: Run) -> None:
        """After the steps of each epoch, before anything is measured."""

    def on_epoch_end(self, run: Run) -> None:
        """After each epoch and its validation."""

    def on_train_end(self, run: Run) -> None:
        """At the end."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint should keep: JSON values, and float32 or float64 arrays, by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned; called after ``on_train_begin``."""


class Waiting(Callback):
    """What those share that wait for a number of the history to become better.

    monitor : a name in the history: "validation_loss", "loss", "validation_accuracy", ...
    min_delta : number >= 0; only a change by more than this is better
    mode : "min" where less is better, "max" where more is; "auto": "max" for accuracy and r2, else "min"

    ``best`` is the best so far, ``waited`` the epochs since then. ``fit`` raises ValueError for a monitor that is not
    measured: before the first epoch, unless another callback may add it.
    """

    extends = False

    def __init__(self, monitor: str, min_delta: float, mode: str) -> None:
        name = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{name}: expected monitor to be a name, got {checks.describe(monitor)}")
        self.monitor = monitor
        self.min_delta = checks.real(name, "min_delta", min_delta)
        checks.choice(name, "mode", mode, ("auto", "min", "max"))
        if mode == "auto":
            metric = METRICS.get(monitor.removeprefix("validation_"))
            if metric is not None and metric.rises is None:
                raise ValueError(f"{name}: neither more nor less {monitor} is better; monitor another, or pass mode")
            mode = "max" if metric is not None and metric.rises else "min"
        self.mode = mode
        self.best: float | None = None
        self.waited = 0

    def on_train_begin(self, run: Run) -> None:
        if not run.extended:
            self._check_monitor(run.names)
        self.best, self.waited = None, 0

    def improved(self, run: Run) -> bool:
        """Whether this epoch's number is the best so far; it is counted where it is not. NaN never is."""
        self._check_monitor(run.logs)
        value, sign = run.logs[self.monitor], 1 if self.mode == "min" else -1
        if not math.isnan(value) and (self.best is None or sign * value < sign * self.best - self.min_delta):
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    def _check_monitor(self, names: Iterable[str]) -> None:
        if self.monitor not in names:
            raise ValueError(
                f"{type(self).__name__}: expected monitor to be one of {', '.join(names)}, got {self.monitor!r}; "
                "pass validation=(x, y) to fit, or another monitor"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        name = f"{type(self).__name__}.load_state_dict"
        best = state["best"]
        if best is not None and (not isinstance(best, float | int) or math.isnan(best)):  # it may be infinite
            raise ValueError(f"{name}: expected best to be a number or None, got {best!r}")
        self.waited = checks.whole(name, "waited", state["waited"], 0)
        self.best = best


class EarlyStopping(Waiting):
    """Stops when a number has not become better for ``patience`` epochs, and gives the network its best weights back.

    Parameters
    ----------
    patience : whole number >= 1
    monitor : a name in the history: "validation_loss" (the default), "loss", "validation_accuracy", ...
    min_delta : number >= 0; only a change by more than this is better
    restore_best : at the end, in any case (after Ctrl-C too), set parameters and buffers to those of the best epoch;
        the optimiser keeps the state of the last step
    mode : "min" where less is better, "max" where more is; "auto": "max" for accuracy and r2, else "min"

    ``best`` and ``best_epoch`` (from 1) say what it found; ``stopped_epoch`` is None where it did not stop. ``fit``
    raises ValueError for a monitor that is not measured: before the first epoch, unless another callback may add it.
    """

    extends = False

    def __init__(
        self,
        patience: int = 10,
        monitor: str = "validation_loss",
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
    ) -> None:
        self.patience = checks.whole("EarlyStopping", "patience", patience, 1)
        super().__init__(monitor, min_delta, mode)
        self.restore_best = bool(restore_best)
        self._reset()

    def _reset(self) -> None:
        self.best_epoch = 0
        self.stopped_epoch: int | None = None
        self._kept: tuple[np.ndarray, np.ndarray] | None = None  # parameters and buffers of the best epoch

    def on_train_begin(self, run: Run) -> None:
        super().on_train_begin(run)
        self._reset()
        self._space = np.empty_like(run.net.parameters), np.empty_like(run.net.buffers)

    def on_epoch_begin(self, run: Run) -> None:
        if self.waited >= self.patience:
            self._stop(run, run.epoch - 1)

    def on_epoch_end(self, run: Run) -> None:
        if self.improved(run):
            self.best_epoch = run.epoch
            if self.restore_best:
                self._keep(run.net.parameters, run.net.buffers)
        elif self.waited >= self.patience:
            self._stop(run, run.epoch)

    def _keep(self, parameters: np.ndarray, buffers: np.ndarray) -> None:
        self._space[0][...], self._space[1][...] = parameters, buffers
        self._kept = self._space

    def _stop(self, run: Run, epoch: int) -> None:
        self.stopped_epoch = epoch
        run.stop()

    def on_train_end(self, run: Run) -> None:
        if self._kept is not None:
            run.net.parameters[...], run.net.buffers[...] = self._kept
        if self.stopped_epoch is not None:
            best = "it never was a number"
            if self.best is not None:
                best = f"best {self.best:.6g} in epoch {self.best_epoch}"
                best += ", whose weights are restored" if self._kept is not None else ""
            run.write(f"stopped after epoch {self.stopped_epoch}: {self.monitor} no longer improves ({best})")

    def state_dict(self) -> dict[str, Any]:
        state = {**super().state_dict(), "best_epoch": self.best_epoch}
        if self._kept is not None:
            state["parameters"], state["buffers"] = self._kept
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        name = "EarlyStopping.load_state_dict"
        best_epoch = checks.whole(name, "best_epoch", state["best_epoch"], 0)
        kept = (state["parameters"], state["buffers"]) if self.restore_best and "parameters" in state else ()
        for space, given in zip(self._space, kept, strict=bool(kept)):
            if (space.shape, space.dtype) != (given.shape, given.dtype):
                raise ValueError(f"{name}: expected {space.dtype} {space.shape}, got {given.dtype} {given.shape}")
        super().load_state_dict(state)
        self.best_epoch = best_epoch
        if kept:
            self._keep(*kept)


class ReduceOnPlateau(Waiting):
    """Multiplies the learning rate by ``factor`` when a number has not become better for ``patience`` epochs.

    Parameters
    ----------
    factor : number between 0 and 1
    patience : whole number >= 1 (PyTorch's ``patience`` counts one epoch less)
    monitor, mode : as for ``EarlyStopping``
    min_delta : number >= 0; only a change by more than this is better
    cooldown : whole number >= 0: epochs after a reduction that are not counted
    min_lr : number >= 0 below which the rate does not go

    The optimizer's ``lr`` has to be a number: TypeError for a schedule. A checkpoint keeps the rate that was reached.
    """

    extends = False

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        monitor: str = "validation_loss",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self.factor = checks.real("ReduceOnPlateau", "factor", factor, low_included=False)
        if self.factor >= 1:
            raise ValueError(f"ReduceOnPlateau: expected factor below 1, got {factor!r}")
        self.patience = checks.whole("ReduceOnPlateau", "patience", patience, 1)
        self.cooldown = checks.whole("ReduceOnPlateau", "cooldown", cooldown, 0)
        self.min_lr = checks.real("ReduceOnPlateau", "min_lr", min_lr)
        super().__init__(monitor, min_delta, mode)
        self.cooling = 0

    def on_train_begin(self, run: Run) -> None:
        if callable(run.optimizer.lr):
            raise TypeError(
                "ReduceOnPlateau: expected an optimizer with a number as lr, got a schedule; use one of both"
            )
        super().on_train_begin(run)
        self.cooling = 0

    def on_epoch_end(self, run: Run) -> None:
        self.improved(run)
        if self.cooling:
            self.cooling -= 1
            self.waited = 0
        if self.waited >= self.patience:
            rate: Any = run.optimizer.lr
            run.optimizer.lr = max(rate * self.factor, min(rate, self.min_lr))
            self.waited, self.cooling = 0, self.cooldown

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "cooling": self.cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        cooling = checks.whole("ReduceOnPlateau.load_state_dict", "cooling", state["cooling"], 0)
        super().load_state_dict(state)
        self.cooling = cooling


class AverageWeights(Callback):
    """Averages the weights over the steps: what is validated, saved and left in the network is their average.

    Parameters
    ----------
    decay : number between 0 and 1: average = decay * average + (1 - decay) * weights, an exponential moving average
        (Polyak and Juditsky 1992); None: their plain mean, as in stochastic weight averaging (Izmailov et al. 2018)
    start : the epoch, from 1, with whose steps averaging begins; until then the average is the weights themselves
    each : "step", or "epoch": only after the last step of each

    The training goes on with the weights themselves, also one that resumes from a checkpoint, which holds both. Buffers
    (BatchNorm's statistics) are averaged alike. Source: as ``torch.optim.swa_utils.AveragedModel``.
    """

    order = -1  # so that early stopping finds the average, and its best is what remains

    def __init__(self, decay: float | None = 0.999, start: int = 1, each: str = "step") -> None:
        if decay is not None:
            decay = checks.real("AverageWeights", "decay", decay)
            if decay >= 1:
                raise ValueError(f"AverageWeights: expected decay below 1, or None for the mean, got {decay!r}")
        self.decay = decay
        self.start = checks.whole("AverageWeights", "start", start, 1)
        self.each = checks.choice("AverageWeights", "each", each, ("step", "epoch"))
        self._others: tuple[np.ndarray, ...] = ()  # the averages; or the weights, where those are in the network
        self._inside = False  # whether the averages are in the network
        self._count = 0  # of what is averaged

    def on_train_begin(self, run: Run) -> None:
        self._others = tuple(flat.copy() for flat in (run.net.parameters, run.net.buffers))
        self._spare = tuple(np.empty_like(flat) for flat in self._others)
        self._inside, self._count, self._step = False, 0, run.step

    def _swap(self, run: Run) -> None:
        for flat, other, spare in zip((run.net.parameters, run.net.buffers), self._others, self._spare, strict=True):
            spare[...] = flat
            flat[...] = other
            other[...] = spare
        self._inside = not self._inside

    def on_epoch_begin(self, run: Run) -> None:
        if self._inside:
            self._swap(run)

    def on_batch_end(self, run: Run) -> None:
        if self.each == "step" and run.step > self._step:
            self._step = run.step
            self._average(run)

    def on_steps_end(self, run: Run) -> None:
        if self.each == "epoch" or run.step > self._step:  # the last step, of fewer batches than others
            self._step = run.step
            self._average(run)
        self._swap(run)

    def _average(self, run: Run) -> None:
        begun = run.epoch >= self.start
        share = 1.0
        if begun and self._count:
            share = 1 / (self._count + 1) if self.decay is None else 1 - self.decay
        self._count += begun
        for flat, average, spare in zip((run.net.parameters, run.net.buffers), self._others, self._spare, strict=True):
            np.subtract(flat, average, out=spare)
            np.multiply(spare, share, out=spare)
            np.add(average, spare, out=average)
            if share == 1:
                average[...] = flat

    def on_train_end(self, run: Run) -> None:
        if not self._inside:  # stopped in the middle of an epoch
            self._swap(run)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "inside": self._inside, "parameters": self._others[0], "buffers": self._others[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        name = "AverageWeights.load_state_dict"
        count = checks.whole(name, "count", state["count"], 0)
        given = state["parameters"], state["buffers"]
        for mine, other in zip(self._others, given, strict=True):
            if (mine.shape, mine.dtype) != (other.shape, other.dtype):
                raise ValueError(f"{name}: expected {mine.dtype} {mine.shape}, got {other.dtype} {other.shape}")
        for mine, other in zip(self._others, given, strict=True):
            mine[...] = other
        self._count, self._inside = count, bool(state["inside"])


class CSVLogger(Callback):
    """Writes the history to a file of comma-separated values, one row an epoch, while the training goes on.

    path : of the file, which is replaced after each epoch, whole or not at all. The columns are those of
        ``History.to_csv``; a run that resumes has its earlier epochs in it too.
    """

    order = 1
    extends = False

    def __init__(self, path: Any) -> None:
        self.path = files.any_path("CSVLogger", path)

    def on_train_begin(self, run: Run) -> None:
        files.checked_place("CSVLogger", self.path)

    def on_epoch_end(self, run: Run) -> None:
        run.history.to_csv(self.path)

    def on_train_end(self, run: Run) -> None:
        if run.history.epochs:
            run.history.to_csv(self.path)


class Checkpoint(Callback):
    """Writes, after every ``every`` epochs and after the last, all that is needed to go on: ``fit(resume=path)``.

    That is: parameters, buffers, frozen flags, the optimiser's state and position in its schedule, the states of the
    random numbers (of shuffling and of layers), the history, and the states of the other callbacks. The file is
    replaced atomically, ends in .safetensors or .npz, and can be read by ``fastact.load`` too.
    """

    order = 1
    extends = False

    def __init__(self, path: Any, every: int = 1) -> None:
        self.path: Path = files.checked_path("Checkpoint", path)
        self.every = checks.whole("Checkpoint", "every", every, 1)

    def on_train_begin(self, run: Run) -> None:
        files.checked_place("Checkpoint", self.path)

    def on_epoch_end(self, run: Run) -> None:
        if run.epoch % self.every == 0 or run.epoch == run.epochs or run.stopping:
            run.save(self.path)


class Callbacks:
    """Several callbacks as one, by their order."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.all = tuple(sorted(callbacks, key=lambda callback: callback.order))
        self.begun: list[Callback] = []

    def overridden(self, name: str) -> list[Callable[[Run], None]]:
        """The methods of that name that do something."""
        if not self.all:
            return []
        methods = [getattr(callback, name) for callback in self.all]
        return [method for method in methods if getattr(method, "__func__", None) is not getattr(Callback, name)]

    def begin(self, run: Run) -> None:
        """``on_train_begin`` of each."""
        run.extended = run.extended or any(callback.extends for callback in self.all)
        for callback in self.all:
            self.begun.append(callback)
            callback.on_train_begin(run)

    def end(self, run: Run) -> None:
        """``on_train_end``, whatever happened, of each that had begun."""
        run.checkpoint = None
        if self.begun:
            with ExitStack() as ends:  # calls each, whatever the others raise, and the one pushed last first
                for callback in reversed(self.begun):
                    ends.callback(callback.on_train_end, run)
