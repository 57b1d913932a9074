"""``fastact info``: what is installed and in use; with a model, what it holds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import runtime
from . import words
from .model import Model
from .options import add_json, print_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", help="a model that fastact train --save wrote")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    if options.model is not None:
        _model(Model.load(options.model), options)
    elif options.json:
        print_json(runtime.config())
    else:
        runtime.show_config()
    return 0


def _model(model: Model, options: argparse.Namespace) -> None:
    """What a model does to the columns of a table, and what it predicts."""
    if options.json:
        about = {"plan": model.plan.to_json(), "target": model.target.to_json(), "inputs": model.plan.features}
        print_json({**about, "layers": [repr(layer) for layer in model.net.layers]})
        return
    sys.stdout.write(
        f"{options.model}: predicts {words.predicts(model.target)}\n{words.plan_text(model.plan, everything=True)}"
        f"{model.net.summary()}\n"
    )
