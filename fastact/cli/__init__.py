"""The command line: ``fastact train``, ``predict``, ``examples``, ``info`` and others, each with ``--json``.

A command is a function of the parsed options that returns the exit code, a function that adds its options to a parser,
and a row in ``COMMANDS``. Mistakes in what the user gave are ``CommandError``: one line on standard error, exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from .. import backends, functional, registry, runtime
from .._version import __version__
from ..epilogues import FixedActivation as BoundActivation
from ..epilogues import LearnedActivation as BoundLearned
from .options import (
    CommandError,
    activation,
    check_writable,
    elementwise,
    hidden,
    momentum,
    number,
    print_json,
    rate,
    told,
    whole,
)
from .train_command import predict, predict_options, train, train_options

__all__ = ["main"]

# ---------------------------------------------------------------------------------------------------------------- info


def info(options: argparse.Namespace) -> int:
    """``fastact info``: what is installed and in use."""
    if options.json:
        print_json(runtime.config())
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
    parser.add_argument("--points", type=whole(30), default=3000, metavar="N", help="float64 inputs (3000)")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE",
        help="merge the results into FILE, or without FILE print exactly one JSON object on standard output",
    )  # fmt: skip


def accuracy(options: argparse.Namespace) -> int:
    """``fastact accuracy``: measure the kernels in use."""
    from tqdm.auto import tqdm  # disable=None: draws where there is a terminal

    from ..measure.accuracy import measure, write_results

    for name in options.names:
        if name not in registry.ACTIVATIONS:
            raise CommandError(f"unknown activation {name!r}; known: {', '.join(sorted(registry.ACTIVATIONS))}")
    if options.json not in (None, "-"):
        check_writable("--json", Path(options.json), ".json")
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
            about = f"{name} {dtype}"
            bar = tqdm(total=total, desc=about, unit="input", unit_scale=True, leave=False, disable=None)
            with told(), bar:
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
        print_json({f"{r.name} {r.dtype}": r.as_dict() for r in results})
    elif options.json:
        write_results(results, Path(options.json))
    return 0


# ------------------------------------------------------------------------------------------------------------ examples


def _examples_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Computes the worked examples of the lectures on activation functions and backpropagation with fastact's "
        "public functions, and prints what the lecture says, what comes out, and whether the two agree: within one "
        "unit of the last printed digit. The exit code is 1 where one does not."
    )
    parser.add_argument("numbers", nargs="*", type=whole(1), metavar="NUMBER", help="which ones (all)")
    parser.add_argument("--backend", choices=backends.BACKENDS, help="compiled kernels, or their NumPy twins")


def examples(options: argparse.Namespace) -> int:
    """``fastact examples``: the lectures' numbers, and ours."""
    from ..examples import lectures

    for wanted in options.numbers:
        if wanted not in lectures.EXAMPLES:
            raise CommandError(f"there is no example {wanted}; they are 1 to {max(lectures.EXAMPLES)}")
    shown, all_agree = [], True
    with ExitStack() as stack:
        if options.backend is not None:
            with told():
                stack.enter_context(backends.use_backend(options.backend))
        for n in options.numbers or lectures.EXAMPLES:
            title, rows = lectures.run(n)
            good = all(row.agrees is not False for row in rows)
            all_agree &= good
            if options.json:
                shown.append({"number": n, "title": title, "agrees": good, "rows": [asdict(row) for row in rows]})
            else:
                sys.stdout.write(f"{n}. {title}\n{lectures.text(rows)}\n\n")
                sys.stdout.flush()
    if options.json:
        print_json({"examples": shown, "agrees": all_agree})
    return 0 if all_agree else 1


# ------------------------------------------------------------------------------------------------------------- compare


def _activations(text: str) -> list[BoundActivation | BoundLearned]:
    """Names, with parameters if wanted, separated by commas; a comma before name=value goes on with parameters."""
    parts: list[str] = []
    for part in text.split(","):
        if "=" in part and ":" not in part and parts:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return [activation(part.strip()) for part in parts]


def _compare_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains the same dense network (softmax cross-entropy, SGD with momentum, float32) on four fifths of the "
        "bundled digits with each activation and several seeds. Prints test accuracy (mean and standard deviation over "
        "seeds), epochs until the training error was at most the threshold (median), dead and saturated hidden units, "
        "small slopes and exact zeros among their outputs after training, and the time of a training step."
    )
    parser.add_argument(
        "--activations", type=_activations, metavar="A,B", help="which ones, as in relu,elu:alpha=0.5 (all)"
    )
    parser.add_argument("--seeds", type=whole(1), default=5, metavar="N", help="trainings of each (5)")
    parser.add_argument("--epochs", type=whole(1), default=20, metavar="N", help="passes over the data (20)")
    parser.add_argument(
        "--hidden", type=hidden, default=(128,), metavar="N,N", help="hidden layers, at least one (128)"
    )
    parser.add_argument("--batch-size", type=whole(1), default=64, metavar="N", help="rows per step (64)")
    parser.add_argument("--lr", type=rate, default=0.1, metavar="RATE", help="learning rate (0.1)")
    parser.add_argument("--momentum", type=momentum, default=0.9, metavar="M", help="momentum of SGD (0.9)")
    parser.add_argument(
        "--threshold", type=rate, default=0.01, metavar="E", help="training error that counts as reached (0.01)"
    )
    parser.add_argument("--backend", choices=backends.BACKENDS, help="compiled kernels, or their NumPy twins")
    parser.add_argument("--threads", type=whole(1), metavar="N", help="threads for large arrays")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the result there (.png, .svg or .pdf)")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE",
        help="write the results to FILE, or without FILE print exactly one JSON object on standard output",
    )  # fmt: skip


