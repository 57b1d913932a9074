"""scikit-learn's perceptrons and ours: fits of a few epochs, one epoch of 32 rows, predictions.

A fit takes long enough for other programs to get their turn in between. So with one thread the clock is that of the
process's own time on its processor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .processes import Repeated

PEERS = ("scikit-learn",)
UNIT = "milliseconds"
ROUNDS, SECONDS = 10, 0.3

#: Data, rows of a batch, hidden layers, epochs a call.
FITS = (
    ("digits", 32, (64,), 10),
    ("digits", 64, (128, 64), 10),
    ("digits", 128, (256, 256), 10),
    ("digits", "auto", (100,), 20),
    ("100000x50", 200, (100,), 1),
    ("20000x784", 256, (512, 512), 1),
)


def data(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits, scaled to 1; or normal numbers of that shape in ten classes."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return (x / 16).astype(dtype), y
    rows, columns = map(int, name.split("x"))
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, columns), dtype=np.float32).astype(dtype), rng.integers(0, 10, rows)


class Call(Repeated):
    """A call that is made often enough for the clock of processor time, whose ticks are short on Linux."""

    def __init__(self, call: Callable[[], Any], first: Callable[[], Any] | None = None, count: int = 1) -> None:
        super().__init__(call, first)
        self.count = count
        alone = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1
        self.clock = time.process_time_ns if alone else time.perf_counter_ns

    def sample(self) -> float:
        call, clock = self.call, self.clock
        start = clock()
        for _ in range(self.count):
            call()
        return (clock() - start) / self.count


def measured(kind: Any) -> Callable[..., Call]:
    """Prepares calls of a class of classifiers."""

    def prepare(task: str, dtype: str, name: str, batch: int | str, layers: Sequence[int], epochs: int) -> Call:
        x, y = data("digits" if task == "predict" else name, dtype)
        options = {"batch_size": batch, "max_iter": epochs, "tol": 0.0, "n_iter_no_change": 10**6, "random_state": 0}
        made = kind(tuple(layers), solver="lbfgs" if task == "lbfgs" else "adam", **options)
        if task == "predict":
            made.fit(x, y)
            some = np.resize(x, (int(name), x.shape[1]))
            return Call(lambda: made.predict(some), lambda: made.predict_proba(some), 100 if name == "1" else 1)
        if task == "partial_fit":
            some, labels = x[: int(batch)].copy(), y[: int(batch)].copy()
            made.partial_fit(some, labels, classes=np.arange(10))
            return Call(lambda: made.partial_fit(some, labels), lambda: made.loss_, 50)
        if task == "step":
            if not hasattr(made, "save"):
                raise NotImplementedError
            some, labels = x[: int(batch)].copy(), y[: int(batch)].copy()
            step = made.partial_fit(some, labels, classes=np.arange(10))._step
            return Call(lambda: step.make(some, labels, None, len(some)), lambda: made.loss_, 50)
        return Call(lambda: made.fit(x, y), lambda: made.fit(x, y).loss_)

    def quiet(*arguments: Any) -> Call:
        import warnings

        warnings.simplefilter("ignore")  # of fits that stop after a few epochs
        return prepare(*arguments)

    return quiet


def use_fastact() -> Callable[..., Call]:
    from ..sklearn import MLPClassifier

    return measured(MLPClassifier)


def use_theirs() -> Callable[..., Call]:
    from sklearn.neural_network import MLPClassifier

    return measured(MLPClassifier)


LIBRARIES: dict[str, Callable[[], Callable[..., Call]]] = {"fastact": use_fastact, "scikit-learn": use_theirs}


@dataclass(frozen=True)
class Row:
    task: str
    dtype: str
    data: str
    batch: int | str
    layers: tuple[int, ...]
    epochs: int
    tolerance = (1e-2, 1e-3)
    scale = 1e-6

    def __str__(self) -> str:
        return f"{self.task}-{self.data}-{self.batch}-{'x'.join(map(str, self.layers))}-{self.dtype}"

    def request(self, library: str) -> tuple[Any, ...]:
        return self.task, self.dtype, self.data, self.batch, self.layers, self.epochs


def rows(
    task: Sequence[str] = ("fit", "lbfgs", "partial_fit", "step", "predict"), dtype: Sequence[str] = ("float32",),
    data: Sequence[str] = ("digits", "100000x50", "20000x784"),
) -> Iterator[Row]:  # fmt: skip
    """Data matters for fits alone."""
    for kind in task:
        for number in dtype:
            if kind == "fit":
                yield from (Row(kind, number, *fit) for fit in FITS if fit[0] in data)
            elif kind == "predict":
                yield from (Row(kind, number, size, "auto", (100,), 4) for size in ("1", "10000"))
            else:
                yield Row(kind, number, "digits", 32 if kind != "lbfgs" else "auto", (100,), 20)
