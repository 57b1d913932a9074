"""How the text of a table is laid out: its encoding, what stands between cells, and where names end and rows begin.

It is found from the beginning of the text, and is what every reader is told.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .tables import MISSING, number

WORDS = ("true", "false")  # that a reader may take for something else than texts
DELIMITERS = (",", "\t", ";", "|", " ")
LABEL_NAMES = ("label", "target", "y")  # of columns, the first that occurs is what is to be predicted
SAMPLE = 1 << 20  # bytes that the layout is found from
SAMPLE_ROWS = 2000
LARGE = 4 << 20  # bytes from which on importing a faster reader pays


@dataclass(frozen=True)
class Source:
    """Bytes of text that can be read again and again."""

    name: str
    path: Path | None = None
    content: bytes = b""

    @property
    def packed(self) -> bool:
        return self.path is not None and self.path.suffix.lower() == ".gz"

    @contextmanager
    def bytes(self) -> Iterator[BinaryIO]:
        """The plain bytes."""
        try:
            if self.path is None:
                yield io.BytesIO(self.content)
            elif self.packed:
                with gzip.open(self.path, "rb") as file:
                    yield file  # type: ignore[misc]
            else:
                with self.path.open("rb") as file:
                    yield file
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{self.name}: not a whole gzip file ({error})") from error

    @property
    def large(self) -> bool:
        """Whether a faster reader pays."""
        size = len(self.content) if self.path is None else self.path.stat().st_size
        return size * (4 if self.packed else 1) >= LARGE


@dataclass(frozen=True)
class Layout:
    """How the text of a table is laid out."""

    encoding: str
    delimiter: str
    decimal: str
    skip: int  # lines before the first row of data
    names: tuple[str, ...] | None  # from a header, one a column
    columns: int
    texts: frozenset[int]  # columns that hold something else than numbers
    booleans: frozenset[int]  # of these, the ones that hold nothing but true and false
    padded: bool = False  # whether spaces stand before cells
    spaced: bool = False  # whether quotation marks stand behind spaces


def find_layout(
    source: Source, encoding: str | None, delimiter: str | None, header: bool | None, decimal: str | None
) -> Layout:
    with source.bytes() as file:
        start = file.read(SAMPLE)
    if not start:
        raise ValueError(f"{source.name}: the file is empty")
    encoding = encoding or _encoding(start)
    # What is cut off in the middle of a character is left out
    text = io.TextIOWrapper(io.BytesIO(start), encoding, newline="", errors="strict")
    if len(start) == SAMPLE:
        text = io.TextIOWrapper(io.BytesIO(start), encoding, newline="", errors="ignore")
    lines = list(itertools.islice(text, 2 * SAMPLE_ROWS))
    if len(start) == SAMPLE and len(lines) < 2 * SAMPLE_ROWS and len(lines) > 1:
        del lines[-1]  # it may be half a line
    before, comment = _opening(lines)
    body = lines[before:]
    if not body:
        raise ValueError(f"{source.name}: the file has no rows of data")
    if "\0" in body[0]:
        raise ValueError(f"{source.name}: it holds bytes of 0, as UTF-16 does; pass --encoding utf-16-le, or utf-16-be")
    chosen = delimiter or _delimiter(body)
    if len(chosen) != 1:
        raise ValueError(f"{source.name}: expected a delimiter of one character, got {chosen!r}; pass --delimiter ';'")
    rows, ends = _sample(body, chosen)
    point = decimal or _decimal(rows, chosen)
    return _described(source, rows, ends, header, comment, before, encoding, chosen, point, body)


def _encoding(start: bytes) -> str:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-8-sig"


def _opening(lines: Sequence[str]) -> tuple[int, str | None]:
    """How many lines of comments, and empty ones, come first; and the last comment."""
    count, comment = 0, None
    for line in lines:
        if line.strip() and not line.startswith(("#", "%")):
            break
        comment = line if line.strip() else comment
        count += 1
    return count, comment


def rows_of(lines: Iterable[str], delimiter: str) -> Any:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _sample(lines: Sequence[str], delimiter: str) -> tuple[list[list[str]], list[int]]:
    """The first rows, and after how many lines each ends."""
    rows, ends, reader = [], [], rows_of(lines, delimiter)
    try:
        for row in reader:
            if row and any(row):
                rows.append([cell.strip() for cell in row])
                ends.append(reader.line_num)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        if not rows:
            raise
    return _without_comments(rows, ends)


def _without_comments(rows: list[list[str]], ends: list[int]) -> tuple[list[list[str]], list[int]]:
    usual = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    kept = [i for i, row in enumerate(rows) if len(row) == usual or not row[0].startswith("#")]
    return [rows[i] for i in kept], [ends[i] for i in kept]


def _delimiter(lines: Sequence[str]) -> str:
    """The one that gives rows of one length, and among those the most numbers, then the most columns."""

    def quality(delimiter: str) -> tuple[bool, float, float, int]:
        try:
            rows, _ = _sample(lines[:100], delimiter)
        except csv.Error:
            return False, 0.0, 0.0, 0
        widths = Counter(map(len, rows[1:] or rows)).most_common(1)
        width, usual = widths[0] if widths else (0, 0)
        cells = [cell for row in rows for cell in row if cell not in MISSING]
        numbers = sum(number(cell) is not None or _has_comma(cell, delimiter) for cell in cells)
        regular = usual / max(1, len(rows[1:] or rows))
        fair = width > 1 and (delimiter != " " or regular == 1)
        return fair, round(regular, 1), round(numbers / max(1, len(cells)), 1), width

    return max(DELIMITERS, key=quality)


def _has_comma(cell: str, delimiter: str) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return delimiter != "," and cell.count(",") == 1 and number(cell.replace(",", ".")) is not None


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    cells = [cell for row in rows for cell in row]
    commas = any(_has_comma(cell, delimiter) for cell in cells)
    points = any("." in cell and number(cell) is not None for cell in cells)
    return "," if commas and not points else "."


def _is_missing(cell: str) -> bool:
    return cell in MISSING


def _number(cell: str, decimal: str) -> float | None:
    return number(cell.replace(",", ".") if decimal == "," else cell)


def _is_header(names: Sequence[str], body: Sequence[Sequence[str]], decimal: str) -> bool:
    """Whether the first row names the others' columns: a word above numbers, or words that nothing below repeats."""
    if any(name.lower() in LABEL_NAMES for name in names):
        return True
    numbers = [_number(name, decimal) is not None for name in names]
    if not body:
        return not any(numbers)
    if len(names) == len(body[0]) - 1 and not all(numbers):
        return True
    columns = list(zip(*body, strict=False))
    words_above = numbers_above = 0
    for name, is_number, column in zip(names, numbers, columns, strict=False):
        cells = [cell for cell in column if not _is_missing(cell)]
        if cells and all(_number(cell, decimal) is not None for cell in cells):
            numbers_above += is_number
            words_above += not is_number and not _is_missing(name)
    if words_above or numbers_above:
        return words_above > numbers_above
    again = any(name in column for name, column in zip(names, columns, strict=False))
    return not any(numbers) and not again and len(set(names)) == len(names) and "" not in names[1:]


