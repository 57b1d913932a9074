"""The command line: ``fastact train``, ``predict`` and ``info``, each with ``--json``.

A command is a function of the parsed options that returns the exit code, a function that adds its options to a parser,
and a row in ``COMMANDS``. Mistakes in what the user gave are ``CommandError``: one line on standard error, exit code 2.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import functional, registry, runtime
from ._version import __version__
from .registry import BoundActivation

if TYPE_CHECKING:
    from .layers import Sequential
    from .tables import Table

__all__ = ["main"]

#: Which rows are held out never depends on --seed, so that runs differ in training alone.
SPLIT_SEED = 1998
DTYPE = np.dtype(np.float32)
TASK = "fastact train: classification"  # marks the models that ``predict`` understands


class CommandError(Exception):
    """A mistake in what the user gave, told in one line."""


@contextmanager
def _told() -> Iterator[None]:
    """What the library refuses in here is the user's mistake, not a bug."""
    try:
        yield
    except (ValueError, OSError, ImportError, MemoryError) as error:
        raise CommandError(str(error) or f"not enough memory ({type(error).__name__})") from error


# ------------------------------------------------------------------------------------------------------- option values


def _whole(low: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {low}, got {text!r}")
        return value

    return convert


def _rate(text: str) -> float:
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a finite number > 0, got {text!r}")
    return value


def _momentum(text: str) -> float:
    value = _float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, got {text!r}")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _hidden(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        return tuple(_whole(1)(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers >= 1 with commas between them, or none, got {text!r}"
        ) from None


def _activation(text: str) -> BoundActivation:
    """``name`` or ``name:parameter=value,parameter=value``."""
    name, _, given = text.partition(":")
    parameters = {}
    for part in given.split(",") if given else ():
        key, equals, value = part.partition("=")
        if not equals or math.isnan(_float(value)):
            raise argparse.ArgumentTypeError(f"expected name:parameter=number,..., got {text!r}")
        parameters[key.strip()] = float(value)
    try:
        return functional.activation(name, **parameters)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _check_writable(option: str, path: Path, ending: str) -> None:
    """Whether a file can be written there, found out before the work and not after it."""
    if path.suffix != ending:
        raise CommandError(f"{option} {path}: expected a file name that ends in {ending}")
    if path.is_dir():
        raise CommandError(f"{option} {path}: there is a folder of that name")
    try:
        with tempfile.TemporaryFile(dir=path.parent):  # a file beside it, as the atomic write makes one
            pass
    except OSError as error:
        raise CommandError(f"{option} {path}: cannot write into {path.parent} ({error.strerror})") from error


def _print_json(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")


# --------------------------------------------------------------------------------------------------------------- train


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a dense network (softmax cross-entropy, SGD with momentum, float32) on a table, or on the bundled "
        "handwritten digits, and prints its accuracy on a held-out fifth of each class and the time of a training step "
        "beside that of the same step written by hand in NumPy. The rows held out do not depend on --seed. The two "
        "steps are timed in turns after a warm-up; times are medians. NumPy's matrix products (which both use) run on "
        "as many threads as fastact where the package threadpoolctl is installed to tell them so, else on as many as "
        "their library takes (see OMP_NUM_THREADS and OPENBLAS_NUM_THREADS)."
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE",
        help="a .npz file with arrays x and y, or a .csv file (label in the column named label, target or y, else the "
        "last); default: the bundled digits",
    )  # fmt: skip
    parser.add_argument("--label", metavar="NAME", help="name of the label's column in a CSV file with a header")
    parser.add_argument(
        "--hidden", type=_hidden, default=(64, 64), metavar="N,N", help="hidden layers, or none (64,64)"
    )
    parser.add_argument(
        "--activation", type=_activation, default="relu", metavar="NAME",
        help="of the hidden layers, with parameters if wanted, as in leaky_relu:negative_slope=0.1 (relu)",
    )  # fmt: skip
    parser.add_argument("--epochs", type=_whole(1), default=30, metavar="N", help="passes over the data (30)")
    parser.add_argument("--batch-size", type=_whole(1), default=64, metavar="N", help="rows per step (64)")
    parser.add_argument("--lr", type=_rate, default=0.1, metavar="RATE", help="learning rate (0.1)")
    parser.add_argument("--momentum", type=_momentum, default=0.9, metavar="M", help="momentum of SGD (0.9)")
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of initial weights and batches (0)")
    parser.add_argument("--backend", choices=runtime.BACKENDS, help="compiled kernels, or their NumPy twins")
    parser.add_argument("--threads", type=_whole(1), metavar="N", help="threads for large arrays")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the model there (.safetensors)")


