"""Files to tables: text with separators, Parquet, NPZ.

Text goes through pandas' or pyarrow's reader where the file is large and one is installed, else through Python's own;
all give the same table. How the text is laid out is found once, from its beginning, and is what either reader is told.
Errors are ValueError, FileNotFoundError or IsADirectoryError, with a one-line message that names the file and the place
in it.
"""

from __future__ import annotations

import csv
import io
import itertools
import sys
import warnings
import zipfile
import zlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from .layout import Layout, Source, find_layout, rows_of, unique
from .tables import MISSING, Column, Table, Text, number

__all__ = ["read_table"]

TEXTS = (".csv", ".tsv", ".txt", ".data", ".dat")
ENDINGS = (*TEXTS, ".csv.gz", ".tsv.gz", ".parquet", ".npz")
READERS = ("pandas", "pyarrow", "csv")
BLOCK = 1 << 20  # bytes


def read_table(
    path: str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    decimal: str | None = None,
    reader: str | None = None,
) -> Table:
    """Read a file as a table: columns of float64 with NaN where a cell is missing, and of ``Text``.

    A column whose cells are numbers, or missing (``""``, NA, NaN, ?, null, None, - and their like), is one of numbers.

    Parameters
    ----------
    path : .csv, .tsv, .txt, .data or .dat, also with .gz after it; .parquet (extra ``tables``); .npz with arrays x and
        y or one 2-D array whose last column is the label; "-" for text from standard input
    encoding : of text; None: UTF-8, or UTF-16 where it begins with a byte order mark
    delimiter : between cells; None: comma, tab, semicolon, bar or spaces, whichever gives a table
    header : whether the first line holds names; None: found from how it differs from the others
    decimal : "." or ","; None: a comma where cells with one are numbers and none has a point
    reader : "pandas", "pyarrow" or "csv"; None: for large files the first of them that is installed, else the last

    Raises ValueError for a file that is no table, FileNotFoundError, IsADirectoryError; ImportError for .parquet
    without pyarrow.
    """
    if str(path) == "-":
        source = Source("standard input", content=sys.stdin.buffer.read())
        return _read_text(source, encoding, delimiter, header, decimal, reader)
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file}: expected a table, got a folder")
    if not file.exists():
        raise FileNotFoundError(f"{file}: there is no such file")
    ending = file.suffix.lower()
    if file.is_file() and file.stat().st_size == 0:
        raise ValueError(f"{file}: the file is empty")
    if ending == ".npz":
        table = _read_npz(file)
    elif ending == ".parquet":
        table = _read_parquet(file)
    elif ending in TEXTS or (ending == ".gz" and Path(file.stem).suffix.lower() in TEXTS):
        table = _read_text(Source(str(file), file), encoding, delimiter, header, decimal, reader)
    else:
        raise ValueError(f"{file}: expected a file name that ends in {_listed(ENDINGS)}, got {ending or 'no ending'!r}")
    if not table.rows:
        raise ValueError(f"{file}: the file has no rows of data")
    return table


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _read_text(
    source: Source,
    encoding: str | None,
    delimiter: str | None,
    header: bool | None,
    decimal: str | None,
    reader: str | None,
) -> Table:
    try:
        layout = find_layout(source, encoding, delimiter, header, decimal)
        columns = _columns(source, layout, reader)
    except UnicodeError as error:
        other = "latin-1" if encoding is None else "utf-8"
        raise ValueError(
            f"{source.name}: expected a text file in {encoding or 'UTF-8'} ({error}); pass --encoding {other}"
        ) from error
    except LookupError as error:
        raise ValueError(f"{source.name}: there is no encoding {encoding!r}; pass --encoding latin-1") from error
    except csv.Error as error:
        raise ValueError(f"{source.name}: not a CSV file ({error})") from error
    names = layout.names or tuple(f"column {j + 1}" for j in range(layout.columns))
    found = dict(zip(names, columns, strict=False))  # a column of nothing but ends of lines has no name
    table = Table(source.name, found, layout.names is not None, place=lambda row: _line(source, layout, row))
    if not table.rows:
        raise ValueError(f"{source.name}: the file has no rows of data")
    return table


# ------------------------------------------------------------------------------------------------------- text: readers


