"""Parquet and CSV files that are read batch by batch: ``Parquet``, ``Csv`` (extra ``parquet``: pyarrow)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from .sources import Block, Piece, Source

BYTES = 1 << 22  # of numbers that are decoded at a time, at least
DELIMITERS = "\t;,"
PACKED = (".gz", ".bz2", ".zst")


def _pyarrow(function: str) -> Any:
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"{function}: reading such files needs pyarrow; install it with pip install fastact[parquet]"
        ) from error
    return pyarrow


class FileSource(Source):
    """Base of tables in files: which columns are features, which one is the label, which one weighs rows."""

    ending = ""

    def __init__(self, path: Any, features: Any, label: Any, weight: Any, classes: Any) -> None:
        """Find the files; a subclass reads the names of the columns and calls ``_choose``."""
        self.function = type(self).__name__
        self.arrow = _pyarrow(self.function)
        self.files = _files(self.function, path, self.ending)
        self.label, self.weight = label, weight
        self.labelled, self.weighted = label is not None, weight is not None
        self.given = [features] if isinstance(features, str) else None if features is None else list(features)
        self.classes = None if classes is None else np.asarray(classes)

    def _choose(self, names: Sequence[str]) -> None:
        """Check the columns that are asked for; features that are not named are all the others."""
        for name in (*(self.given or ()), self.label, self.weight):
            if name is not None and name not in names:
                listed = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
                raise ValueError(f"{self.function}: expected a column {name!r} in {self.files[0]}, got {listed}")
        beside = {self.label, self.weight}
        self.features = [name for name in names if name not in beside] if self.given is None else self.given
        if not self.features:
            raise ValueError(f"{self.function}: expected at least one column of features in {self.files[0]}, got none")

    def _name(self) -> str:
        files = str(self.files[0]) if len(self.files) == 1 else f"{len(self.files)} files"
        return f"{files}, {len(self.features)} features" + ("" if self.label is None else f", label {self.label!r}")

    def _columns(self, labelled: bool) -> list[str]:
        beside = (self.label, self.weight) if labelled else ()
        return list(dict.fromkeys([*self.features, *(name for name in beside if name is not None)]))

    def _block(self, batch: Any, labelled: bool) -> Block:
        """A record batch as arrays."""
        parts = [self._numbers(name, batch.column(name)) for name in self.features]
        if len(parts) == 1 and parts[0].ndim == 2:
            x = parts[0]
        else:
            wide = [part if part.ndim == 2 else part[:, None] for part in parts]
            dtype = np.float32 if all(part.dtype in (np.float32, np.float16) for part in wide) else np.float64
            x, column = np.empty((len(batch), sum(part.shape[1] for part in wide)), dtype), 0
            for part in wide:
                x[:, column : column + part.shape[1]] = part
                column += part.shape[1]
        y = None if self.label is None or not labelled else self._labels(batch.column(self.label))
        weight = None if self.weight is None or not labelled else self._numbers(self.weight, batch.column(self.weight))
        return x, y, weight

    def _numbers(self, name: str, column: Any) -> np.ndarray:
        """A column of numbers as an array of shape (rows,), one of lists of n numbers as (rows, n)."""
        types = self.arrow.types
        self._no_nulls(name, column)
        kind = column.type
        if types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind):
            rows = len(column)
            flat = self._numbers(name, column.flatten())
            lengths = column.value_lengths() if not types.is_fixed_size_list(kind) else None
            if rows and (flat.size % rows or (lengths is not None and len(lengths.unique()) != 1)):
                raise ValueError(f"{self.function}: expected lists of one length in column {name!r}")
            return flat.reshape(rows, -1)
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
            raise TypeError(
                f"{self.function}: expected column {name!r} to hold numbers, got {kind}; leave it out (features=[...]) "
                "or write it as numbers"
            )
        if types.is_decimal(kind):
            column = column.cast(self.arrow.float64())
        array: np.ndarray = column.to_numpy(zero_copy_only=False)
        return array

    def _labels(self, column: Any) -> np.ndarray:
        """The label column: numbers, texts, or with ``classes`` the numbers of those."""
        types, name = self.arrow.types, str(self.label)
        self._no_nulls(name, column)
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        text = types.is_string(column.type) or types.is_large_string(column.type)
        if self.classes is None:
            return column.to_numpy(zero_copy_only=False).astype(np.str_) if text else self._numbers(name, column)
        found = column.to_numpy(zero_copy_only=False)
        found = found.astype(np.str_) if text else found
        order = np.argsort(self.classes)
        numbers = order.take(np.searchsorted(self.classes, found, sorter=order), mode="clip")
        wrong = self.classes[numbers] != found
        if wrong.any():
            row = int(np.argmax(wrong))
            got = found[row : row + 1].tolist()[0]
            raise ValueError(f"{self.function}: expected labels of classes, got {got!r} at row {row}")
        return numbers

    def _no_nulls(self, name: str, column: Any) -> None:
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(f"{self.function}: expected no missing values, got one in column {name!r} at row {row}")

    def labels(self) -> np.ndarray:
        """The distinct labels, sorted, in one pass over their column."""
        if self.label is None:
            raise ValueError(f"{self.function}.labels: expected label= to name the column, got None")
        found = [np.unique(self._labels(batch.column(self.label))) for batch in self._label_batches()]
        if not found:
            raise ValueError(f"{self.function}.labels: expected at least one row of data, got none")
        return np.unique(np.concatenate(found))

    def _label_batches(self) -> Iterator[Any]:
        raise NotImplementedError


class Parquet(FileSource):
    """Parquet files, of which the columns that are needed are read, one row group after the other.

    Parameters
    ----------
    path : a file, a folder (all files in it that end in .parquet, folders in it too, by name) or several files
    features : names of columns, of numbers or of lists of numbers of one length; None: all but those named below
    label : name of the column to predict; None: none, for ``predict``
    weight : name of the column of sample weights
    classes : where labels are names: the names, whose places are the class numbers (``labels()`` finds them)

    ``rows``, ``features`` and ``files`` say what was found. Raises FileNotFoundError, ValueError for files that are no
    such table, ImportError without pyarrow.
    """

    ending = ".parquet"

    def __init__(
        self,
        path: Any,
        features: Any = None,
        label: str | None = None,
        *,
        weight: str | None = None,
        classes: Any = None,
    ) -> None:
        super().__init__(path, features, label, weight, classes)
        self.footers = [self._footer(file) for file in self.files]
        self.sizes = [_size(file) for file in self.files]
        first = self.footers[0].schema.to_arrow_schema()
        self._choose(first.names)
        wanted = self._columns(True)
        for file, footer in zip(self.files, self.footers, strict=True):
            missing = [name for name in wanted if name not in footer.schema.to_arrow_schema().names]
            if missing:
                raise ValueError(f"Parquet: expected a column {missing[0]!r} in {file} as in {self.files[0]}")
        self.rows = sum(footer.num_rows for footer in self.footers)

    def _footer(self, file: Path) -> Any:
        try:
            return self.arrow.parquet.read_metadata(file)
        except (self.arrow.ArrowInvalid, OSError) as error:
            raise ValueError(f"Parquet: {file} is no whole Parquet file ({error})") from error

    def pieces(self, rows: int) -> list[Piece]:
        """Row groups."""
        found = []
        for number, footer in enumerate(self.footers):
            first = 0
            for group in range(footer.num_row_groups):
                count = footer.row_group(group).num_rows
                place = f"{self.files[number]}, row group {group}"
                found.append(Piece(place, count, self._reader(number, group, place, rows), first))
                first += count
        return found

    def _reader(self, number: int, group: int, place: str, rows: int) -> Any:
        def read(labelled: bool) -> Iterator[Block]:
            for batch in self._batches(number, group, place, self._columns(labelled), rows):
                yield self._block(batch, labelled)

        return read

    def _batches(self, number: int, group: int, place: str, columns: list[str], rows: int) -> Iterator[Any]:
        file = self.files[number]
        try:
            if _size(file) != self.sizes[number]:
                raise ValueError(
                    f"{place}: expected a file of {self.sizes[number]} bytes, as when it was opened, got {_size(file)}"
                )
            rows = max(rows, BYTES // (8 * len(columns)))
            with self.arrow.parquet.ParquetFile(file, metadata=self.footers[number]) as content:
                yield from content.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)
        except (self.arrow.ArrowException, OSError) as error:
            raise ValueError(f"{place}: cannot be read ({error})") from error

    def _label_batches(self) -> Iterator[Any]:
        for number, footer in enumerate(self.footers):
            for group in range(footer.num_row_groups):
                place = f"{self.files[number]}, row group {group}"
                yield from self._batches(number, group, place, [str(self.label)], 4096)

    def fingerprint(self) -> Any:
        """Of each row group its rows and the sizes of its columns."""
        crc = 0
        for footer in self.footers:
            for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
                sizes = [group.column(i).total_compressed_size for i in range(group.num_columns)]
                crc = zlib.crc32(repr((group.num_rows, sizes)).encode(), crc)
        return [self.rows, self._columns(True), crc]


class Csv(FileSource):
    """CSV files that are read from the beginning to the end each time: their rows are shuffled within the window alone.

    Parameters
    ----------
    path : a file, a folder (all files in it that end in .csv) or several files; compressed ones too (.csv.gz)
    features, label, weight, classes : as for ``Parquet``
    delimiter : between cells; None: tab, semicolon or comma, whichever the first line has most of
    header : whether the first line names the columns, which else are "f0", "f1", ...; None: it does where none of its
        cells is a number

    For a table that is read often, ``pyarrow.parquet.write_table(pyarrow.csv.read_csv(...))`` makes a Parquet file of
    it, which is read many times as fast, and in any order.
    """

    ending = ".csv"

    def __init__(
        self, path: Any, features: Any = None, label: str | None = None, *, weight: str | None = None,
        classes: Any = None, delimiter: str | None = None, header: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(path, features, label, weight, classes)
        with self.arrow.input_stream(self.files[0], compression="detect") as stream:
            line = stream.read(1 << 16).decode("utf-8-sig", "replace").partition("\n")[0].rstrip("\r")
        if not line.strip():
            raise ValueError(f"Csv: expected columns in the first line of {self.files[0]}, got an empty one")
        self.delimiter = delimiter if delimiter is not None else max(DELIMITERS, key=line.count)
        cells = [cell.strip().strip('"') for cell in line.split(self.delimiter)]
        self.header = not any(map(_is_number, cells)) if header is None else bool(header)
        with self._open(self.files[0], {}, None) as reader:
            names = reader.schema.names
        self._choose(names)

    def _open(self, file: Path, types: dict[str, Any], columns: list[str] | None) -> Any:
        csv = self.arrow.csv
        try:
            return csv.open_csv(
                file,
                csv.ReadOptions(autogenerate_column_names=not self.header, block_size=BYTES, use_threads=False),
                csv.ParseOptions(delimiter=self.delimiter),
                csv.ConvertOptions(column_types=types, include_columns=columns),
            )
        except (self.arrow.ArrowException, KeyError, OSError) as error:
            raise ValueError(f"{file}: cannot be read ({error})") from error

    def pieces(self, rows: int) -> list[Piece]:
        """Files."""
        return [Piece(str(file), None, self._reader(file)) for file in self.files]

    def _reader(self, file: Path) -> Any:
        def read(labelled: bool) -> Iterator[Block]:
            for batch in self._batches(file, self._columns(labelled)):
                if len(batch):
                    yield self._block(batch, labelled)

        return read

    def _batches(self, file: Path, columns: list[str]) -> Iterator[Any]:
        numbers = {*self.features, self.weight} - {None}
        types = {name: self.arrow.float64() for name in columns if name in numbers}
        try:
            with self._open(file, types, columns) as reader:
                yield from reader
        except self.arrow.ArrowException as error:
            raise ValueError(f"{file}: {error}") from error

    def _label_batches(self) -> Iterator[Any]:
        for file in self.files:
            yield from self._batches(file, [str(self.label)])

    def fingerprint(self) -> Any:
        """Sizes and beginnings of the files."""
        crc = 0
        for file in self.files:
            with file.open("rb") as content:
                crc = zlib.crc32(content.read(1 << 16), crc)
        return [[_size(file) for file in self.files], self._columns(True), crc]


def _files(function: str, path: Any, ending: str) -> list[Path]:
    """The files that a path, or several, stand for."""
    if not isinstance(path, (str, os.PathLike)) and isinstance(path, Iterable):
        return [file for one in path for file in _files(function, one, ending)]
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"{function}: expected the path of a file or a folder, got {checks.describe(path)}") from None
    if file.is_dir():
        endings = tuple(ending + packed for packed in ("", *PACKED))
        found = sorted(one for one in file.rglob("*") if one.name.endswith(endings) and one.is_file())
        found = [one for one in found if not one.name.startswith((".", "_"))]  # as Spark and others leave them
        if not found:
            raise FileNotFoundError(f"{function}: expected files that end in {ending} in {file}, got none")
        return found
    if not file.exists():
        raise FileNotFoundError(f"{function}: there is no file {file}")
    return [file]


def _size(file: Path) -> int:
    return file.stat().st_size


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
