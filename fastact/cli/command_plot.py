"""``fastact plot``: figures of activations, trainings and comparisons."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .. import plot
from ..registry import ACTIVATIONS, LEARNED
from .options import CommandError, add_json, check_writable, parse_any_activation, parse_number, print_json, user_errors


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draws activations and their slopes, or with --from what fastact compare --json or fastact train --json "
        "wrote. Needs matplotlib: pip install fastact[plot]."
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=parse_any_activation,
        metavar="NAME",
        help="activations, as in relu, elu:alpha=0.5 or maxout:pieces=3 (all but maxout, a panel each)",
    )
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="draw the results in this JSON file")
    parser.add_argument("--low", type=parse_number, default=-6.0, metavar="X", help="smallest input drawn (-6)")
    parser.add_argument("--high", type=parse_number, default=6.0, metavar="X", help="largest input drawn (6)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture (.png, .svg or .pdf)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    check_writable("--out", options.out, *plot.ENDINGS)
    if options.source is not None and options.names:
        raise CommandError("give names of activations or --from FILE, not both")
    with user_errors():
        if options.source is not None:
            figure = plot.content(_read_json(options.source), options.source.name)
        else:
            figure = plot.activations(options.names or [*ACTIVATIONS, *LEARNED], options.low, options.high)
        plot.write(figure, options.out)
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
