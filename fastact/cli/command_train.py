"""``fastact train``: train, test and save a network for a table; without one, for the digits, and time it."""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import backends, optim, runtime
from ..data.targets import TASKS
from ..epilogues import Epilogue
from ..measure.by_hand import NumpyStep, library_step, numpy_threads, time_in_turns
from ..measure.processes import blas
from . import pictures, words
from .experiment import Outcome, Problem, Settings, experiment, importance, largest_errors, main_score, spread
from .model import Model
from .options import (
    CommandError,
    add_backend,
    add_json,
    add_reading,
    check_writable,
    chosen_backend,
    parse_activation,
    parse_fraction,
    parse_loss,
    parse_momentum,
    parse_positive,
    parse_whole,
    parse_widths,
    print_json,
    user_errors,
)

HELD_OUT = 0.2
SGD_RATE, RATE = 0.1, 0.001  # learning rates that are not given


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains a dense network (float32) to predict a column of a table from the others, and prints how well it does "
        "on a fifth of the rows that it has not seen; which those are does not depend on --seed. Columns may hold "
        "numbers, texts, dates, true and false, and nothing: what is done to them is decided from the rows that are "
        "trained on, printed, and saved with the network. Training stops when rows set apart for that are predicted "
        "no better for a while. Without --data it trains on the bundled handwritten digits (SGD with momentum), and "
        "prints the time of a step beside that of the same step written by hand in NumPy: medians, timed in turns. "
        "Their ratio depends on the BLAS of NumPy's matrix products, which is named; they run on as many threads as "
        "fastact where the package threadpoolctl is installed to tell them so, else on as many as their library takes "
        "(see OMP_NUM_THREADS and OPENBLAS_NUM_THREADS)."
    )
    whole = parse_whole(1)
    add = parser.add_argument
    add(
        "--data", metavar="FILE",
        help=".csv, .tsv, .txt, .data or .dat, also .gz of these; .parquet; .npz with arrays x and y; - for text from "
        "standard input; default: the bundled digits",
    )  # fmt: skip
    add(
        "--label", action="append", default=[], metavar="NAME",
        help="the column to predict, or several numbers, as in a,b (a column named label, target or y, else the last)",
    )  # fmt: skip
    add("--task", choices=("auto", *TASKS), default="auto", help="texts and few whole numbers are classes (auto)")
    for name, what in (("drop", "leave out"), ("numeric", "take as numbers"), ("categorical", "take as categories")):
        add(
            f"--{name}",
            action="append",
            default=[],
            metavar="COL",
            help=f"columns to {what}, as in a,b; any number of times",
        )
    add("--dates", choices=("day-first", "month-first"), help="what 1/2/2000 means where no row tells")
    add_reading(parser)

    group = parser.add_argument_group("the network and its training")
    add = group.add_argument
    add("--hidden", type=parse_widths, metavar="N,N", help="hidden layers, or none (256; digits 64,64)")
    add(
        "--activation", type=parse_activation, default="relu", metavar="NAME",
        help="of the hidden layers, with parameters if wanted, as in leaky_relu:negative_slope=0.1 (relu)",
    )  # fmt: skip
    add(
        "--dropout",
        type=parse_fraction,
        default=0.0,
        metavar="P",
        help="share of hidden units left out in training (0)",
    )
    add("--batch-norm", action="store_true", help="normalise hidden layers over the batch")
    add(
        "--loss", type=parse_loss, metavar="NAME",
        help="of numbers: squared_error, absolute_error, huber, quantile:q=0.9 (squared_error); in deviations",
    )  # fmt: skip
    add("--class-weight", choices=("balanced",), help="let each class count alike, however rare")
    add("--optimizer", choices=tuple(optim.OPTIMIZERS), help="adam (for the digits sgd)")
    add("--lr", type=parse_positive, metavar="RATE", help=f"learning rate ({RATE:g}; sgd {SGD_RATE:g})")
    add("--momentum", type=parse_momentum, metavar="M", help="of SGD (0.9)")
    add("--weight-decay", type=parse_decay, default=0.0, metavar="W", help="of the optimiser (0)")
    add("--epochs", type=whole, metavar="N", help="passes over the data, at most (200, fewer for many rows; digits 30)")
    add("--batch-size", type=whole, metavar="N", help="rows per step (32 to 256, by the number of rows; digits 64)")
    add(
        "--validation", type=parse_fraction, metavar="F",
        help="share of the rows to train on that is set apart to stop by (0.15; of few rows and the digits 0)",
    )  # fmt: skip
    add(
        "--patience",
        type=parse_whole(0),
        default=20,
        metavar="N",
        help="epochs without gain before it stops; 0: never (20)",
    )
    add("--seed", type=parse_whole(0), default=0, metavar="N", help="of initial weights and batches (0)")
    add_backend(parser)
    add("--threads", type=whole, metavar="N", help="threads for large arrays")

    group = parser.add_argument_group("what comes of it")
    add = group.add_argument
    add(
        "--seeds",
        type=whole,
        metavar="N",
        help="train N times, from --seed on; print mean and deviation; save the first",
    )
    add("--cv", type=parse_whole(2), metavar="K", help="cross-validate over K folds; save a network of all rows")
    add(
        "--importance",
        action="store_true",
        help="print how much worse predictions are when a column's cells change rows",
    )
    add("--plot", type=Path, metavar="FOLDER", help="draw learning curves, predictions, and what was asked for")
    add("--save", type=Path, metavar="FILE", help="write the model there (.safetensors)")
    add(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="write there after each epoch what --resume needs (.safetensors)",
    )
    add("--resume", type=Path, metavar="FILE", help="go on from a checkpoint, with the same options")
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="options from a .toml file: epochs = 50; those given here come first",
    )
    add_json(parser)