def _columns(source: Source, layout: Layout, reader: str | None) -> list[Column]:
    """The columns, by the reader that is asked for or suits."""
    if reader not in (None, *READERS):
        raise ValueError(f"read_table: expected reader to be {_listed(READERS)}, got {reader!r}")
    fast = {"pandas": _by_pandas, "pyarrow": _by_pyarrow}
    for name in fast if reader is None and source.large else [one for one in fast if one == reader]:
        columns = fast[name](source, layout, insist=reader is not None)
        if columns is not None:
            return columns
    return _by_csv(source, layout)


def _finished(column: Column, decimal: str = ".") -> Column:
    """Texts as numbers where all of them are some."""
    if not isinstance(column, Text):
        return column
    if decimal == ",":
        pointed = Text(column.codes, [value.replace(",", ".") for value in column.values])
        found = pointed.numbers()
    else:
        found = column.numbers()
    return column if found is None else found


def _by_pandas(source: Source, layout: Layout, insist: bool) -> list[Column] | None:
    """By pandas' reader; None where it is not installed, or finds fault with what Python's own may take."""
    if layout.spaced or layout.columns == 1:
        return None
    try:
        import pandas
    except ImportError as error:
        if insist:
            raise ImportError("read_table: there is no pandas; install it with pip install pandas") from error
        return None

    def read(texts: Collection[int], only: list[int] | None) -> Any:
        plain = source.path is not None and not source.packed
        with nullcontext(source.path) if plain else source.bytes() as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", pandas.errors.DtypeWarning)  # of columns that are read again
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            return pandas.read_csv(
                file, sep=layout.delimiter, header=None, names=list(range(layout.columns)), index_col=False,
                skiprows=layout.skip, dtype=dict.fromkeys(texts, str), usecols=only, na_values=sorted(MISSING),
                keep_default_na=False, skipinitialspace=layout.padded, decimal=layout.decimal,
                encoding=layout.encoding.removesuffix("-sig"),
            )  # fmt: skip

    try:
        table = read(layout.booleans, None)
        if table[layout.columns - 1].isna().any() and not _regular(source, layout, len(table)):
            return None
        odd = [j for j in table if not _kept(pandas, table[j])]
        again = read(odd, odd) if odd else None
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, pandas.errors.ParserWarning, UnicodeError):
        return None
    columns: list[Column] = []
    for j in range(layout.columns):
        part = table.pop(j) if again is None or j not in odd else again[j]
        columns.append(_finished(_from_pandas(pandas, part), layout.decimal))
    return columns


def _kept(pandas: Any, part: Any) -> bool:
    """Whether a column is one of numbers or of texts alone, whose spelling is kept."""
    if part.dtype.kind in "iuf":
        return True
    return part.dtype.kind != "b" and pandas.api.types.infer_dtype(part, skipna=True) in ("string", "empty")


def _from_pandas(pandas: Any, part: Any) -> Column:
    if part.dtype.kind in "iuf":
        return part.to_numpy(np.float64)
    codes, values = pandas.factorize(part)
    return Text.coded(codes.astype(np.int32), [str(value) for value in values])


def _regular(source: Source, layout: Layout, rows: int) -> bool:
    """Whether rows of the right length are all there is, as far as separators can tell: pandas fills up short ones."""
    separator = layout.delimiter.encode("utf-16-le" if layout.encoding.startswith("utf-16") else "ascii", "replace")
    count, quoted = 0, False
    with source.bytes() as file:
        for _ in range(layout.skip):
            file.readline()
        while block := file.read(BLOCK):
            count += block.count(separator)
            quoted = quoted or b'"' in block
    return not quoted and count == rows * (layout.columns - 1)


