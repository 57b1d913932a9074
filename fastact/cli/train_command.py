"""The commands ``fastact train`` and ``fastact predict``."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import backends, functional, runtime
from ..measure.by_hand import NumpyStep, library_step, numpy_threads, time_in_turns
from .options import CommandError, activation, check_writable, hidden, momentum, print_json, rate, told, whole

if TYPE_CHECKING:
    from ..data.tables import Table
    from ..network import Sequential

#: Which rows are held out never depends on --seed, so that runs differ in training alone.
SPLIT_SEED = 1998
DTYPE = np.dtype(np.float32)
TASK = "fastact train: classification"  # marks the models that ``predict`` understands

# --------------------------------------------------------------------------------------------------------------- train


def train_options(parser: argparse.ArgumentParser) -> None:
    """What ``fastact train`` takes."""
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
    parser.add_argument("--hidden", type=hidden, default=(64, 64), metavar="N,N", help="hidden layers, or none (64,64)")
    parser.add_argument(
        "--activation", type=activation, default="relu", metavar="NAME",
        help="of the hidden layers, with parameters if wanted, as in leaky_relu:negative_slope=0.1 (relu)",
    )  # fmt: skip
    parser.add_argument("--epochs", type=whole(1), default=30, metavar="N", help="passes over the data (30)")
    parser.add_argument("--batch-size", type=whole(1), default=64, metavar="N", help="rows per step (64)")
    parser.add_argument("--lr", type=rate, default=0.1, metavar="RATE", help="learning rate (0.1)")
    parser.add_argument("--momentum", type=momentum, default=0.9, metavar="M", help="momentum of SGD (0.9)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of initial weights and batches (0)")
    parser.add_argument("--backend", choices=backends.BACKENDS, help="compiled kernels, or their NumPy twins")
    parser.add_argument("--threads", type=whole(1), metavar="N", help="threads for large arrays")
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
    from ..data.tables import Table, load_digits, read_table, standardization, stratified_split

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
    from .. import optim, training
    from ..layers import Dense
    from ..network import Sequential

    if options.save is not None:
        check_writable("--save", options.save, ".safetensors")
    with ExitStack() as stack:
        with told():
            if options.backend is not None:
                stack.enter_context(backends.use_backend(options.backend))
            if options.threads is not None:
                stack.enter_context(runtime.num_threads(options.threads))
            problem = _problem(options.data, options.label)
        blas_threads = stack.enter_context(numpy_threads(runtime.get_num_threads()))
        x, y = problem.train
        sizes = (x.shape[1], *options.hidden, len(problem.classes))
        batch_size = min(options.batch_size, len(x))

        def network() -> Sequential:
            shapes = list(itertools.pairwise(sizes))
            layers = [Dense(*shape, activation=options.activation) for shape in shapes[:-1]] + [Dense(*shapes[-1])]
            return Sequential(*layers, dtype=DTYPE, rng=options.seed)

        def optimizer() -> optim.SGD:
            return optim.SGD(lr=options.lr, momentum=options.momentum)

        with told():
            net = network()
        if not options.json:
            sys.stdout.write(
                f"{problem.source}: {len(x)} training and {len(problem.test[0])} test rows, {sizes[0]} features, "
                f"{sizes[-1]} classes\nnetwork: {'-'.join(map(str, sizes))}, {options.activation}, "
                f"{net.parameter_count} parameters, {net.dtype}\n"
            )
            sys.stdout.flush()
        with told(), np.errstate(all="ignore"):  # fit says itself when the loss is no longer finite
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
        backend = backends.get_backend()
        report = {
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
            "numpy_threads": blas_threads,
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
        with told():
            net.save(options.save, metadata=_metadata(problem))
    if options.json:
        print_json(report)
        return 0
    runs = f"{backend}, {report['instruction_set']}" if backend == "native" else backend
    sys.stdout.write(
        f"test accuracy   {100 * result['accuracy']:.2f} %\n"
        f"time per step   {1e3 * ours:.3f} ms  ({runs}, {report['threads']} threads)\n"
        f"NumPy by hand   {1e3 * theirs:.3f} ms  (the same step, in place, {blas_threads or 'default'} threads)\n"
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


# ------------------------------------------------------------------------------------------------------------- predict


def predict_options(parser: argparse.ArgumentParser) -> None:
    """What ``fastact predict`` takes."""
    parser.description = (
        "Predicts with a model that fastact train --save wrote: prints one label a line, or with --json labels and "
        "probabilities. Where the data hold labels too, says how many were right."
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the saved model")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="a .npz or .csv file, as for train")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write labels and probabilities there (.csv)")


def predict(options: argparse.Namespace) -> int:
    """``fastact predict``: label the rows of a table with a saved model."""
    from .. import training
    from ..data.tables import read_table
    from ..files import write_atomically
    from ..persistence import load

    if options.output is not None:
        check_writable("--output", options.output, ".csv")
    with told():
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
    with told():
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
        with told():
            write_atomically(options.output, text.getvalue().encode())
    if options.json:
        print_json(
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