@dataclass
class _Problem:
    """A classification table, split and scaled."""

    source: str
    table: Table
    classes: list[int] | list[str]
    mean: np.ndarray
    scale: np.ndarray
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def _problem(data: Path | None, label: str | None) -> _Problem:
    from .tables import Table, load_digits, read_table, standardization, stratified_split

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
    x = _scaled(source, table, mean, scale)
    return _Problem(source, table, classes.tolist(), mean, scale, (x[train], numbers[train]), (x[test], numbers[test]))


def _scaled(source: str, table: Table, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = ((table.features - mean) / scale).astype(DTYPE)
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise CommandError(f"{source}: feature {column + 1} of row {row + 1} is too far from the others for {DTYPE}")
    return x


def train(options: argparse.Namespace) -> int:
    """``fastact train``: train, test, time, save."""
    from . import optim, training
    from .layers import Dense, Sequential

    if options.save is not None:
        _check_writable("--save", options.save, ".safetensors")
    with ExitStack() as stack:
        with _told():
            if options.backend is not None:
                stack.enter_context(runtime.use_backend(options.backend))
            if options.threads is not None:
                stack.enter_context(runtime.num_threads(options.threads))
            problem = _problem(options.data, options.label)
        numpy_threads = stack.enter_context(_numpy_threads(runtime.get_num_threads()))
        x, y = problem.train
        sizes = (x.shape[1], *options.hidden, len(problem.classes))
        batch_size = min(options.batch_size, len(x))

        def network() -> Sequential:
            shapes = list(itertools.pairwise(sizes))
            layers = [Dense(*shape, activation=options.activation) for shape in shapes[:-1]] + [Dense(*shapes[-1])]
            return Sequential(*layers, dtype=DTYPE, rng=options.seed)

        def optimizer() -> optim.SGD:
            return optim.SGD(lr=options.lr, momentum=options.momentum)

        with _told():
            net = network()
        if not options.json:
            sys.stdout.write(
                f"{problem.source}: {len(x)} training and {len(problem.test[0])} test rows, {sizes[0]} features, "
                f"{sizes[-1]} classes\nnetwork: {'-'.join(map(str, sizes))}, {options.activation}, "
                f"{net.parameter_count} parameters, {net.dtype}\n"
            )
            sys.stdout.flush()
        with _told(), np.errstate(all="ignore"):  # fit says itself when the loss is no longer finite
            history = training.fit(
                net, x, y, optimizer=optimizer(), epochs=options.epochs, batch_size=batch_size, rng=options.seed,
                progress=not options.json or sys.stderr.isatty(),
            )  # fmt: skip
        result = training.evaluate(net, *problem.test)
        batches = [
            (x[start : start + batch_size], y[start : start + batch_size])
            for start in range(0, min(len(x) - batch_size, 15 * batch_size) + 1, batch_size)
        ]
        ours, theirs = time_in_turns(
            library_step(network(), optimizer()),
            NumpyStep(network(), options.activation, batch_size, options.lr, options.momentum),
            batches,
        )
        backend = runtime.get_backend()
        report = {
            "test_accuracy": result["accuracy"],
            "test_loss": result["loss"],
            "train_loss": history.loss[-1],
            "seconds_per_step": ours,
            "numpy_seconds_per_step": theirs,
            "ratio": theirs / ours,
            "backend": backend,
            "instruction_set": runtime.instruction_set if backend == "native" else None,
            "threads": runtime.get_num_threads(),
            "numpy_threads": numpy_threads,
            "epochs": history.epochs,
            "steps": history.steps,
            "training_seconds": history.seconds,
            "data": problem.source,
            "train_rows": len(x),
            "test_rows": len(problem.test[0]),
            "layers": list(sizes),
            "parameters": net.parameter_count,
            "activation": str(options.activation),
            "dtype": str(net.dtype),
            "batch_size": batch_size,
            "lr": options.lr,
            "momentum": options.momentum,
            "seed": options.seed,
            "saved": None if options.save is None else str(options.save),
        }
    if options.save is not None:
        with _told():
            net.save(options.save, metadata=_metadata(problem))
    if options.json:
        _print_json(report)
        return 0
    runs = f"{backend}, {report['instruction_set']}" if backend == "native" else backend
    sys.stdout.write(
        f"test accuracy   {100 * result['accuracy']:.2f} %\n"
        f"time per step   {1e3 * ours:.3f} ms  ({runs}, {report['threads']} threads)\n"
        f"NumPy by hand   {1e3 * theirs:.3f} ms  (the same step, in place, {numpy_threads or 'default'} threads)\n"
        f"ratio           {theirs / ours:.2f}\n"
    )
    if options.save is not None:
        sys.stdout.write(f"saved           {options.save}\n")
    return 0


def _metadata(problem: _Problem) -> dict[str, str]:
    """What predict needs beside the network."""
    return {
        "task": TASK,
        "classes": json.dumps(problem.classes),
        "mean": json.dumps(problem.mean.tolist()),
        "scale": json.dumps(problem.scale.tolist()),
        "features": json.dumps(problem.table.names),
        "label": json.dumps(problem.table.label),
    }


@contextmanager
def _numpy_threads(count: int) -> Iterator[int | None]:
    """Give NumPy's matrix products count threads, if threadpoolctl is there to do so; yields their number if known."""
    try:
        from threadpoolctl import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            threadpool_info,
            threadpool_limits,
        )
    except ImportError:
        yield None
        return
    with threadpool_limits(limits=count, user_api="blas"):
        yield max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=None)