def parse_decay(text: str) -> float:
    return 0.0 if text == "0" else parse_positive(text)


def _settings(options: argparse.Namespace) -> Settings:
    """The options, with what was not given filled in."""
    digits = options.data is None
    name = options.optimizer or ("sgd" if digits else "adam")
    keywords: dict[str, Any] = {"lr": options.lr or (SGD_RATE if name == "sgd" else RATE)}
    if name == "sgd":
        keywords["momentum"] = 0.9 if options.momentum is None else options.momentum
    elif options.momentum is not None:
        raise CommandError(f"--momentum is of --optimizer sgd, got {name}")
    if options.weight_decay or name == "adamw":
        keywords["weight_decay"] = options.weight_decay
    return Settings(
        hidden=((64, 64) if digits else (256,)) if options.hidden is None else options.hidden,
        activation=options.activation, dropout=options.dropout, batch_norm=options.batch_norm,
        loss=options.loss, optimizer=functools.partial(optim.OPTIMIZERS[name], **keywords),
        epochs=options.epochs or (30 if digits else None), batch_size=options.batch_size or (64 if digits else None),
        validation=(0.0 if digits else 0.15) if options.validation is None else options.validation,
        patience=options.patience, balanced=options.class_weight is not None, checkpoint=options.checkpoint,
        resume=options.resume,
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    _check(options)
    settings = _settings(options)
    with chosen_backend(options):
        problem = Problem.read(options)
        _check_task(problem, options)
        outcome, report = _trained(problem, settings, options)
        if _timed(problem, options):
            with numpy_threads(runtime.get_num_threads()) as threads:
                report |= _times(outcome, problem, options) | {"numpy_threads": threads, "numpy_blas": blas()}
    if options.save is not None:
        with user_errors():
            outcome.model.net.save(options.save, metadata=outcome.model.metadata())
    if options.plot is not None:
        with user_errors():
            report["pictures"] = pictures.draw(options.plot, outcome, report.get("importance"))
    if options.json:
        print_json(report)
    else:
        sys.stdout.write(_text(problem, outcome, report))
    return 0


def _check(options: argparse.Namespace) -> None:
    """What can be known to be wrong before the work."""
    for name in ("save", "checkpoint"):
        if (path := getattr(options, name)) is not None:
            check_writable(f"--{name}", path, ".safetensors")
    several = [f"--{name}" for name in ("seeds", "cv") if getattr(options, name) is not None]
    if len(several) > 1:
        raise CommandError("--seeds and --cv exclude each other; pass one of them")
    for name in ("checkpoint", "resume"):
        if several and getattr(options, name) is not None:
            raise CommandError(f"--{name} is of one training; leave out {several[0]}")
    if options.plot is not None:
        with user_errors():
            pictures.check(options.plot)


def _check_task(problem: Problem, options: argparse.Namespace) -> None:
    if problem.target.task == "classification" and options.loss is not None:
        raise CommandError("--loss is of numbers, and these are classes; pass --task regression, or leave it out")
    if problem.target.task == "regression" and options.class_weight is not None:
        raise CommandError(
            "--class-weight is of classes, and these are numbers; pass --task classification, or leave it out"
        )


# ------------------------------------------------------------------------------------------------------------- training


def _trained(problem: Problem, settings: Settings, options: argparse.Namespace) -> tuple[Outcome, dict[str, Any]]:
    """The trained model, and what ``--json`` prints."""
    rows = np.arange(problem.table.rows)
    several = {}
    if options.cv is not None:
        folds = problem.folds(options.cv)
        each = _each(folds, options, lambda fold: experiment(problem, settings, fold[0], fold[1], options.seed))
        several, (train, test) = _summary("folds", each), (rows, rows[:0])
    else:
        train, test = problem.split(rows, HELD_OUT)
    announce = None if options.json else functools.partial(_announce, problem, settings, options)
    outcome = experiment(
        problem, settings, train, test, options.seed, not options.json or sys.stderr.isatty(), announce
    )
    if options.seeds is not None:
        seeds = range(options.seed + 1, options.seed + options.seeds)
        others = _each(seeds, options, lambda seed: experiment(problem, settings, train, test, seed))
        several = _summary("seeds", [outcome, *others])
    report = _report(problem, settings, outcome, options) | several
    if options.importance and len(test):
        report["importance"] = importance(outcome, options.seed)
    return outcome, report


def _each(items: Sequence[Any], options: argparse.Namespace, work: Callable[[Any], Outcome]) -> list[Outcome]:
    """An outcome of each, with a bar on a terminal."""
    from tqdm.auto import tqdm

    name = "cv" if options.cv is not None else "seeds"
    return [work(item) for item in tqdm(items, unit="training", desc=name, leave=False, disable=None)]


def _summary(name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Scores of several trainings."""
    keys = ("accuracy", "r2", "loss")
    scores = {key: [one.scores[key] for one in outcomes] for key in keys if key in outcomes[0].scores}
    return {name: {key: {**spread(values), "each": values} for key, values in scores.items()}}


def _announce(
    problem: Problem, settings: Settings, options: argparse.Namespace, model: Model, rows: Mapping[str, int]
) -> None:
    """What is about to be trained."""
    net, target = model.net, model.target
    lines = []
    outputs = f"{target.outputs} classes" if target.task == "classification" else f"{target.outputs} number(s)"
    lines.append(
        f"{problem.source}: {rows['train'] + rows['validation']} training and {rows['test']} test rows, "
        f"{len(model.plan.features)} features, {outputs}"
    )
    if options.data is not None:
        lines.append(f"predicts {words.predicts(target)}: {problem.chosen}; another: --label NAME")
        lines.append(f"task: {target.task} ({problem.why})")
        if problem.left_out:
            lines.append(f"{problem.left_out} rows have no {' or '.join(target.labels)} and are left out")
        lines.append(words.plan_text(model.plan).rstrip())
    if rows["validation"]:
        lines.append(f"{rows['validation']} of the training rows are set apart to stop by")
    widths = (net.inputs, *settings.hidden, net.outputs)
    lines.append(
        f"network: {'-'.join(map(str, widths))}, {options.activation}, {net.parameter_count} parameters, {net.dtype}"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _report(problem: Problem, settings: Settings, outcome: Outcome, options: argparse.Namespace) -> dict[str, Any]:
    model, history, scores = outcome.model, outcome.history, outcome.scores
    optimizer, backend = settings.optimizer(), backends.get_backend()
    report: dict[str, Any] = {
        **{f"test_{key}": value for key, value in scores.items()},
        "train_loss": history.loss[-1],
        "train_losses": history.loss,
        "validation_losses": history.validation_loss,
        "best_epoch": int(np.argmin(history.validation_loss)) + 1 if history.validation_loss else None,
        "seconds_per_step": None, "numpy_seconds_per_step": None, "ratio": None,
        "backend": backend,
        "instruction_set": runtime.instruction_set if backend == "native" else None,
        "threads": runtime.get_num_threads(),
        "numpy_threads": None, "numpy_blas": None,
        "epochs": history.epochs, "steps": history.steps, "training_seconds": history.seconds,
        "data": problem.source,
        "task": model.target.task, "labels": list(model.target.labels), "chosen": problem.chosen, "why": problem.why,
        "rows_without_label": problem.left_out,
        "columns": [] if options.data is None else [
            {"name": one.name, "kind": one.kind, "inputs": len(one.features), "done": one.told()}
            for one in model.plan.entries
        ],
        **{f"{name}_rows": outcome.rows[name] for name in ("train", "validation", "test")},
        "layers": [model.net.inputs, *settings.hidden, model.net.outputs],
        "parameters": model.net.parameter_count,
        "activation": str(options.activation), "dtype": str(model.net.dtype),
        "optimizer": type(optimizer).__name__, "lr": optimizer.lr, "momentum": getattr(optimizer, "momentum", None),
        "batch_size": outcome.batch_size, "seed": options.seed,
        "saved": None if options.save is None else str(options.save),
        "repeat": repeated(problem, options),
    }  # fmt: skip
    if model.target.task == "regression" and len(outcome.tested):
        report["largest_errors"] = largest_errors(
            problem.table, outcome.tested, model.target, outcome.true, outcome.predicted
        )
    return report


def repeated(problem: Problem, options: argparse.Namespace) -> str:
    """The command line that repeats a run, with what was found by itself spelled out."""
    from . import command_parser

    given = vars(options) | {"json": False, "config": None, "resume": None}
    if options.data is not None:
        labels = [] if problem.table.labels else list(problem.target.labels)
        given |= {"label": labels, "task": problem.target.task}
    parts = ["fastact", "train"]
    for action in command_parser("train")._actions:
        value = given.get(action.dest)
        if (
            not action.option_strings
            or action.dest == "help"
            or value in (None, [], False)
            or _spelled(value) == _spelled(action.default)
        ):
            continue
        for one in value if isinstance(value, list) else [value]:
            parts.append(action.option_strings[0])
            parts += [] if one is True else [_spelled(one)]
    return shlex.join(parts)


def _spelled(value: Any) -> str:
    """An option's value as it is given."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, functools.partial):
        return _with_parameters(value.func.__name__, value.keywords)
    if isinstance(value, Epilogue):
        return _with_parameters(value.name, value.parameters)
    return str(value)


def _with_parameters(name: str, parameters: Mapping[str, float]) -> str:
    return f"{name}:{','.join(f'{key}={value!r}' for key, value in parameters.items())}" if parameters else name


# --------------------------------------------------------------------------------------------------------------- timing


def _timed(problem: Problem, options: argparse.Namespace) -> bool:
    """Whether the step written by hand in NumPy is the same as ours."""
    plain = not (options.dropout or options.batch_norm or options.weight_decay or options.class_weight)
    return problem.plan is not None and plain and options.optimizer in (None, "sgd")


def _times(outcome: Outcome, problem: Problem, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a training step: the library's, and by hand in NumPy."""
    settings, net, rows = _settings(options), outcome.model.net, outcome.batch_size
    train, _ = problem.split(np.arange(problem.table.rows), HELD_OUT)
    x = outcome.model.plan.apply(problem.table.take(train), net.dtype)
    y = problem.true[train]
    starts = range(0, min(len(x) - rows, 15 * rows) + 1, rows)
    rate, momentum = options.lr or SGD_RATE, 0.9 if options.momentum is None else options.momentum
    fresh = functools.partial(settings.network, net.inputs, net.outputs, options.seed)
    by_hand = NumpyStep(fresh(), options.activation, rows, rate, momentum)
    batches = [(x[start : start + rows], y[start : start + rows]) for start in starts]
    ours, theirs = time_in_turns(library_step(fresh(), settings.optimizer()), by_hand, batches)
    return {"seconds_per_step": ours, "numpy_seconds_per_step": theirs, "ratio": theirs / ours}


# --------------------------------------------------------------------------------------------------------------- output


def _text(problem: Problem, outcome: Outcome, report: dict[str, Any]) -> str:
    text = ""
    for name in ("folds", "seeds"):
        for key, found in report.get(name, {}).items():
            each = ", ".join(f"{value:.4f}" for value in found["each"])
            about = f"{key} of {len(found['each'])} {name}"
            text += f"{about:<24}{found['mean']:.4f} +- {found['deviation']:.4f}  ({each})\n"
    target = outcome.model.target
    if outcome.scores:
        text += words.scores_text(target, outcome.scores)
    if report.get("largest_errors"):
        text += words.errors_text(report["largest_errors"])
    if "importance" in report:
        text += words.importance_text(report["importance"], main_score(outcome.scores)[0])
    if report["ratio"] is not None:
        text += _times_text(report)
    if report.get("pictures"):
        text += f"drawn           {', '.join(report['pictures'])}\n"
    if report["saved"] is not None:
        text += f"saved           {report['saved']}\n"
    return text if problem.plan is not None else f"{text}again           {report['repeat']}\n"


def _times_text(report: dict[str, Any]) -> str:
    kernels = ", ".join(filter(None, (report["backend"], report["instruction_set"])))
    return (
        f"time per step   {1e3 * report['seconds_per_step']:.3f} ms  ({kernels}, {report['threads']} threads)\n"
        f"NumPy by hand   {1e3 * report['numpy_seconds_per_step']:.3f} ms  "
        f"(the same step, in place; {report['numpy_blas']}, {report['numpy_threads'] or 'default'} threads)\n"
        f"ratio           {report['ratio']:.2f}\n"
    )
