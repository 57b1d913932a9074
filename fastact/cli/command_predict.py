"""``fastact predict``: label the rows of a table with a saved model."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np

from .. import functional, training
from ..data.tables import Table, read_table
from ..files import write_atomically
from ..network import Sequential
from ..persistence import load
from .classifier import Classifier
from .options import CommandError, add_json, check_writable, print_json, user_errors


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicts with a model that fastact train --save wrote: prints one label a line, or with --json labels and "
        "probabilities. Where the data hold labels too, says how many were right."
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the saved model")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="a .npz or .csv file, as for train")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write labels and probabilities there (.csv)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    if options.output is not None:
        check_writable("--output", options.output, ".csv")
    with user_errors():
        net = load(options.model)
        if not isinstance(net, Sequential):
            raise ValueError(f"predict: {options.model} holds the networks {', '.join(net)}; save one by itself")
    try:
        classifier = Classifier.read(net.metadata, net.inputs, net.outputs)
    except (KeyError, ValueError, TypeError) as error:
        raise CommandError(f"{options.model}: expected a model saved by fastact train, got another network") from error
    with user_errors():
        table = read_table(options.data, features=net.inputs, label=classifier.label)
    _check_names(options.data, table, classifier)
    logits = training.predict(net, classifier.scaled(str(options.data), table.features)).astype(np.float64)
    probabilities = functional.softmax(logits).tolist()
    labels = [classifier.classes[i] for i in logits.argmax(axis=1)]
    accuracy = None
    if table.labels is not None:
        accuracy = float(np.mean([str(a) == str(b) for a, b in zip(labels, table.labels.tolist(), strict=True)]))
    if options.output is not None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["label", *(f"probability {name}" for name in classifier.classes)])
        writer.writerows([label, *row] for label, row in zip(labels, probabilities, strict=True))
        with user_errors():
            write_atomically(options.output, text.getvalue().encode())
    if options.json:
        print_json(
            {
                "labels": labels,
                "probabilities": probabilities,
                "classes": classifier.classes,
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


def _check_names(file: Path, table: Table, classifier: Classifier) -> None:
    """The table's features must be the model's, in its order, where both have names."""
    if classifier.features is None or table.names is None:
        return
    for i, (got, expected) in enumerate(zip(table.names, classifier.features, strict=True)):
        if got != expected:
            raise CommandError(
                f"{file}: expected the model's features in its order; feature {i + 1} should be {expected!r}, "
                f"got {got!r}"
            )