# ---------------------------------------------------------------------------------- a training step, twice


def library_step(net: Sequential, optimizer: Any) -> Callable[[np.ndarray, np.ndarray], float]:
    """A training step as ``fit`` makes it."""
    from .losses import softmax_cross_entropy

    grad = np.empty((0, net.outputs), net.dtype)

    def step(x: np.ndarray, labels: np.ndarray) -> float:
        nonlocal grad
        if len(grad) != len(x):
            grad = np.empty((len(x), net.outputs), net.dtype)
        loss, _ = softmax_cross_entropy(net.forward(x, training=True), labels, out=grad)
        net.backward(grad)
        optimizer.step(net)
        return loss

    return step


class NumpyStep:
    """The same training step written by hand in NumPy: buffers made once, everything in place, nothing checked.

    Identity, relu, leaky_relu, sigmoid and tanh are written in place too; other activations are the registry's NumPy
    formulas. Starts from a copy of the network's parameters.
    """

    def __init__(self, net: Sequential, activation: BoundActivation, rows: int, lr: float, momentum: float) -> None:
        """Lay out parameters, gradients and workspaces for batches of so many rows."""
        self.parameters, self.gradients = net.parameters.copy(), np.zeros_like(net.parameters)
        self.velocity, self.change = np.zeros_like(net.parameters), np.empty_like(net.parameters)
        dtype = net.dtype

        def views(flat: np.ndarray, kind: str) -> list[np.ndarray]:
            return [flat[s.start : s.stop].reshape(s.shape) for s in net.segments if s.name.endswith(kind)]

        self.weights, self.biases = views(self.parameters, "weight"), views(self.parameters, "bias")
        self.weight_gradients, self.bias_gradients = views(self.gradients, "weight"), views(self.gradients, "bias")
        widths = [weight.shape[1] for weight in self.weights]
        self.outputs = [np.empty((rows, width), dtype) for width in widths]
        self.deltas = [np.empty((rows, width), dtype) for width in widths]
        self.spare = [np.empty((rows, width), dtype) for width in widths]
        self.column, self.ones, self.rows = np.empty((rows, 1), dtype), np.ones(rows, dtype), np.arange(rows)
        self.lr, self.momentum = dtype.type(lr), dtype.type(momentum)
        self.activate, self.activate_backward = _by_hand(activation, dtype)

    def __call__(self, x: np.ndarray, labels: np.ndarray) -> float:
        """One step; returns the mean loss before it."""
        last = len(self.weights) - 1
        saved, y = [], x
        for i, (weight, bias, z) in enumerate(zip(self.weights, self.biases, self.outputs, strict=True)):
            np.matmul(y, weight, out=z)
            np.add(z, bias, out=z)
            y = z
            if i < last:
                y, keep = self.activate(z, self.spare[i])
                saved.append((y, keep))

        delta = self.deltas[last]
        np.subtract(y, np.maximum.reduce(y, axis=1, keepdims=True, out=self.column), out=delta)
        picked = delta[self.rows, labels]
        np.exp(delta, out=delta)
        np.add.reduce(delta, axis=1, keepdims=True, out=self.column)
        np.divide(delta, self.column, out=delta)
        loss = float(np.log(self.column).mean() - picked.mean())
        delta[self.rows, labels] -= 1
        np.divide(delta, len(x), out=delta)

        for i in range(last, -1, -1):
            np.matmul((saved[i - 1][0] if i else x).T, delta, out=self.weight_gradients[i])
            np.matmul(self.ones, delta, out=self.bias_gradients[i])  # faster than a sum
            if i:
                delta = np.matmul(delta, self.weights[i].T, out=self.deltas[i - 1])
                self.activate_backward(delta, saved[i - 1][1], self.spare[i - 1])

        np.multiply(self.velocity, self.momentum, out=self.velocity)
        np.add(self.velocity, self.gradients, out=self.velocity)
        np.multiply(self.velocity, self.lr, out=self.change)
        np.subtract(self.parameters, self.change, out=self.parameters)
        return loss


