"""``fastact predict``: predict the rows of a table with a saved model."""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..data.columns import Dropped
from ..data.tables import Table, Text, shown
from ..files import write_atomically
from . import words
from .experiment import measured, read_file
from .model import Model, probabilities
from .options import add_json, add_reading, check_writable, print_json, user_errors


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicts with a model that fastact train --save wrote: prints one class or number a line. Columns are found "
        "by their names, or by their places where a file has none. Where the data hold what is predicted too, says how "
        "many were right; cells that are not as those trained on are counted on standard error."
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the saved model")
    parser.add_argument("--data", required=True, metavar="FILE", help="a file as for train, or - for standard input")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write predictions and probabilities there (.csv)")
    parser.add_argument("--keep", action="store_true", help="write all columns of the data before them")
    parser.add_argument("--proba", action="store_true", help="print the probabilities of the classes too, as CSV")
    add_reading(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    if options.output is not None:
        check_writable("--output", options.output, ".csv")
    model = Model.load(options.model)
    target = model.target
    with user_errors():
        table = read_file(options)
        outputs = model.outputs(table)
        strange = model.plan.strange(table)
    predicted = target.predicted(outputs)
    chances = probabilities(outputs) if target.task == "classification" else None
    names, rows = _lines(model, predicted, chances)
    scores = tested(model, table, predicted)
    if options.output is not None:
        with user_errors():
            write_atomically(options.output, _csv(names, rows, table if options.keep else None).encode())
    if options.json:
        print_json(_report(model, options, predicted, chances, scores, strange))
        return 0
    if options.output is not None:
        sys.stdout.write(f"{options.output}: {table.rows} rows\n")
    elif options.proba or options.keep:
        shown_names = names if options.proba else names[: len(target.labels)]
        sys.stdout.write(_csv(shown_names, [row[: len(shown_names)] for row in rows], table if options.keep else None))
    else:
        sys.stdout.writelines(",".join(map(_cell, row[: len(target.labels)])) + "\n" for row in rows)
    sys.stderr.write(words.strange_text(strange) + _score_line(scores))
    return 0


def tested(model: Model, table: Table, predicted: np.ndarray) -> dict[str, Any] | None:
    """How good predictions are, where the table says what is true; of the rows in which it does."""
    names = model.target.found_in(table, _used(model, table))
    if names is None:
        return None
    with user_errors():
        rows = model.target.known(table, names)
        true = model.target.numbers(table, names)[rows]
    return {"rows": len(rows), **measured(model.target, true, predicted[rows])} if len(rows) else None


def _used(model: Model, table: Table) -> set[str]:
    """Names, in the table, of the columns that the model has inputs from."""
    if model.plan.named and table.named:
        return {entry.name for entry in model.plan.entries}
    others = [name for name in table.columns if name not in table.labels]
    return set(others[: len(model.plan.entries)])


def _lines(model: Model, predicted: np.ndarray, chances: np.ndarray | None) -> tuple[list[str], list[list[Any]]]:
    """Names of what is written, and it, a row a row."""
    rows = model.shown(predicted)
    if chances is None:
        return list(model.target.labels), rows
    names = ["label", *(f"probability {name}" for name in model.target.classes)]
    return names, [[*row, *each] for row, each in zip(rows, chances.tolist(), strict=True)]


def _cell(value: Any) -> str:
    return shown(value) if isinstance(value, float) else str(value)


def _csv(names: list[str], rows: list[list[Any]], table: Table | None) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if table is None:
        writer.writerow(names)
        writer.writerows([_cell(value) for value in row] for row in rows)
        return text.getvalue()
    given = set(table.columns)
    writer.writerow([*table.columns, *(f"predicted {name}" if name in given else name for name in names)])
    for before, row in zip(_cells(table), rows, strict=True):
        writer.writerow([*before, *map(_cell, row)])
    return text.getvalue()


def _cells(table: Table) -> Iterator[list[str]]:
    """The table's rows as texts; what is missing is empty."""
    columns = []
    for column in table.columns.values():
        if isinstance(column, Text):
            columns.append([text or "" for text in column.texts()])
        else:
            columns.append(["" if math.isnan(value) else shown(value) for value in column.tolist()])
    return map(list, zip(*columns, strict=True))


def _score_line(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return ""
    if "accuracy" in scores:
        return f"accuracy {100 * scores['accuracy']:.2f} % of {scores['rows']} labelled rows\n"
    each = scores["targets"]
    said = [f"{name}: R2 {one['r2']:.4f}, MAE {one['mae']:.5g}, RMSE {one['rmse']:.5g}" for name, one in each.items()]
    return f"{'; '.join(said)} ({scores['rows']} labelled rows)\n"


def _report(
    model: Model,
    options: argparse.Namespace,
    predicted: np.ndarray,
    chances: np.ndarray | None,
    scores: dict[str, Any] | None,
    strange: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """What ``--json`` prints."""
    report: dict[str, Any] = {
        "rows": len(predicted),
        "output": None if options.output is None else str(options.output),
        "strange": strange,
        "dropped": [entry.name for entry in model.plan.entries if isinstance(entry, Dropped)],
        "scores": scores,
    }
    if chances is None:
        columns = zip(model.target.labels, predicted.T.tolist(), strict=True)
        return {"predictions": dict(columns), **report}
    labels = [row[0] for row in model.shown(predicted)]
    accuracy = None if scores is None else scores["accuracy"]
    classes = list(model.target.classes)
    return {"labels": labels, "probabilities": chances.tolist(), "classes": classes, "accuracy": accuracy, **report}
