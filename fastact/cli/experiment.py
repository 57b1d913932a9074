"""A table, a network for it, and how well it does on rows that it has not seen."""

from __future__ import annotations

import argparse
import functools
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import losses, optim, training
from ..data.columns import Number, Plan
from ..data.reading import read_table
from ..data.tables import Table, load_digits, split_rows
from ..data.targets import Target, choose_labels, split_names
from ..diagnostics import predictions
from ..layers import Activation, BatchNorm, Dense, Dropout, Layer
from ..network import Sequential
from ..wording import TrainingWarning
from .model import DTYPE, Model, groups
from .options import CommandError, user_errors

#: Which rows are held out never depends on --seed, so that runs differ in training alone.
SPLIT_SEED = 1998
FEW_ROWS = 40  # to train on, below which none of them are set apart to stop by
STEPS = 40_000  # of a training, where the number of epochs is not given
Rows = np.ndarray


@dataclass(frozen=True)
class Problem:
    """A table of rows whose target is known, what that is, and how columns are to be taken."""

    source: str
    table: Table
    target: Target
    chosen: str  # how the label was chosen,
    why: str  # and the task, in words
    left_out: int = 0  # rows without a value to predict
    columns: Mapping[str, Any] = field(default_factory=dict)  # for ``Plan.decide``
    plan: Plan | None = None  # where it is known beforehand

    @classmethod
    def digits(cls) -> Problem:
        """The bundled digits; pixels are 0 to 16."""
        x, y = load_digits()
        names = [f"pixel {j + 1}" for j in range(x.shape[1])]
        columns: dict[str, Any] = {name: x[:, j].astype(np.float64) for j, name in enumerate(names)}
        plan = Plan(tuple(Number(name, 0.0, 16.0, 0.0, 0) for name in names), named=False)
        table = Table("digits", columns | {"digit": y.astype(np.float64)}, named=False, labels=("digit",))
        target = Target("classification", ("digit",), tuple(range(10)))
        return cls("digits", table, target, "", "", plan=plan)

    @classmethod
    def read(cls, options: argparse.Namespace) -> Problem:
        """What ``--data`` and the options beside it say."""
        if options.data is None:
            if options.label:
                raise CommandError("--label NAME goes with --data FILE")
            return cls.digits()
        with user_errors():
            table = read_file(options)
            labels, chosen = choose_labels(table, options.label)
            target, rows, why = Target.decide(table, labels, None if options.task == "auto" else options.task)
            named = {key: split_names(table, getattr(options, key)) for key in ("drop", "numeric", "categorical")}
            day_first = {"day-first": True, "month-first": False, None: None}[options.dates]
            columns = {**named, "without": labels, "day_first": day_first}
            known = table if len(rows) == table.rows else table.take(rows)
            return cls(table.source, known, target, chosen, why, table.rows - len(rows), columns)

    @functools.cached_property
    def true(self) -> np.ndarray:
        """What is to be predicted: class numbers, or numbers."""
        with user_errors():
            return self.target.numbers(self.table)

    def split(self, rows: Rows, fraction: float, seed: int = SPLIT_SEED) -> tuple[Rows, Rows]:
        """Those rows without a random fraction of them (of each class), and the fraction."""
        labels = self.true[rows] if self.target.task == "classification" else len(rows)
        stay, out = split_rows(labels, seed, fraction)
        return rows[stay], rows[out]

    def folds(self, count: int) -> list[tuple[Rows, Rows]]:
        """(rows to train on, rows to test on), so that each row is tested on once, each class in all folds alike."""
        rows = self.table.rows
        if count > rows // 2:
            raise CommandError(f"--cv {count}: expected at most half as many folds as rows, got {rows} rows")
        order = np.random.default_rng(SPLIT_SEED).permutation(rows)
        if self.target.task == "classification":
            order = order[np.argsort(self.true[order], kind="stable")]
        number = np.empty(rows, np.int64)
        number[order] = np.arange(rows) % count
        return [(np.flatnonzero(number != k), np.flatnonzero(number == k)) for k in range(count)]


