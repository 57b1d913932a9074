"""``fastact evaluate``: how well a saved model predicts a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import words
from .command_predict import tested
from .experiment import read_file
from .model import Model
from .options import CommandError, add_json, add_reading, print_json, user_errors


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicts a table with a model that fastact train --save wrote, and prints how good that is: accuracy, "
        "confusion matrix, precision and recall of classes; R2 and errors of numbers, beside those of predicting "
        "the mean of the rows trained on. Rows without a value to compare with are left out."
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the saved model")
    parser.add_argument("--data", required=True, metavar="FILE", help="a file as for train, or - for standard input")
    add_reading(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    model = Model.load(options.model)
    with user_errors():
        table = read_file(options)
        predicted = model.target.predicted(model.outputs(table))
        strange = model.plan.strange(table)
    scores = tested(model, table, predicted)
    if scores is None:
        raise CommandError(
            f"{table.source}: expected values of {', '.join(map(repr, model.target.labels))} to compare with; without "
            "them use fastact predict"
        )
    if options.json:
        print_json({"data": table.source, "task": model.target.task, **scores, "strange": strange})
        return 0
    sys.stdout.write(f"{table.source}: {scores['rows']} of {table.rows} rows have a value to compare with\n")
    sys.stdout.write(words.scores_text(model.target, scores, "all"))
    sys.stderr.write(words.strange_text(strange))
    return 0
