"""Tables of features and labels: the bundled digits, and NPZ and CSV files, refused where they are not clean.

Errors are ValueError, FileNotFoundError or IsADirectoryError, with a one-line message that names the file and the place
in it.
"""

from __future__ import annotations

import csv
import itertools
import zipfile
import zlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Table", "load_digits", "read_table", "standardization", "stratified_split"]

LABEL_NAMES = ("label", "target", "y")  # of a CSV column, the first that occurs
DELIMITERS = ("\t", ";", ",")


@dataclass(frozen=True)
class Table:
    """Rows of numbers, with their labels where the file has them."""

    features: np.ndarray  # float64 (rows, columns)
    labels: np.ndarray | None  # int64 or text (rows,)
    names: tuple[str, ...] | None = None  # of the features, from a header
    label: str | None = None  # name of the label's column, from a header


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


def read_table(path: str | Path, *, features: int | None = None, label: str | None = None) -> Table:
    """Read a .npz or .csv file: float64 features of shape (rows, columns), and labels of shape (rows,), int64 or text.

    NPZ: arrays ``x`` (or ``X``) and ``y``, or one 2-D array whose last column is the label. CSV: comma, semicolon or
    tab; a header is recognised; the label is the column named label, target or y, else the last.

    Parameters
    ----------
    features : how many features a row must have, and then the labels may be missing; None: any number, with labels
    label : name of a CSV file's label column

    Raises ValueError for a file that is no such table or not clean (text among the numbers, NaN, infinity, missing
    labels, ragged lines), FileNotFoundError, IsADirectoryError.
    """
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file}: expected a .npz or .csv file, got a folder")
    if not file.exists():
        raise FileNotFoundError(f"{file}: there is no such file")
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if file.suffix.lower() not in readers:
        raise ValueError(f"{file}: expected a file name that ends in .npz or .csv, got {file.suffix or 'no ending'!r}")
    if file.is_file() and file.stat().st_size == 0:
        raise ValueError(f"{file}: the file is empty")
    table = readers[file.suffix.lower()](file, features, label)
    if not len(table.features):
        raise ValueError(f"{file}: the file has no rows of data")
    return table


def _width(file: Path, columns: int, features: int | None) -> bool:
    """Whether a table with that number of columns has the label among them; ValueError for a wrong number."""
    if features is None:
        if columns < 2:
            raise ValueError(f"{file}: expected at least one feature and a label, got {columns} column(s)")
        return True
    if columns not in (features, features + 1):
        raise ValueError(
            f"{file}: expected {features} features as the model has (and perhaps a label), got {columns} column(s)"
        )
    return columns == features + 1