def _by_hand(activation: BoundActivation, dtype: np.dtype) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """forward(z, spare) -> (y, what backward reads), and backward(delta, saved, spare), which scales delta in place."""
    name, values = activation.name, registry.rounded(activation.values, dtype)

    def forward(z: np.ndarray, spare: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if name == "relu":
            np.maximum(z, 0, out=z)
        elif name == "leaky_relu":
            np.multiply(z, values[0], out=spare)
            np.copyto(z, spare, where=z < 0)
        elif name == "tanh":
            np.tanh(z, out=z)
        elif name == "sigmoid":
            np.negative(z, out=z)
            np.exp(z, out=z)
            np.add(z, 1, out=z)
            np.reciprocal(z, out=z)
        elif name != "identity":
            y = registry.value(activation.entry, z, activation.values)
            return y, (z if activation.entry.saves == "x" else y)
        return z, z

    def backward(delta: np.ndarray, saved: np.ndarray, spare: np.ndarray) -> None:
        if name == "relu":
            np.multiply(delta, saved > 0, out=delta)
        elif name == "leaky_relu":
            np.multiply(delta, values[0], out=delta, where=saved <= 0)
        elif name == "tanh":
            np.multiply(saved, saved, out=spare)
            np.subtract(1, spare, out=spare)
            np.multiply(delta, spare, out=delta)
        elif name == "sigmoid":
            np.subtract(1, saved, out=spare)
            np.multiply(spare, saved, out=spare)
            np.multiply(delta, spare, out=delta)
        elif name != "identity":
            np.multiply(delta, registry.slope(activation.entry, saved, activation.values), out=delta)

    return forward, backward


def time_in_turns(
    first: Callable[..., Any], second: Callable[..., Any], batches: Sequence[tuple[np.ndarray, ...]],
    rounds: int = 41, seconds: float = 0.6,
) -> tuple[float, float]:  # fmt: skip
    """Median seconds per call of two functions, timed in turns so that both see the same machine.

    A round is some calls of one, then as many of the other, each over the batches in order. How many follows from the
    time that the first calls, the warm-up, took.
    """

    def spend(function: Callable[..., Any], calls: int) -> float:
        source = itertools.islice(itertools.cycle(batches), calls)
        began = time.perf_counter()
        for batch in source:
            function(*batch)
        return (time.perf_counter() - began) / calls

    with np.errstate(all="ignore"):  # both go on training; where that leads is not the question here
        warm = sum(min(spend(function, 1) for _ in range(6)) for function in (first, second))
        rounds = min(rounds, max(3, round(seconds / warm)))
        calls = max(1, round(seconds / rounds / warm))
        times = [(spend(first, calls), spend(second, calls)) for _ in range(rounds)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


# ------------------------------------------------------------------------------------------------------------- predict


def _predict_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicts with a model that fastact train --save wrote: prints one label a line, or with --json labels and "
        "probabilities. Where the data hold labels too, says how many were right."
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the saved model")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="a .npz or .csv file, as for train")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write labels and probabilities there (.csv)")


def predict(options: argparse.Namespace) -> int:
    """``fastact predict``: label the rows of a table with a saved model."""
    from . import training
    from .persistence import load, write_atomically
    from .tables import read_table

    if options.output is not None:
        _check_writable("--output", options.output, ".csv")
    with _told():
        net = load(options.model)
    try:
        saved = {key: json.loads(net.metadata[key]) for key in ("classes", "mean", "scale", "features", "label")}
        mean, scale = np.array(saved["mean"], np.float64), np.array(saved["scale"], np.float64)
        if net.metadata["task"] != TASK or {len(mean), len(scale)} != {net.inputs}:
            raise ValueError
        if len(saved["classes"]) != net.outputs:
            raise ValueError
    except (KeyError, ValueError, TypeError) as error:
        raise CommandError(f"{options.model}: expected a model saved by fastact train, got another network") from error
    with _told():
        table = read_table(options.data, features=net.inputs, label=saved["label"])
    if saved["features"] is not None and table.names is not None and list(table.names) != saved["features"]:
        wrong = next(i for i, (a, b) in enumerate(zip(table.names, saved["features"], strict=True)) if a != b)
        raise CommandError(
            f"{options.data}: expected the model's features in its order; feature {wrong + 1} should be "
            f"{saved['features'][wrong]!r}, got {table.names[wrong]!r}"
        )
    logits = training.predict(net, _scaled(str(options.data), table, mean, scale)).astype(np.float64)
    probabilities = functional.softmax(logits)
    classes = saved["classes"]
    labels = [classes[i] for i in logits.argmax(axis=1)]
    accuracy = None
    if table.labels is not None:
        accuracy = float(np.mean([str(a) == str(b) for a, b in zip(labels, table.labels.tolist(), strict=True)]))

    if options.output is not None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["label", *(f"probability {name}" for name in classes)])
        writer.writerows([label, *row] for label, row in zip(labels, probabilities.tolist(), strict=True))
        with _told():
            write_atomically(options.output, text.getvalue().encode())
    if options.json:
        _print_json(
            {
                "labels": labels,
                "probabilities": probabilities.tolist(),
                "classes": classes,
                "rows": len(labels),
                "accuracy": accuracy,
                "output": None if options.output is None else str(options.output),
            }
        )
        return 0
    if options.output is None:
        sys.stdout.writelines(f"{label}\n" for label in labels)
    else:
        sys.stdout.write(f"{options.output}: {len(labels)} rows\n")
    if accuracy is not None:
        sys.stderr.write(f"accuracy {100 * accuracy:.2f} % of {len(labels)} labelled rows\n")
    return 0


