"""``fastact compare``: one network, many activations."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm.auto import tqdm

from .. import backends, functional, plot, runtime
from ..epilogues import Epilogue
from ..examples import comparison
from ..files import write_atomically
from ..registry import ACTIVATIONS
from .options import (
    CommandError,
    add_json_file,
    add_training,
    check_writable,
    chosen_backend,
    json_file,
    parse_activation,
    parse_positive,
    parse_whole,
    print_json,
    user_errors,
)


def _parse_activations(text: str) -> list[Epilogue]:
    """Activations separated by commas; a comma before name=value goes on with the parameters of the last one."""
    parts: list[str] = []
    for part in text.split(","):
        if "=" in part and ":" not in part and parts:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return [parse_activation(part.strip()) for part in parts]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Trains the same dense network (softmax cross-entropy, SGD with momentum, float32) on four fifths of the "
        "bundled digits with each activation and several seeds. Prints test accuracy (mean and standard deviation over "
        "seeds), epochs until the training error was at most the threshold (median), dead and saturated hidden units, "
        "small slopes and exact zeros among their outputs after training, and the time of a training step."
    )
    parser.add_argument(
        "--activations", type=_parse_activations, metavar="A,B", help="which ones, as in relu,elu:alpha=0.5 (all)"
    )
    parser.add_argument("--seeds", type=parse_whole(1), default=5, metavar="N", help="trainings of each (5)")
    add_training(parser, (128,), 20, "hidden layers, at least one (128)")
    parser.add_argument(
        "--threshold",
        type=parse_positive,
        default=0.01,
        metavar="E",
        help="training error that counts as reached (0.01)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the result there (.png, .svg or .pdf)")
    add_json_file(parser, "write the results to")


def run(options: argparse.Namespace) -> int:
    if not options.hidden:
        raise CommandError("--hidden none: expected at least one hidden layer, the activation's place")
    file = json_file(options)
    if options.plot is not None:
        check_writable("--plot", options.plot, *plot.ENDINGS)
        with user_errors():
            plot.check()  # before the work
    settings = {
        name: getattr(options, name) for name in ("seeds", "epochs", "batch_size", "lr", "momentum", "threshold")
    }
    activations = options.activations or [functional.activation(name) for name in ACTIVATIONS]
    total = len(activations) * options.seeds * options.epochs
    results = []
    # disable=None: draws where there is a terminal
    with (
        chosen_backend(options),
        tqdm(total=total, unit="epoch", desc="compare", leave=False, disable=None) as bar,
        user_errors(),
    ):
        for activation in activations:
            bar.set_postfix_str(str(activation))
            results += comparison.compare_activations(
                [activation], hidden=options.hidden, progress=bar.update, **settings
            )
        report = {
            "layers": [64, *options.hidden, 10],
            **settings,
            "backend": backends.get_backend(),
            "threads": runtime.get_num_threads(),
            "results": [result.as_dict() for result in results],
        }
    with user_errors():
        if options.plot is not None:
            plot.write(plot.comparison(report["results"]), options.plot)
        if file is not None:
            write_atomically(file, (json.dumps(report, allow_nan=False, indent=1) + "\n").encode())
    if options.json == "-":
        print_json(report)
        return 0
    sys.stdout.write(
        f"digits, {'-'.join(map(str, report['layers']))}, {options.epochs} epochs, {options.seeds} seeds; epochs to a "
        f"training error of {100 * options.threshold:g} %\n{comparison.table(results)}\n"
    )
    return 0
