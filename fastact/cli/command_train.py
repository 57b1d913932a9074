"""``fastact train``: train, test, time and save a classifier."""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import backends, optim, runtime, training
from ..data.tables import Table, load_digits, read_table, standardization, stratified_split
from ..layers import Dense
from ..measure.by_hand import NumpyStep, library_step, numpy_threads, time_in_turns
from ..measure.processes import blas
from ..network import Sequential
from .classifier import DTYPE, Classifier
from .options import (
    CommandError,
    add_json,
    add_training,
    check_writable,
    chosen_backend,
    parse_activation,
    parse_whole,
    print_json,
    user_errors,
)

#: Which rows are for testing never depends on --seed, so that runs differ in training alone.
SPLIT_SEED = 1998


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a dense network (softmax cross-entropy, SGD with momentum, float32) on a table, or on the bundled "
        "handwritten digits, and prints its accuracy on a held-out fifth of each class and the time of a training step "
        "beside that of the same step written by hand in NumPy. The rows held out do not depend on --seed. The two "
        "steps are timed in turns after a warm-up; times are medians. The ratio depends on the BLAS of NumPy's matrix "
        "products, which is named; they run on as many threads as fastact where the package threadpoolctl is "
        "installed to tell them so, else on as many as their library takes (see OMP_NUM_THREADS and "
        "OPENBLAS_NUM_THREADS)."
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE",
        help="a .npz file with arrays x and y, or a .csv file (label in the column named label, target or y, else the "
        "last); default: the bundled digits",
    )  # fmt: skip
    parser.add_argument("--label", metavar="NAME", help="name of the label's column in a CSV file with a header")
    add_training(parser, (64, 64), 30, "hidden layers, or none (64,64)")
    parser.add_argument(
        "--activation", type=parse_activation, default="relu", metavar="NAME",
        help="of the hidden layers, with parameters if wanted, as in leaky_relu:negative_slope=0.1 (relu)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=parse_whole(0), default=0, metavar="N", help="of initial weights and batches (0)"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the model there (.safetensors)")
    add_json(parser)


@dataclass
class _Problem:
    """A classification table, split and scaled."""

    source: str
    classifier: Classifier
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def _problem(data: Path | None, label: str | None) -> _Problem:
    if data is None:
        if label is not None:
            raise CommandError("--label NAME goes with --data FILE")
        x, y = load_digits()
        table = Table(x.astype(np.float64), y.astype(np.int64))
    else:
        table = read_table(data, label=label)
    source = "digits" if data is None else str(data)
    assert table.labels is not None  # without a number of features, read_table insists on labels
    try:
        train, test = stratified_split(table.labels, SPLIT_SEED)
        if data is None:
            mean, scale = np.zeros(64), np.full(64, 16.0)  # pixels are 0 to 16
        else:
            mean, scale = standardization(table.features[train])
    except ValueError as error:
        raise CommandError(f"{source}: {error}") from error
    classes, numbers = np.unique(table.labels, return_inverse=True)
    names = None if table.names is None else list(table.names)
    classifier = Classifier(classes.tolist(), mean.tolist(), scale.tolist(), names, table.label)
    x = classifier.scaled(source, table.features)
    return _Problem(source, classifier, (x[train], numbers[train]), (x[test], numbers[test]))


