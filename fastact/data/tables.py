"""Tables as they come: columns of numbers and of texts, by name. The bundled digits; which rows are held out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import numpy as np

from .splits import split_rows

__all__ = ["Table", "Text", "load_digits", "split_rows", "standardization", "stratified_split"]

#: Cells that stand for a missing value, spaces around them apart.
MISSING = frozenset(
    ("", "?", "-", ".", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "Null", "None")
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf(?:inity)?", re.IGNORECASE | re.ASCII)


def number(cell: str) -> float | None:
    """The number that a cell is, in plain ASCII with a decimal point; None where it is none."""
    return float(cell) if _NUMBER.fullmatch(cell) else None


@dataclass(frozen=True, eq=False)
class Text:
    """A column of texts, each different one held once."""

    codes: np.ndarray  # int32 (rows,): places in values, -1 where the cell is missing
    values: Sequence[str]  # no two alike, none of them missing, spaces around them removed

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, cells: Iterable[Any]) -> Text:
        """From texts, or whatever has a text; None is a missing one, and so is what ``MISSING`` lists."""
        known: dict[str, int] = {}
        codes = [-1 if cell is None else known.setdefault(str(cell), len(known)) for cell in cells]
        return cls.coded(np.array(codes, np.int32), list(known))

    @classmethod
    def coded(cls, codes: np.ndarray, cells: Sequence[str]) -> Text:
        """From places in a list of cells as they stand in a file."""
        known: dict[str, int] = {}
        new = np.full(len(cells) + 1, -1, np.int32)  # the last one is for -1
        for place, cell in enumerate(cells):
            bare = cell.strip()
            if bare not in MISSING:
                new[place] = known.setdefault(bare, len(known))
        same = len(known) == len(cells) and all(map(str.__eq__, known, cells))
        return cls(codes, list(cells)) if same else cls(new[codes], list(known))

    def take(self, rows: np.ndarray) -> Text:
        """The cells of those rows."""
        return Text(self.codes[rows], self.values)

    def counts(self) -> np.ndarray:
        """How often each value occurs, int64 (values,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    def mapped(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """A number for each value: float64 (rows,), NaN where the cell is missing."""
        return np.append(np.asarray(values, np.float64), np.nan)[self.codes]

    def texts(self) -> list[str | None]:
        """The cells one by one."""
        values = [*self.values, None]
        return [values[code] for code in self.codes.tolist()]

    def numbers(self) -> np.ndarray | None:
        """The column as numbers where each value is one, else None."""
        found: list[float] = []
        for value in self.values:
            one = number(value)
            if one is None:
                return None
            found.append(one)
        return self.mapped(found)


#: float64 (rows,), NaN where the cell is missing; or texts.
Column = np.ndarray | Text


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one length by name, as a file or a program gave them.

    ``named`` says whether the names are the file's own (else columns are told by their places), ``place`` where a row
    stands: "line 7".
    """

    source: str
    columns: dict[str, Column]
    named: bool = True
    labels: tuple[str, ...] = ()  # columns that the file itself sets apart as what is to be predicted
    place: Callable[[int], str] = field(default=lambda row: f"row {row + 1}")

    @property
    def rows(self) -> int:
        """Rows of data."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def take(self, rows: np.ndarray) -> Table:
        """Those rows, given by their numbers."""
        taken = {
            name: column.take(rows) if isinstance(column, Text) else column[rows]
            for name, column in self.columns.items()
        }
        return replace(self, columns=taken, place=lambda row: self.place(int(rows[row])))

    def column(self, name: str, what: str = "a column") -> Column:
        """A column; ValueError with the names there are where there is none of that name."""
        if name not in self.columns:
            known = ", ".join(map(repr, list(self.columns)[:30])) + (", ..." if len(self.columns) > 30 else "")
            raise ValueError(f"{self.source}: expected {what} named {name!r}, got {known}")
        return self.columns[name]


def as_texts(column: Column) -> Text:
    """A column as texts; whole numbers without a decimal point."""
    if isinstance(column, Text):
        return column
    values, codes = np.unique(column, return_inverse=True)
    return Text.coded(codes.astype(np.int32), [shown(value) for value in values.tolist()])


def shown(value: float) -> str:
    """A number as a text that reads back as the same number; NaN as "nan"."""
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else repr(value)


# ---------------------------------------------------------------------------------------------------------- the digits


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """The bundled 1797 handwritten digits: x, uint8 (1797, 64) from 0 to 16, an 8x8 image a row; y, uint8 (1797,).

    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (CC BY 4.0; data/LICENSE.txt).
    Raises FileNotFoundError where the installation lacks the file.
    """
    source = resources.files(__package__) / "digits.npz"
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["x"], arrays["y"]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            "load_digits: this installation of fastact lacks data/digits.npz; reinstall it"
        ) from error


# ------------------------------------------------------------------------------------------------- splits and scaling


def stratified_split(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and, a random fifth of each class (at least one row), for testing.

    Raises ValueError for fewer than two classes or a class with fewer than two rows.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"expected at least two classes, got only {', '.join(map(str, classes)) or 'none'}")
    if counts.min() < 2:
        rare = classes[counts < 2]
        listed = ", ".join(map(str, rare[:3])) + (", ..." if len(rare) > 3 else "")
        raise ValueError(
            f"expected at least two rows of each class, one to train on and one to test on, got one of {listed} "
            f"({len(rare)} of {len(classes)} classes)"
        )
    return split_rows(labels, seed)


def standardization(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each column: (x - mean) / scale has mean 0 and deviation 1. A constant column has scale 1.

    Raises ValueError for numbers too large to square.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = features.mean(axis=0), features.std(axis=0)
    bad = ~np.isfinite(mean) | ~np.isfinite(scale)
    if bad.any():
        raise ValueError(f"feature {int(bad.argmax()) + 1} holds numbers too large to standardise; rescale it")
    # What rounding alone makes of a constant column is no deviation
    constant = scale <= 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, scale)
