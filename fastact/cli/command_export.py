"""``fastact export``: a saved model as an ONNX file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..interop import onnx
from ..network import Sequential
from ..persistence import load
from .classifier import Classifier
from .options import CommandError, add_json, check_writable, parse_whole, print_json, user_errors


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a model as an ONNX file, which other runtimes read. One that fastact train --save wrote takes the "
        "table's features as they are and gives label and probabilities; another network is written by itself."
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
            try:
                classifier = Classifier.read(net.metadata, net.inputs, net.outputs)
            except (KeyError, ValueError, TypeError) as error:
                raise CommandError(f"{options.model}: its metadata are not those of fastact train") from error
            scaling, classes = (classifier.mean, classifier.scale), classifier.classes
            net.metadata = {key: net.metadata[key] for key in ("classes", "features", "label")}
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