def _titles(rows: Sequence[Sequence[str]], decimal: str) -> int:
    """How many rows above the table itself are of another length, as titles and sizes are."""
    width = Counter(map(len, rows)).most_common(1)[0][0]
    count = next(i for i, row in enumerate(rows) if len(row) == width)
    if not 0 < count < 10 or len(rows) < count + 3 or any(len(row) != width for row in rows[count:]):
        return 0
    names_of_rows = count == 1 and len(rows[0]) == width - 1  # which have none in the header
    if names_of_rows and not (_is_header(rows[1], rows[2:], decimal) and len(rows[0]) == 1):
        return 0
    return count


def _described(
    source: Source,
    rows: list[list[str]],
    ends: list[int],
    header: bool | None,
    comment: str | None,
    before: int,
    encoding: str,
    delimiter: str,
    decimal: str,
    lines: Sequence[str],
) -> Layout:
    """The layout, from the first rows."""
    titles = _titles(rows, decimal)
    rows, ends, before = (
        rows[titles:],
        [end - (ends[titles - 1] if titles else 0) for end in ends[titles:]],
        (before + (ends[titles - 1] if titles else 0)),
    )
    first, body = rows[0], rows[1:]
    names: list[str] | None = None
    if header is not False and (header or _is_header(first, body, decimal)):
        names, skip = first, before + ends[0]
    else:
        body, skip = rows, before
        if comment is not None and header is None:  # as numpy.savetxt writes names
            words: list[str] = next(rows_of([comment.lstrip("#% ").rstrip("\r\n")], delimiter), [])
            names = [word.strip() for word in words] if len(words) == len(first) > 1 else None
    width = Counter(map(len, body)).most_common(1)[0][0] if body else len(first)
    if names is not None and len(names) == width - 1:
        ended = all(row[-1] == "" for row in body if len(row) == width)  # each row by a delimiter
        names = [*names, ""] if ended else ["", *names]
    if names is not None and len(names) != width:
        raise ValueError(f"{source.name}: line {skip + 1} has {width} column(s), the lines before it {len(names)}")
    columns = list(zip(*(row for row in body if len(row) == width), strict=True)) or [()] * width
    texts = [
        j
        for j, column in enumerate(columns)
        if not all(_is_missing(cell) or _number(cell, decimal) is not None for cell in column)
    ]
    booleans = frozenset(j for j in texts if all(_is_missing(cell) or cell.lower() in WORDS for cell in columns[j]))
    padded = any(delimiter + " " in line for line in lines)
    spaced = any(f"{delimiter} " + '"' in line for line in lines) or delimiter == " "
    unlike = None if names is None else unique(names)
    return Layout(encoding, delimiter, decimal, skip, unlike, width, frozenset(texts), booleans, padded, spaced)


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names, no two alike, and places for those that are empty."""
    found: list[str] = []
    for j, name in enumerate(names):
        base = chosen = name or f"column {j + 1}"
        for count in itertools.count(2):
            if chosen not in found:
                break
            chosen = f"{base}.{count}"
        found.append(chosen)
    return tuple(found)