def read_file(options: argparse.Namespace) -> Table:
    """The table of ``--data``, as the options of ``add_reading`` say."""
    return read_table(
        options.data, encoding=options.encoding, delimiter=options.delimiter, header=options.header,
        decimal=options.decimal,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Settings:
    """How to train, with what was not given filled in."""

    hidden: tuple[int, ...]
    activation: Any
    dropout: float
    batch_norm: bool
    loss: Any  # a name, or a function
    optimizer: Callable[[], optim.Optimizer]
    epochs: int | None
    batch_size: int | None
    validation: float
    patience: int
    balanced: bool
    checkpoint: Path | None
    resume: Path | None

    def network(self, inputs: int, outputs: int, seed: int) -> Sequential:
        """A new one."""
        layers: list[Layer] = []
        for width, size in zip((inputs, *self.hidden), self.hidden, strict=False):
            if self.batch_norm:
                layers += [Dense(width, size), BatchNorm(), Activation(self.activation)]
            else:
                layers.append(Dense(width, size, activation=self.activation))
            if self.dropout:
                layers.append(Dropout(self.dropout))
        return Sequential(*layers, Dense((inputs, *self.hidden)[-1], outputs), dtype=DTYPE, rng=seed)

    def batch(self, rows: int) -> int:
        """Rows a step."""
        size = self.batch_size or (32 if rows < 2000 else 64 if rows < 20_000 else 256)
        size = min(size, rows)
        while self.batch_norm and rows % size == 1 and size > 2:  # which takes no batch of one row
            size -= 1
        return size

    def passes(self, rows: int) -> int:
        """Epochs."""
        return self.epochs or int(np.clip(STEPS * self.batch(rows) // rows, 10, 200))


@dataclass(frozen=True)
class Outcome:
    """A trained model, and what it says of rows that it has not seen."""

    model: Model
    history: training.History
    rows: Mapping[str, int]  # how many to "train" on, for "validation" and to "test" on
    tested: Rows  # of the problem's table
    x: np.ndarray  # of those that it was tested on
    true: np.ndarray
    predicted: np.ndarray
    scores: dict[str, Any]
    batch_size: int
    epochs: int


def experiment(
    problem: Problem, settings: Settings, train: Rows, test: Rows, seed: int, progress: bool = False,
    announce: Callable[[Model, Mapping[str, int]], object] | None = None,
) -> Outcome:  # fmt: skip
    """Decide the plan, train, and test. ``announce`` is told what is about to be trained, and on how many rows."""
    stop = np.empty(0, np.int64)
    if settings.validation and len(train) >= FEW_ROWS:
        train, stop = problem.split(train, settings.validation, SPLIT_SEED + 1)
    part = problem.table.take(train)
    with user_errors():
        plan = problem.plan or Plan.decide(part, **problem.columns)
        target = problem.target.scaled_to(part)
        net = settings.network(len(plan.features), target.outputs, seed)
        x, x_stop, x_test = (plan.apply(problem.table.take(rows), DTYPE) for rows in (train, stop, test))
    model = Model(net, plan, target)
    y, y_stop, y_test = (target.wanted(problem.true[rows]) for rows in (train, stop, test))
    counts = {"train": len(train), "validation": len(stop), "test": len(test)}
    if announce is not None:
        announce(model, counts)
    batch, epochs = settings.batch(len(train)), settings.passes(len(train))
    loss = _loss(settings, target, y)
    with user_errors(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", TrainingWarning)  # of the scales of columns: they have been scaled
        history = training.fit(
            net, x, y, loss=loss, optimizer=settings.optimizer(), epochs=epochs, batch_size=batch,
            validation=(x_stop, y_stop) if len(stop) else None,
            patience=settings.patience if len(stop) and settings.patience else None,
            checkpoint=settings.checkpoint, resume=settings.resume, rng=seed, progress=progress,
        )  # fmt: skip
    true = problem.true[test]
    scores: dict[str, Any] = {}
    predicted = true[:0]
    if len(test):
        scores["loss"] = training.evaluate(net, x_test, y_test, loss=loss)["loss"]
        outputs = training.predict(net, x_test)
        predicted = target.predicted(outputs)
        scores |= measured(target, true, predicted, problem.true[train])
    return Outcome(model, history, counts, test, x_test, true, predicted, scores, batch, epochs)


def _loss(settings: Settings, target: Target, y: np.ndarray) -> Any:
    if target.task == "regression":
        return settings.loss or "squared_error"
    if not settings.balanced:
        return "softmax_cross_entropy"
    counts = np.bincount(y, minlength=target.outputs)
    weights = np.where(counts > 0, len(y) / (target.outputs * np.maximum(counts, 1)), 0.0)
    return functools.partial(losses.softmax_cross_entropy, class_weight=weights.tolist())


# -------------------------------------------------------------------------------------------------------------- scores


def measured(
    target: Target, true: np.ndarray, predicted: np.ndarray, trained: np.ndarray | None = None
) -> dict[str, Any]:
    """How good predictions are, as JSON; ``trained`` is what was true of the rows that were trained on."""
    if target.task == "regression":
        means = np.array(target.mean) if trained is None else trained.mean(axis=0)
        each = predictions.regression_scores(true, predicted, means)
        return {
            "r2": float(np.mean([one["r2"] for one in each])),
            "targets": dict(zip(target.labels, each, strict=True)),
        }
    counts = predictions.confusion(true, predicted, target.outputs)
    precision, recall = predictions.class_scores(counts)
    most = Counter((true if trained is None else trained).tolist()).most_common(1)[0][0]
    return {
        "accuracy": float(np.mean(true == predicted)),
        "most_frequent": {"class": target.classes[most], "accuracy": float(np.mean(true == most))},
        "confusion": counts.tolist(),
        "classes": [
            {"class": name, "precision": _none(p), "recall": _none(r), "rows": int(rows)}
            for name, p, r, rows in zip(target.classes, precision, recall, counts.sum(axis=1), strict=True)
        ],
    }


def _none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def main_score(scores: Mapping[str, Any]) -> tuple[str, float]:
    """The one number that says how good predictions are, and its name."""
    return ("accuracy", scores["accuracy"]) if "accuracy" in scores else ("R2", scores["r2"])


def importance(outcome: Outcome, seed: int) -> dict[str, tuple[float, float]]:
    """By column, how much the main score falls where the column's cells change rows."""
    model, true = outcome.model, outcome.true

    def score(x: np.ndarray) -> float:
        predicted = model.target.predicted(training.predict(model.net, x))
        if model.target.task == "classification":
            return float(np.mean(predicted == true))
        means = np.array(model.target.mean)
        return float(np.mean([one["r2"] for one in predictions.regression_scores(true, predicted, means)]))

    found = predictions.permutation_importance(score, outcome.x, groups(model.plan), rng=seed)
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def largest_errors(
    table: Table, tested: Rows, target: Target, true: np.ndarray, predicted: np.ndarray
) -> list[dict[str, Any]]:
    """Where predictions of numbers are farthest off."""
    return [
        {
            "place": table.place(int(tested[row])), "label": target.labels[column], "true": float(true[row, column]),
            "predicted": float(predicted[row, column]),
        }
        for row, column in predictions.largest_errors(true, predicted)
    ]  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, and deviation of single values."""
    return {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


__all__ = [
    "Outcome", "Problem", "Settings", "experiment", "importance", "largest_errors", "main_score", "measured",
    "read_file", "spread",
]  # fmt: skip