# ---------------------------------------------------------------------------------------------------------------- info


def info(options: argparse.Namespace) -> int:
    """``fastact info``: what is installed and in use."""
    if options.json:
        _print_json(runtime.config())
    else:
        runtime.show_config()
    return 0


# ------------------------------------------------------------------------------------------------------------ accuracy


def _accuracy_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measures the largest error of every kernel in units in the last place: forward; backward against the slope at "
        "what was saved; backward against the true derivative at x. float32 against NumPy in float64, float64 against "
        "mpmath (extra: bench). Within 0.25 of a root of the slope backward is measured in eps * |grad| (near root)."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="activations, default parameters (all)")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="one dtype only")
    parser.add_argument(
        "--exhaustive", action="store_true", help="all 2^32 float32 inputs, a minute or more a function"
    )
    parser.add_argument("--points", type=_whole(30), default=3000, metavar="N", help="float64 inputs (3000)")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE",
        help="merge the results into FILE, or without FILE print exactly one JSON object on standard output",
    )  # fmt: skip


def accuracy(options: argparse.Namespace) -> int:
    """``fastact accuracy``: measure the kernels in use."""
    from tqdm.auto import tqdm

    from .accuracy import measure, write_results

    for name in options.names:
        if name not in registry.ACTIVATIONS:
            raise CommandError(f"unknown activation {name!r}; known: {', '.join(sorted(registry.ACTIVATIONS))}")
    if options.json not in (None, "-"):
        _check_writable("--json", Path(options.json), ".json")
    names = options.names or list(registry.ACTIVATIONS)
    dtypes = (options.dtype,) if options.dtype else ("float32", "float64")
    results = []
    if options.json != "-":
        sys.stdout.write(
            f"{'function':14}{'dtype':9}{'forward':>10}{'backward':>10}{'derivative':>12}{'near root':>11}\n"
        )
    for name in names:
        for dtype in dtypes:
            total = 1 << 32 if options.exhaustive and dtype == "float32" else None
            with _told(), tqdm(total=total, desc=f"{name} {dtype}", unit="input", unit_scale=True, leave=False) as bar:
                entry = registry.ACTIVATIONS[name]
                result = measure(
                    entry, dtype, exhaustive=options.exhaustive, points=options.points, progress=bar.update
                )
            results.append(result)
            if options.json != "-":
                columns = (result.forward.ulp, result.backward.ulp)
                sys.stdout.write(f"{name:14}{dtype:9}" + "".join(f"{c:10.3f}" for c in columns))
                sys.stdout.write(f"{result.derivative.ulp:12.4g}{result.backward.near_root:11.3f}\n")
                sys.stdout.flush()
    if options.json == "-":
        _print_json({f"{r.name} {r.dtype}": r.as_dict() for r in results})
    elif options.json:
        write_results(results, Path(options.json))
    return 0