def _by_pyarrow(source: Source, layout: Layout, insist: bool) -> list[Column] | None:
    """By pyarrow's reader; None where it is not installed, or finds fault with what Python's own may take."""
    if layout.spaced:
        return None
    try:
        import pyarrow
        from pyarrow import csv as arrow
    except ImportError as error:
        if insist:
            raise ImportError("read_table: there is no pyarrow; install it with pip install fastact[tables]") from error
        return None

    names = [str(j) for j in range(layout.columns)]
    words: Any = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())

    def read(texts: set[int], only: list[str] | None) -> Any:
        convert = arrow.ConvertOptions(
            column_types={names[j]: words for j in texts},
            include_columns=only,
            null_values=sorted(MISSING),
            strings_can_be_null=True,
            true_values=[], false_values=[], timestamp_parsers=["%Y never %m"],
            decimal_point=layout.decimal,
        )  # fmt: skip
        parse = arrow.ParseOptions(
            delimiter=layout.delimiter,
            newlines_in_values=True,
            invalid_row_handler=lambda row: "skip" if (row.text or "").startswith("#") else "error",
        )
        encoding = "utf8" if layout.encoding.startswith("utf-8") else layout.encoding
        options = arrow.ReadOptions(column_names=names, skip_rows=layout.skip, encoding=encoding, block_size=4 << 20)
        if source.path is not None and not source.packed:
            return arrow.read_csv(source.path, options, parse, convert)
        with source.bytes() as file:
            return arrow.read_csv(file, options, parse, convert)

    try:
        table = read(set(layout.texts), None)
        odd = [j for j, kind in enumerate(table.schema.types) if not _plain(pyarrow, kind)]
        again = read(set(odd), [names[j] for j in odd]) if odd else None
    except (pyarrow.ArrowException, UnicodeError):
        return None
    columns: list[Column] = []
    parts = table.columns
    del table
    for j in range(len(parts)):
        part = again.column(odd.index(j)) if again is not None and j in odd else parts[j]
        parts[j] = None  # its memory is free once it is converted
        columns.append(_finished(_from_arrow(part), layout.decimal))
    return columns


def _plain(pyarrow: Any, kind: Any) -> bool:
    """Whether a type is one of numbers, texts, or nothing at all: not dates and times, whose spelling would be lost."""
    types = pyarrow.types
    return any(
        is_one(kind)
        for is_one in (types.is_integer, types.is_floating, types.is_string, types.is_dictionary, types.is_null)
    )


def _from_arrow(part: Any) -> Column:
    """A chunked array of pyarrow as a column."""
    import pyarrow

    kind, types = part.type, pyarrow.types
    if types.is_null(kind):
        return np.full(len(part), np.nan)
    if types.is_integer(kind) or types.is_floating(kind):
        result = np.empty(len(part), np.float64)
        start = 0
        for chunk in part.chunks:  # no second copy of the whole column
            result[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
            start += len(chunk)
        return result
    if not types.is_dictionary(kind):
        part = part.cast(pyarrow.string()).dictionary_encode()
    part = part.unify_dictionaries()
    codes = np.empty(len(part), np.int32)
    start = 0
    values: list[str] = []
    for chunk in part.chunks:
        codes[start : start + len(chunk)] = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        start += len(chunk)
        values = chunk.dictionary
    return Text.coded(codes, values.to_pylist() if len(part) else [])  # type: ignore[attr-defined]


@contextmanager
def _rows(source: Source, layout: Layout) -> Iterator[Any]:
    """Python's reader, behind the lines that are skipped."""
    with source.bytes() as file:
        text = io.TextIOWrapper(file, layout.encoding, newline="")
        try:
            for _ in range(layout.skip):
                next(text, "")
            yield rows_of(text, layout.delimiter)
        finally:
            text.detach()


def _by_csv(source: Source, layout: Layout) -> list[Column]:
    """By Python's own reader; again where a column turns out to hold something else than numbers."""
    texts = set(layout.texts)
    while True:
        with _rows(source, layout) as reader:
            builders, wrong = _one_pass(source, layout, reader, texts)
        if not wrong:
            return [_finished(builder.column(), layout.decimal) for builder in builders]
        texts |= wrong


def _one_pass(source: Source, layout: Layout, reader: Any, texts: set[int]) -> tuple[list[_Builder], set[int]]:
    builders: list[_Builder] = [_Words() if j in texts else _Numbers(layout.decimal) for j in range(layout.columns)]
    wrong: set[int] = set()
    for block in _blocks(source, layout, reader):
        for j, cells in enumerate(zip(*block, strict=True)):
            if j not in wrong and not builders[j].take(cells):
                wrong.add(j)
    return builders, wrong


def _blocks(source: Source, layout: Layout, reader: Any) -> Iterator[list[list[str]]]:
    """Rows in blocks, each of the right length."""
    width = layout.columns
    block: list[list[str]] = []
    for row in reader:
        if len(row) != width:
            if layout.delimiter == " " and len(row) == width + 1 and row[-1] == "":
                row.pop()  # a space at the end of the line
            elif not row or (len(row) == 1 and not row[0].strip()) or row[0].startswith("#"):
                continue
            else:
                raise ValueError(
                    f"{source.name}: line {layout.skip + reader.line_num} has {len(row)} column(s), the lines before "
                    f"it {width}"
                )
        block.append(row)
        if len(block) == 4096:
            yield block
            block = []
    if block:
        yield block


class _Builder:
    """A column that grows."""

    def take(self, cells: Sequence[str]) -> bool:
        """Add cells; False where they are not of its kind."""
        raise NotImplementedError

    def column(self) -> Column:
        """What was added."""
        raise NotImplementedError


class _Numbers(_Builder):
    def __init__(self, decimal: str) -> None:
        self.decimal, self.found = decimal, array("d")

    def take(self, cells: Sequence[str]) -> bool:
        if self.decimal == ",":
            cells = [cell.replace(",", ".") for cell in cells]
        try:
            values = list(map(float, cells))
            if "_" not in "".join(cells):  # which Python takes in numbers
                self.found.extend(values)
                return True
        except ValueError:
            pass
        bare = [cell.strip() for cell in cells]
        found = [np.nan if cell in MISSING else number(cell) for cell in bare]
        if any(value is None for value in found):
            return False
        self.found.extend(found)  # type: ignore[arg-type]
        return True

    def column(self) -> Column:
        return np.array(self.found, np.float64)


class _Words(_Builder):
    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.codes = array("i")

    def take(self, cells: Sequence[str]) -> bool:
        known = self.known
        self.codes.extend([known.setdefault(cell, len(known)) for cell in cells])
        return True

    def column(self) -> Column:
        return Text.coded(np.array(self.codes, np.int32), list(self.known))


def _line(source: Source, layout: Layout, row: int) -> str:
    """Where a row of data stands, found by reading up to it."""
    with _rows(source, layout) as reader:
        rows = (cells for cells in reader if len(cells) == layout.columns)
        next(itertools.islice(rows, row, None), None)
        return f"line {layout.skip + reader.line_num}"


# ----------------------------------------------------------------------------------------------------- Parquet and NPZ


def _read_parquet(file: Path) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"{file}: reading .parquet needs pyarrow; install it with pip install fastact[tables]"
        ) from error
    try:
        table = parquet.read_table(file)
        columns = {
            name: _finished(_from_arrow(_readable(pyarrow, table.column(j))))
            for j, name in enumerate(unique(table.column_names))
        }
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{file}: not a Parquet file that can be read ({' '.join(str(error).split())})") from error
    return Table(str(file), columns)