def _read_csv(file: Path, features: int | None, label: str | None) -> Table:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            delimiter = _delimiter(text.readlines(65_536))
            text.seek(0)
            return _parse(file, csv.reader(text, delimiter=delimiter, skipinitialspace=True), features, label)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected a text file in UTF-8 ({error})") from error
    except csv.Error as error:
        raise ValueError(f"{file}: not a CSV file ({error})") from error


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that gives the first rows the most columns."""

    def columns(delimiter: str) -> int:
        return min((len(row) for row in csv.reader(lines[:10], delimiter=delimiter) if row), default=0)

    return max(DELIMITERS, key=columns)


def _parse(file: Path, rows: Any, features: int | None, label: str | None) -> Table:
    first = next((row for row in rows if row), None)
    if first is None:
        raise ValueError(f"{file}: the file has no rows of data")
    first = [cell.strip() for cell in first]
    columns = len(first)
    header = first if _is_header(first) else None
    if header is not None and "" in header:
        raise ValueError(
            f"{file}: column {header.index('') + 1} has no name; name it, or leave it out if it numbers the rows"
        )
    chosen = _label_column(file, header, columns, features, label)

    numbers, labels, lines = array("d"), [], []
    for row in rows if header is not None else itertools.chain([first], rows):
        if not row:
            continue
        if len(row) != columns:
            raise ValueError(f"{file}: line {rows.line_num} has {len(row)} column(s), the lines before it {columns}")
        for j, cell in enumerate(row):
            if j == chosen:
                labels.append(cell.strip())
            else:
                numbers.append(_number(file, cell, rows.line_num, j, header))
        lines.append(rows.line_num)
    table = np.array(numbers, np.float64).reshape(len(lines), columns - (chosen is not None))
    feature_columns = [j for j in range(columns) if j != chosen]
    _finite(table, lambda i, j: f"{file}: line {lines[i]}, {_column(feature_columns[j], header)}")
    return Table(
        table,
        None if chosen is None else _classes_of_text(file, labels, lines),
        None if header is None else tuple(header[j] for j in feature_columns),
        None if header is None or chosen is None else header[chosen],
    )


def _is_header(cells: list[str]) -> bool:
    """Whether the cells are names: no number among them, or a label's name."""
    return not any(map(_is_number, cells)) or any(cell.lower() in LABEL_NAMES for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label_column(
    file: Path, header: list[str] | None, columns: int, features: int | None, label: str | None
) -> int | None:
    if not _width(file, columns, features):
        return None
    if label is not None and (header is not None or features is None):
        if header is None or label not in header:
            raise ValueError(
                f"{file}: expected a column named {label!r}, got "
                + ("no header" if header is None else ", ".join(map(repr, header)))
            )
        return header.index(label)
    lower = [name.lower() for name in header or ()]
    return next((lower.index(name) for name in LABEL_NAMES if name in lower), columns - 1)


def _column(j: int, header: list[str] | None) -> str:
    return f"column {j + 1}" + (f" ({header[j]})" if header is not None else "")


def _number(file: Path, cell: str, line: int, j: int, header: list[str] | None) -> float:
    try:
        return float(cell)
    except ValueError:
        got = f"text {cell.strip()!r}" if cell.strip() else "nothing"
        hint = "; write numbers with a decimal point" if _is_number(cell.replace(",", ".")) else ""
        raise ValueError(f"{file}: line {line}, {_column(j, header)}: expected a number, got {got}{hint}") from None


def _classes_of_text(file: Path, labels: list[str], lines: list[int]) -> np.ndarray:
    for text, line in zip(labels, lines, strict=True):
        if not text or text.lower() == "nan":
            raise ValueError(f"{file}: line {line}: the label is missing")
    if all(map(_is_number, labels)):
        return _class_numbers(np.array(labels, np.float64), lambda i: f"{file}: line {lines[i]}")
    return np.array(labels, np.str_)


def _read_npz(file: Path, features: int | None, label: str | None) -> Table:
    if label is not None and features is None:
        raise ValueError(f"{file}: a column can be named in a CSV file only; an NPZ file has its labels in y")
    names, arrays = _arrays(file)
    name: str | None = next((n for n in ("x", "X") if n in arrays), None)
    alone = name is None and len(names) == 1
    if alone:
        name = names[0]
    if name is None or (not alone and features is None and "y" not in arrays):
        raise ValueError(f"{file}: expected arrays x and y, or one array with the label last, got {', '.join(names)}")
    x = arrays[name]
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{file}: expected {name} to hold numbers, got an array of {x.dtype}")
    if x.ndim != 2:
        raise ValueError(f"{file}: expected {name} of shape (rows, columns), got {x.shape}")
    y = None if alone else arrays.get("y")
    last = False
    if y is None:
        last = _width(file, x.shape[1], features)
    elif features is not None and x.shape[1] != features:
        raise ValueError(f"{file}: expected {features} features as the model has, got {x.shape[1]}")
    table = np.array(x[:, :-1] if last else x, np.float64)
    _finite(table, lambda i, j: f"{file}: {name}[{i}, {j}]")
    if last:
        return Table(table, _class_numbers(x[:, -1], lambda i: f"{file}: {name}[{i}, {x.shape[1] - 1}]"))
    return Table(table, None if y is None else _classes(file, y, len(x)))


def _arrays(file: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """All names in the archive, and the arrays x, X and y, or the only one."""
    with file.open("rb") as stream:
        try:
            content = np.load(stream, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file}: not an NPZ archive") from error
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise ValueError(f"{file}: expected an NPZ archive, got a single .npy array; save it with np.savez")
        arrays = {}
        for name in content.files:
            if name not in ("x", "X", "y") and len(content.files) > 1:
                continue
            try:
                arrays[name] = content[name]
            except (EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise ValueError(f"{file}: {name} is damaged ({error})") from error
            except ValueError as error:
                raise ValueError(
                    f"{file}: {name} is not a plain array (objects are never loaded); save it as numbers or text"
                ) from error
        return content.files, arrays


def _classes(file: Path, y: np.ndarray, rows: int) -> np.ndarray:
    if y.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{file}: expected y of shape ({rows},), one label per row of x, got {y.shape}")
    y = y.reshape(rows)
    if y.dtype.kind in "US":
        text = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in y.tolist()]
        for i, value in enumerate(text):
            if not value.strip() or value.lower() == "nan":
                raise ValueError(f"{file}: y[{i}]: the label is missing")
        return np.array(text, np.str_)
    if y.dtype.kind not in "fiub":
        raise ValueError(f"{file}: expected y to hold class numbers or names, got an array of {y.dtype}")
    return _class_numbers(y, lambda i: f"{file}: y[{i}]")


def _finite(table: np.ndarray, place: Callable[..., str]) -> None:
    if not np.isfinite(table).all():
        i, j = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"{place(i, j)}: expected a finite number, got {table[i, j]}")


def _class_numbers(values: np.ndarray, place: Callable[..., str]) -> np.ndarray:
    if values.dtype.kind == "f":
        wrong = ~(np.abs(values) <= 2**53) | (values != np.round(values))
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                f"{place(i)}: expected a class as label (a whole number or a name), got {values[i]:g}; "
                "measurements are not classes"
            )
    elif values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{place(int(values.argmax()))}: the label {values.max()} is too large for a class number")
    return values.astype(np.int64)


def stratified_split(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and, a random fifth of each class (at least one row), for testing.

    Raises ValueError for fewer than two classes or a class with fewer than two rows.
    """
    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"expected at least two classes, got only {', '.join(map(str, classes)) or 'none'}")
    if counts.min() < 2:
        rare = classes[counts < 2]
        listed = ", ".join(map(str, rare[:3])) + (", ..." if len(rare) > 3 else "")
        raise ValueError(
            f"expected at least two rows of each class, one to train on and one to test on, got one of {listed} "
            f"({len(rare)} of {len(classes)} classes)"
        )
    rng = np.random.default_rng(seed)
    testing = np.zeros(len(labels), bool)
    for number, count in enumerate(counts):
        rows = np.flatnonzero(numbers == number)
        testing[rng.permutation(rows)[: max(1, round(count / 5))]] = True
    return np.flatnonzero(~testing), np.flatnonzero(testing)


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
