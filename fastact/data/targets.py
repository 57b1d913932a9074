"""What is to be predicted from a table: which columns, whether they are classes or numbers, and a network's outputs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import dates
from .columns import DIFFERENT, numeric, quoted
from .layout import LABEL_NAMES
from .tables import Column, Table, Text, as_texts, standardization

__all__ = ["TASKS", "Target", "choose_labels"]

TASKS = ("classification", "regression")
FEW = 20  # different whole numbers up to which they are classes,
EACH = 5  # where there are at least that many rows of each, on average
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Target:
    """What is predicted: classes, or numbers, which the network is given with mean 0 and deviation 1."""

    task: str
    labels: tuple[str, ...]  # names of the columns
    classes: tuple[int | str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @classmethod
    def decide(cls, table: Table, labels: Sequence[str], task: str | None = None) -> tuple[Target, np.ndarray, str]:
        """The target, the numbers of the rows in which it is known, and why it is classes or numbers, in words.

        Raises ValueError for columns that are neither.
        """
        columns = [table.column(name, "a column to predict") for name in labels]
        why = "as asked"
        if task is None:
            task, why = _task(table, labels, columns)
        if task == "regression":
            values = [numeric(column) for column in columns]
            for name, found in zip(labels, values, strict=True):
                if found is None:
                    raise ValueError(
                        f"{table.source}: column {name!r} holds texts, which are classes; pass --task classification"
                    )
            matrix = np.column_stack([found for found in values if found is not None])
            rows = np.flatnonzero(np.isfinite(matrix).all(axis=1))
            _enough(table, labels, rows, len(np.unique(matrix[rows], axis=0)))
            return cls("regression", tuple(labels)), rows, why
        if len(labels) > 1:
            raise ValueError(
                f"{table.source}: expected one column of classes to predict, got {', '.join(labels)}; pass --label "
                "with one of them, or --task regression for numbers"
            )
        texts = as_texts(columns[0])
        counts = texts.counts()
        _enough(table, labels, np.flatnonzero(texts.codes >= 0), int((counts > 0).sum()))
        values_ = [value for value, count in zip(texts.values, counts, strict=True) if count]
        whole = not isinstance(columns[0], Text) and all(_is_whole(value) for value in values_)
        classes: tuple[int | str, ...] = tuple(sorted(map(int, values_)) if whole else sorted(values_))
        target = cls("classification", tuple(labels), classes)
        return target, np.flatnonzero(texts.codes >= 0), why

    def scaled_to(self, table: Table) -> Target:
        """The target with mean and deviation of the rows to train on."""
        if self.task == "classification":
            return self
        try:
            mean, scale = standardization(self._matrix(table))
        except ValueError as error:
            raise ValueError(f"{table.source}: {', '.join(self.labels)}: numbers too large to predict") from error
        return Target(self.task, self.labels, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    @property
    def outputs(self) -> int:
        """Of the network."""
        return len(self.classes) if self.task == "classification" else len(self.labels)

    def found_in(self, table: Table, others: Collection[str]) -> list[str] | None:
        """Names of the columns of a table that hold what is predicted, beside others; None where it has none."""
        if table.labels:
            return list(table.labels) if len(table.labels) == len(self.labels) else None
        if table.named and all(name in table.columns for name in self.labels):
            return list(self.labels)
        rest = [name for name in table.columns if name not in others]
        return rest if not table.named and len(rest) == len(self.labels) else None

    def known(self, table: Table, names: Sequence[str]) -> np.ndarray:
        """Numbers of the rows in which the target is known."""
        return np.flatnonzero(np.isfinite(self._raw(table, names)).all(axis=1))

    def _raw(self, table: Table, names: Sequence[str]) -> np.ndarray:
        if self.task == "classification":
            texts = as_texts(table.column(names[0]))
            return texts.mapped(np.arange(len(texts.values)))[:, None]
        return self._matrix(table, names)

    def _matrix(self, table: Table, names: Sequence[str] | None = None) -> np.ndarray:
        values = []
        for name in names or self.labels:
            found = numeric(table.column(name))
            if found is None:
                raise ValueError(f"{table.source}: column {name!r}: expected numbers, got texts")
            values.append(found)
        return np.column_stack(values)

    def numbers(self, table: Table, names: Sequence[str] | None = None) -> np.ndarray:
        """What is true of a table's rows: class numbers, int64 (rows,), -1 for others; or float64 (rows, labels)."""
        if self.task == "regression":
            return self._matrix(table, names)
        texts = as_texts(table.column((names or self.labels)[0]))
        known = {str(name): number for number, name in enumerate(self.classes)}
        places = [known.get(value, -1) for value in texts.values]
        return np.array([*places, -1], np.int64)[texts.codes]

    def wanted(self, true: np.ndarray) -> np.ndarray:
        """What the network is to give, from ``numbers``."""
        return true if self.task == "classification" else (true - np.array(self.mean)) / np.array(self.scale)

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """What the network's outputs say, as ``numbers``."""
        outputs = outputs.astype(np.float64)
        if self.task == "classification":
            return outputs.argmax(axis=1)
        return outputs * np.array(self.scale) + np.array(self.mean)

    def to_json(self) -> dict[str, Any]:
        """All of it as lists, texts and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Target:
        """The target that ``to_json`` gave; ValueError, KeyError or TypeError for anything else."""
        read = cls(content["task"], *(tuple(content[key]) for key in ("labels", "classes", "mean", "scale")))
        plain = all(type(one) is str for one in read.labels) and all(type(one) in (int, str) for one in read.classes)
        scaled = all(type(one) in (int, float) and math.isfinite(one) for one in (*read.mean, *read.scale))
        widths = {len(read.labels)} if read.task == "regression" else {0}
        if not plain or not scaled or read.task not in TASKS or {len(read.mean), len(read.scale)} != widths:
            raise ValueError("no target")
        if not read.labels or any(one <= 0 for one in read.scale) or len(set(read.classes)) < len(read.classes):
            raise ValueError("no target")
        return read


def _is_whole(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _enough(table: Table, labels: Sequence[str], rows: np.ndarray, different: int) -> None:
    name = ", ".join(labels)
    if len(rows) < 3:
        raise ValueError(
            f"{table.source}: {len(rows)} row(s) have a value of {name}; expected at least 3, to train and to test on"
        )
    if different < 2:
        raise ValueError(
            f"{table.source}: {name} is the same in every row, there is nothing to predict{_instead(table, labels)}"
        )


def _task(table: Table, labels: Sequence[str], columns: Sequence[Column]) -> tuple[str, str]:
    """Classes or numbers, and why."""
    for name, column in zip(labels, columns, strict=True):
        wrong = unfit(column)
        if wrong is not None:
            raise ValueError(f"{table.source}: {name!r}{_is_last(table, name)} {wrong}{_instead(table, labels)}")
    values = [numeric(column) for column in columns]
    if any(found is None for found in values):
        return "classification", "texts"
    known = [found[np.isfinite(found)] for found in values if found is not None]
    if len(columns) == 1 and _few(known[0]):
        return "classification", "few whole numbers; numbers: --task regression"
    if (known[0] != np.round(known[0])).any():
        return "regression", "numbers with decimals" if len(labels) == 1 else "several columns of numbers"
    return "regression", "many whole numbers; classes: --task classification"


def _few(known: np.ndarray) -> bool:
    if (known != np.round(known)).any() or (np.abs(known) > 2**53).any():
        return False
    different = len(np.unique(known))
    return different <= 2 or (different <= FEW and different * EACH <= len(known))


def unfit(column: Column) -> str | None:
    """Why a column is nothing to predict; None where it is fit for that."""
    if not isinstance(column, Text):
        known = column[np.isfinite(column)]
        return None if len(np.unique(known)) > 1 else "is the same in every row, there is nothing to predict"
    counts = column.counts()
    cells, different = int(counts.sum()), int((counts > 0).sum())
    if different < 2:
        return "is the same in every row, there is nothing to predict"
    if numeric(column) is not None:
        return None
    values = [value for value, count in zip(column.values, counts, strict=True) if count]
    if dates.form(values) is not None:
        return "holds dates"
    if different > DIFFERENT * cells or (different > MOST_CLASSES and different * EACH > cells):
        return "holds a text of its own in (nearly) each row"
    return None


def _is_last(table: Table, name: str) -> str:
    return " (the last column)" if name == list(table.columns)[-1] else ""


def _instead(table: Table, labels: Sequence[str]) -> str:
    """What to pass: the last column that can be predicted."""
    for name in reversed(list(table.columns)):
        if name not in labels and unfit(table.columns[name]) is None:
            return f"; pass --label with what to predict, such as --label {quoted(name)}"
    return "; no column of the table can be predicted"


def choose_labels(table: Table, given: Sequence[str] = ()) -> tuple[list[str], str]:
    """Names of the columns to predict, and how they were chosen, in words.

    ``given`` are names, each perhaps several with commas between them.
    """
    names = split_names(table, given)
    if names:
        for name in names:
            table.column(name, "a column to predict")
        return names, "as asked"
    if table.labels:
        return list(table.labels), "the file's y"
    lower = {name.lower(): name for name in reversed(table.columns)}
    found = next((lower[name] for name in LABEL_NAMES if name in lower), None)
    if len(table.columns) < 2:
        raise ValueError(
            f"{table.source}: expected at least one feature and a label, got {len(table.columns)} column(s)"
        )
    if found is not None:
        return [found], "by its name"
    return [list(table.columns)[-1]], "the last column"


def split_names(table: Table, given: Sequence[str]) -> list[str]:
    """Names of columns, from options that may name several with commas between them."""
    names: list[str] = []
    for text in given:
        parts = [text] if text in table.columns else [part.strip() for part in text.split(",")]
        names += [part for part in parts if part not in names]
    return names