def compare(options: argparse.Namespace) -> int:
    """``fastact compare``: one network, many activations."""
    from tqdm.auto import tqdm  # disable=None: draws where there is a terminal

    from .. import plot as drawing
    from ..examples import comparison as comparing
    from ..files import write_atomically

    if not options.hidden:
        raise CommandError("--hidden none: expected at least one hidden layer, the activation's place")
    if options.json not in (None, "-"):
        check_writable("--json", Path(options.json), ".json")
    if options.plot is not None:
        check_writable("--plot", options.plot, *drawing.ENDINGS)
        with told():
            drawing.check()  # before the work
    chosen = options.activations or [functional.activation(name) for name in registry.ACTIVATIONS]
    with ExitStack() as stack:
        with told():
            if options.backend is not None:
                stack.enter_context(backends.use_backend(options.backend))
            if options.threads is not None:
                stack.enter_context(runtime.num_threads(options.threads))
        total = len(chosen) * options.seeds * options.epochs
        bar = stack.enter_context(tqdm(total=total, unit="epoch", desc="compare", leave=False, disable=None))
        results = []
        with told():
            for bound in chosen:
                bar.set_postfix_str(str(bound))
                results += comparing.compare(
                    [bound],
                    seeds=options.seeds,
                    epochs=options.epochs,
                    hidden=options.hidden,
                    batch_size=options.batch_size,
                    lr=options.lr,
                    momentum=options.momentum,
                    threshold=options.threshold,
                    progress=bar.update,
                )
        settings = {
            "layers": [64, *options.hidden, 10],
            "seeds": options.seeds,
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "lr": options.lr,
            "momentum": options.momentum,
            "threshold": options.threshold,
            "backend": backends.get_backend(),
            "threads": runtime.get_num_threads(),
        }
    report = {**settings, "results": [result.as_dict() for result in results]}
    with told():
        if options.plot is not None:
            drawing.write(drawing.comparison(report["results"]), options.plot)
        if options.json not in (None, "-"):
            write_atomically(Path(options.json), (json.dumps(report, allow_nan=False, indent=1) + "\n").encode())
    if options.json == "-":
        print_json(report)
    else:
        layers = "-".join(map(str, settings["layers"]))
        sys.stdout.write(
            f"digits, {layers}, {options.epochs} epochs, {options.seeds} seeds; epochs to a training error of "
            f"{100 * options.threshold:g} %\n{comparing.table(results)}\n"
        )
    return 0


# ---------------------------------------------------------------------------------------------------------------- plot


def _plot_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draws activations and their slopes, or with --from what fastact compare --json or fastact train --json "
        "wrote. Needs matplotlib: pip install fastact[plot]."
    )
    parser.add_argument(
        "names", nargs="*", type=elementwise, metavar="NAME", help="activations, as in relu or elu:alpha=0.5 (all)"
    )
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="draw the results in this JSON file")
    parser.add_argument("--low", type=number, default=-6.0, metavar="X", help="smallest input drawn (-6)")
    parser.add_argument("--high", type=number, default=6.0, metavar="X", help="largest input drawn (6)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture (.png, .svg or .pdf)")


def plot(options: argparse.Namespace) -> int:
    """``fastact plot``: figures of activations, trainings and comparisons."""
    from .. import plot as drawing

    check_writable("--out", options.out, *drawing.ENDINGS)
    if options.source is not None and options.names:
        raise CommandError("give names of activations or --from FILE, not both")
    with told():
        if options.source is not None:
            figure = drawing.content(_read_json(options.source), options.source.name)
        else:
            chosen = options.names or [functional.activation(name) for name in registry.ACTIVATIONS]
            figure = drawing.activations(chosen, options.low, options.high)
        drawing.write(figure, options.out)
    if options.json:
        print_json({"out": str(options.out), "axes": len(figure.axes)})
    else:
        sys.stdout.write(f"{options.out}\n")
    return 0


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CommandError(f"{path}: expected JSON ({error})") from error


# ---------------------------------------------------------------------------------------------------------------- main


@dataclass(frozen=True)
class Command:
    """A command: what it does, which options it takes, and its line in the help."""

    run: Callable[[argparse.Namespace], int]
    options: Callable[[argparse.ArgumentParser], None] | None
    help: str
    json: bool = True  # whether --json is the plain switch; else the command's options define it


COMMANDS = {
    "train": Command(train, train_options, "train a classifier on a table or on the bundled digits"),
    "predict": Command(predict, predict_options, "label a table with a saved model"),
    "examples": Command(examples, _examples_options, "compute the lectures' worked examples"),
    "compare": Command(compare, _compare_options, "train one network with each activation", json=False),
    "plot": Command(plot, _plot_options, "draw activations, trainings and comparisons"),
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