@dataclass
class _Settings:
    """Network, optimiser and batches, as the options say; each call makes new ones."""

    widths: tuple[int, ...]
    batch_size: int
    options: argparse.Namespace

    def network(self) -> Sequential:
        shapes = list(itertools.pairwise(self.widths))
        hidden = [Dense(*shape, activation=self.options.activation) for shape in shapes[:-1]]
        return Sequential(*hidden, Dense(*shapes[-1]), dtype=DTYPE, rng=self.options.seed)

    def optimizer(self) -> optim.SGD:
        return optim.SGD(lr=self.options.lr, momentum=self.options.momentum)

    def times(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Seconds of a training step: the library's, and by hand in NumPy."""
        rows = self.batch_size
        starts = range(0, min(len(x) - rows, 15 * rows) + 1, rows)
        by_hand = NumpyStep(self.network(), self.options.activation, rows, self.options.lr, self.options.momentum)
        batches = [(x[start : start + rows], y[start : start + rows]) for start in starts]
        return time_in_turns(library_step(self.network(), self.optimizer()), by_hand, batches)


def run(options: argparse.Namespace) -> int:
    if options.save is not None:
        check_writable("--save", options.save, ".safetensors")
    with chosen_backend(options):
        with user_errors():
            problem = _problem(options.data, options.label)
        with numpy_threads(runtime.get_num_threads()) as blas_threads:
            net, report = _train(problem, options)
            report["numpy_threads"], report["numpy_blas"] = blas_threads, blas()
    if options.save is not None:
        with user_errors():
            net.save(options.save, metadata=problem.classifier.metadata())
    if options.json:
        print_json(report)
    else:
        sys.stdout.write(_text(report))
    return 0


def _train(problem: _Problem, options: argparse.Namespace) -> tuple[Sequential, dict[str, Any]]:
    """The trained network, and what ``--json`` prints."""
    (x, y), test = problem.train, problem.test
    widths = (x.shape[1], *options.hidden, len(problem.classifier.classes))
    settings = _Settings(widths, min(options.batch_size, len(x)), options)
    with user_errors():
        net = settings.network()
    if not options.json:
        sys.stdout.write(
            f"{problem.source}: {len(x)} training and {len(test[0])} test rows, {widths[0]} features, "
            f"{widths[-1]} classes\nnetwork: {'-'.join(map(str, widths))}, {options.activation}, "
            f"{net.parameter_count} parameters, {net.dtype}\n"
        )
        sys.stdout.flush()
    with user_errors(), np.errstate(all="ignore"):  # fit says itself when the loss is no longer finite
        history = training.fit(
            net, x, y, optimizer=settings.optimizer(), epochs=options.epochs, batch_size=settings.batch_size,
            rng=options.seed, progress=not options.json or sys.stderr.isatty(),
        )  # fmt: skip
    result = training.evaluate(net, *test)
    ours, theirs = settings.times(x, y)
    backend = backends.get_backend()
    return net, {
        "test_accuracy": result["accuracy"],
        "test_loss": result["loss"],
        "train_loss": history.loss[-1],
        "train_losses": history.loss,
        "seconds_per_step": ours,
        "numpy_seconds_per_step": theirs,
        "ratio": theirs / ours,
        "backend": backend,
        "instruction_set": runtime.instruction_set if backend == "native" else None,
        "threads": runtime.get_num_threads(),
        "numpy_threads": None,
        "numpy_blas": None,
        "epochs": history.epochs,
        "steps": history.steps,
        "training_seconds": history.seconds,
        "data": problem.source,
        "train_rows": len(x),
        "test_rows": len(test[0]),
        "layers": list(widths),
        "parameters": net.parameter_count,
        "activation": str(options.activation),
        "dtype": str(net.dtype),
        "batch_size": settings.batch_size,
        "lr": options.lr,
        "momentum": options.momentum,
        "seed": options.seed,
        "saved": None if options.save is None else str(options.save),
    }


def _text(report: dict[str, Any]) -> str:
    kernels = ", ".join(filter(None, (report["backend"], report["instruction_set"])))
    text = (
        f"test accuracy   {100 * report['test_accuracy']:.2f} %\n"
        f"time per step   {1e3 * report['seconds_per_step']:.3f} ms  ({kernels}, {report['threads']} threads)\n"
        f"NumPy by hand   {1e3 * report['numpy_seconds_per_step']:.3f} ms  "
        f"(the same step, in place; {report['numpy_blas']}, {report['numpy_threads'] or 'default'} threads)\n"
        f"ratio           {report['ratio']:.2f}\n"
    )
    return text if report["saved"] is None else f"{text}saved           {report['saved']}\n"