def _readable(pyarrow: Any, part: Any) -> Any:
    """A column of any type as one of numbers or texts."""
    kind, types = part.type, pyarrow.types
    if types.is_dictionary(kind):
        part = part.cast(kind.value_type)
        kind = part.type
    if types.is_decimal(kind):
        return part.cast(pyarrow.float64())
    return part if _plain(pyarrow, kind) else part.cast(pyarrow.string())


def _read_npz(file: Path) -> Table:
    names, arrays = _arrays(file)
    name: str | None = next((n for n in ("x", "X") if n in arrays), None)
    alone = name is None and len(names) == 1
    if alone:
        name = names[0]
    if name is None:
        raise ValueError(f"{file}: expected arrays x and y, or one array with the label last, got {', '.join(names)}")
    x = arrays[name]
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{file}: expected {name} to hold numbers, got an array of {x.dtype}")
    if x.ndim != 2:
        raise ValueError(f"{file}: expected {name} of shape (rows, columns), got {x.shape}")
    columns: dict[str, Column] = {f"column {j + 1}": np.array(x[:, j], np.float64) for j in range(x.shape[1])}
    y = None if alone else arrays.get("y")
    if y is None:
        return Table(str(file), columns, named=False)
    targets = _targets(file, y, len(x))
    place = {"place": lambda row: f"row {row}"}
    return Table(str(file), columns | targets, named=False, labels=tuple(targets), **place)


def _targets(file: Path, y: np.ndarray, rows: int) -> dict[str, Column]:
    if y.ndim not in (1, 2) or len(y) != rows:
        raise ValueError(f"{file}: expected y of shape ({rows},), one label per row of x, got {y.shape}")
    if y.dtype.kind not in "fiubUS":
        raise ValueError(f"{file}: expected y to hold class numbers, names or values, got an array of {y.dtype}")
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    parts = y[None] if y.ndim == 1 else y.T
    names = ["y"] if len(parts) == 1 else [f"y{j + 1}" for j in range(len(parts))]
    made = [Text.of(part.tolist()) if y.dtype.kind == "U" else part.astype(np.float64) for part in parts]
    return dict(zip(names, made, strict=True))


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
