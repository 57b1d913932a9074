"""``fastact export``: a saved model as an ONNX file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..files import to_json
from ..interop import onnx
from ..network import Sequential
from ..persistence import load
from .model import Model
from .options import CommandError, add_json, check_writable, parse_whole, print_json, user_errors


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a model as an ONNX file, which other runtimes read. One that fastact train --save wrote takes numbers "
        "as they are, and columns of 0 and 1 for the values of categories, and gives label and probabilities, or "
        "numbers; the metadata 'features' name its columns. Another network is written by itself."
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the saved model")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write it (.onnx)")
    parser.add_argument("--opset", type=parse_whole(1), metavar="N", help="version of ONNX's operators (20)")
    parser.add_argument(
        "--float64", action="store_true", help="take features in double, for numbers that float32 does not tell apart"
    )
    parser.add_argument(
        "--zipmap", action="store_true", help="probabilities as maps of classes, as skl2onnx gives them"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    check_writable("--out", options.out, ".onnx")
    with user_errors():
        net = load(options.model)
        if not isinstance(net, Sequential):
            raise CommandError(f"{options.model} holds the networks {', '.join(net)}; save one by itself")
        scaling, classes = None, None
        if "task" in net.metadata:
            trained = Model.of(options.model, net)
            scaling, classes = trained.plan.scaling, trained.target.classes or None
            net = _in_units(trained)
        model = onnx.export(
            net, options.out, opset=options.opset, scaling=scaling, classes=classes, zipmap=options.zipmap,
            input_dtype="float64" if options.float64 else None,
        )  # fmt: skip
    report = {
        "model": str(options.model),
        "output": str(options.out),
        "opset": model.opset_import[0].version,
        "inputs": [one.name for one in model.graph.input],
        "outputs": [one.name for one in model.graph.output],
        "bytes": options.out.stat().st_size,
    }
    if options.json:
        print_json(report)
    else:
        sys.stdout.write(
            f"{options.out}: {', '.join(report['inputs'])} to {', '.join(report['outputs'])}, {report['bytes']} bytes\n"
        )
    return 0


def _in_units(trained: Model) -> Sequential:
    """The network, which for numbers says them in the user's units; its metadata are what the file's reader needs."""
    net, target = trained.net, trained.target
    facts: dict[str, Any] = {
        "features": trained.plan.features,
        "label": target.labels[0] if target.classes else target.labels,
    }
    if target.classes:
        facts["classes"] = target.classes
    else:
        last = net.layers[-1].parameters
        last["weight"] *= np.array(target.scale, net.dtype)
        last["bias"][...] = last["bias"] * np.array(target.scale) + np.array(target.mean)
    net.metadata = {key: to_json(value) for key, value in facts.items()}
    return net