# ---------------------------------------------------------------------------------------------------------------- main


@dataclass(frozen=True)
class Command:
    """A command: what it does, which options it takes, and its line in the help."""

    run: Callable[[argparse.Namespace], int]
    options: Callable[[argparse.ArgumentParser], None] | None
    help: str
    json: bool = True  # whether --json is the plain switch; else the command's options define it


COMMANDS = {
    "train": Command(train, _train_options, "train a classifier on a table or on the bundled digits"),
    "predict": Command(predict, _predict_options, "label a table with a saved model"),
    "accuracy": Command(accuracy, _accuracy_options, "measure the largest error of the kernels", json=False),
    "info": Command(info, None, "print what is installed and in use"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastact", description="Fast training of dense networks on CPUs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastact {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.help, description=command.help, allow_abbrev=False)
        if command.options is not None:
            command.options(own)
        if command.json:
            own.add_argument("--json", action="store_true", help="print exactly one JSON object on standard output")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, 2 for a mistake of the user, 130 after Ctrl-C."""
    try:
        options = _parser().parse_args(arguments)
        code = COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return code
    except CommandError as error:
        sys.stderr.write(f"fastact: error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("fastact: interrupted\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter's last flush must not fail on it
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit as stop:  # argparse, after --help and --version
        return stop.code if isinstance(stop.code, int) else 0
