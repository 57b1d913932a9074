"""Data that stay where they are until they are needed: arrays on disk, files, and whatever makes batches.

A ``Source`` is cut into pieces that can be read by themselves, in any order: blocks of rows, row groups, files. These
are what is shuffled, held out, or divided among several readers. What is read is as the user has it, to be converted.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from .. import checks

#: x; y, or None without targets; weights, or None without any: as they are found.
Block = tuple[Any, Any, Any]

SAMPLED = 64  # rows of an array that its fingerprint reads


class Piece(NamedTuple):
    """A part of a source that can be read by itself."""

    place: str  # for messages
    rows: int | None  # None: not known before it is read
    read: Callable[[bool], Iterator[Block]]  # blocks in their order; without targets where they are not asked for
    first: int | None = 0  # the number of its first row in that place; None: rows are counted in each block
    prepare: Callable[[], object] | None = None  # has the system begin to fetch it; nothing is read or waited for


class Source:
    """Base of what ``fit``, ``evaluate``, ``predict`` and the estimators take in place of arrays in memory.

    A subclass has ``pieces``, and what it knows of ``rows`` (all of them) and ``labelled`` (whether there are targets).
    """

    rows: int | None = None
    labelled = True
    weighted = False
    #: Whether another thread may read while the network is trained.
    ahead = True
    #: Whether blocks are batches, taken as they come where no ``batch_size`` is asked for.
    batched = False

    def pieces(self, rows: int) -> Sequence[Piece]:
        """The parts that can be read by themselves, in blocks of about that many rows where the source may choose."""
        raise NotImplementedError

    def fingerprint(self) -> Any:
        """What tells these data from others without reading all of them: JSON."""
        return None

    def __repr__(self) -> str:
        rows = "rows of unknown number" if self.rows is None else f"{self.rows} rows"
        beside = [what for what, there in (("targets", self.labelled), ("weights", self.weighted)) if there]
        return f"{type(self).__name__}({', '.join([self._name(), rows, *beside])})"

    def _name(self) -> str:
        return "batches"

    def blocks(self, rows: int = 4096, labelled: bool = True) -> Iterator[Block]:
        """All blocks in their order."""
        for piece in self.pieces(rows):
            yield from piece.read(labelled)

    def labels(self) -> np.ndarray:
        """The distinct labels, sorted, in one pass over the data."""
        found: np.ndarray | None = None
        for _, y, _ in self.blocks():
            new = np.unique(np.asarray(y))
            found = new if found is None else np.union1d(found, new)
        if found is None:
            raise ValueError(f"{type(self).__name__}.labels: expected at least one row of data, got none")
        return found


# ------------------------------------------------------------------------------------------------ arrays


def stays(value: Any) -> TypeGuard[Any]:
    """Whether value is an array that stays where it is: a memory map, or shape, dtype and slices of something else."""
    if isinstance(value, np.ndarray):
        return isinstance(value, np.memmap) and value.ndim > 0 and getattr(value, "_mmap", None) is not None
    if not isinstance(getattr(value, "dtype", None), np.dtype) or not hasattr(value, "__getitem__"):
        return False
    if not isinstance(getattr(value, "shape", None), tuple) or not value.shape:
        return False
    in_memory = ("__array__", "__array_interface__", "__dlpack__", "tocsr", "iloc")
    return hasattr(value, "chunks") or not any(hasattr(value, name) for name in in_memory)


class Rows:
    """Rows of an array, which are read when they are asked for."""

    def __init__(self, array: Any, name: str) -> None:
        self.array, self.name = array, _named(array, name)
        self.shape, self.dtype = tuple(array.shape), array.dtype
        chunks = getattr(array, "chunks", None)
        first = chunks[0] if isinstance(chunks, tuple) and chunks else 1
        self.chunk = int(first[0] if isinstance(first, tuple) else first) or 1  # dask has one size for each chunk

    def read(self, start: int, stop: int) -> np.ndarray:
        """Those rows."""
        try:
            return np.asarray(self.array[start:stop])
        except OSError as error:
            raise OSError(f"{self.name}: rows {start} to {stop - 1} cannot be read ({error})") from error


class MappedRows(Rows):
    """Rows of a memory map, read from its file: what is read through a map stays in the process' memory."""

    def __init__(self, array: np.memmap, name: str) -> None:
        super().__init__(array, name)
        start = np.frombuffer(array._mmap, np.uint8).ctypes.data  # type: ignore[attr-defined]
        granule = mmap.ALLOCATIONGRANULARITY
        self.path = Path(os.fspath(array.filename))  # type: ignore[arg-type]
        self.begin = array.ctypes.data - start + array.offset - array.offset % granule
        self.extent = array.itemsize + sum(
            (length - 1) * step for length, step in zip(array.shape[1:], array.strides[1:], strict=True)
        )

    @classmethod
    def can_read(cls, array: Any) -> bool:
        """Whether this is a map of a file that is still there, whose rows lie one after the other."""
        if not isinstance(array, np.memmap) or array.filename is None or array.mode == "c" or not array.size:
            return False
        rows = cls(array, "x")
        if any(step < 0 for step in array.strides) or (len(array) > 1 and array.strides[0] < rows.extent):
            return False
        try:
            return rows.read(0, 1).tobytes() == array[:1].tobytes()  # else another file has taken its name
        except (OSError, ValueError):
            return False

    def read(self, start: int, stop: int) -> np.ndarray:
        step = self.array.strides[0]
        size = (stop - start - 1) * step + self.extent if stop > start else 0
        content = np.empty(size, np.uint8)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.begin + start * step)
            view, done = content.data, 0
            while done < size:
                count = file.readinto(view[done:])
                if not count:
                    raise ValueError(
                        f"{self.path}: expected {len(self.array)} rows, as when it was opened, but it ends within row "
                        f"{start + done // step}; it has been cut off since"
                    )
                done += count
        return np.ndarray((stop - start, *self.shape[1:]), self.dtype, content, strides=self.array.strides)

    def prepare(self, start: int, stop: int) -> None:
        """Have the system fetch those rows from the disk."""
        if hasattr(os, "posix_fadvise"):
            step = self.array.strides[0]
            with self.path.open("rb", buffering=0) as file:
                begin, size = self.begin + start * step, (stop - start) * step
                os.posix_fadvise(file.fileno(), begin, size, os.POSIX_FADV_WILLNEED)


class MemoryRows(Rows):
    """Rows of an array in memory, beside others that are not."""

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.array[start:stop]


def _rows(array: Any, name: str) -> Rows:
    if not stays(array):
        return MemoryRows(array, name)
    return MappedRows(array, name) if MappedRows.can_read(array) else Rows(array, name)


def _named(array: Any, name: str) -> str:
    """What an array is called in messages: by its file, where it has one."""
    file = getattr(array, "filename", None)
    if isinstance(array, np.ndarray):
        return name if file is None else os.fspath(file)
    inside = getattr(array, "name", None)
    holder = getattr(getattr(array, "file", None), "filename", None)
    return f"{holder or name}{inside if isinstance(inside, str) else ''}" if holder or isinstance(inside, str) else name


class Arrays(Source):
    """Arrays that stay where they are (``np.memmap``, ``h5py.Dataset``, ``zarr.Array``), read in blocks of rows.

    Parameters
    ----------
    x : features of shape (rows, inputs)
    y, sample_weight : one row, or number, a row of x; they may be in memory. None: none

    >>> import numpy as np
    >>> source = Arrays(np.zeros((5, 2)), [0, 1, 1, 0, 2])
    >>> source.rows, source.labels()
    (5, array([0, 1, 2]))
    """

    def __init__(self, x: Any, y: Any = None, sample_weight: Any = None) -> None:
        self.arrays = [
            None if given is None else _rows(given if stays(given) else np.asarray(given), name)
            for name, given in (("x", x), ("y", y), ("sample_weight", sample_weight))
        ]
        first = self.arrays[0]
        if first is None or not first.shape:
            raise TypeError(f"Arrays: expected x of shape (rows, inputs), got {checks.describe(x)}")
        self.rows, self.labelled, self.weighted = first.shape[0], y is not None, sample_weight is not None
        for rows, name in zip(self.arrays[1:], ("y", "sample_weight"), strict=True):
            if rows is not None and rows.shape[:1] != (self.rows,):
                raise ValueError(f"expected {name} to have {self.rows} rows as x, got shape {rows.shape}")

    def _name(self) -> str:
        x = self.arrays[0]
        return f"{x.name} {x.shape} {x.dtype}" if x is not None else "x"

    def pieces(self, rows: int) -> list[Piece]:
        x, y, weight = self.arrays
        assert x is not None
        assert self.rows is not None
        size = -(-max(rows, 1) // x.chunk) * x.chunk  # whole chunks, which are read and unpacked as one

        def piece(start: int, stop: int) -> Piece:
            def read(labelled: bool) -> Iterator[Block]:
                targets, weights = (None if r is None or not labelled else r.read(start, stop) for r in (y, weight))
                yield x.read(start, stop), targets, weights

            fetch = partial(x.prepare, start, stop) if isinstance(x, MappedRows) else None
            return Piece(x.name, stop - start, read, start, fetch)

        return [piece(start, min(start + size, self.rows)) for start in range(0, self.rows, size)]

    def fingerprint(self) -> Any:
        found = []
        for rows in self.arrays:
            if rows is not None:
                crc, step = 0, max(1, rows.shape[0] // SAMPLED)
                for row in range(0, rows.shape[0], step):
                    crc = zlib.crc32(np.ascontiguousarray(rows.read(row, row + 1)).tobytes(), crc)
                found.append([list(rows.shape), str(rows.dtype), crc])
        return found


# ------------------------------------------------------------------------------------------------ what makes batches


class Stream(Source):
    """Batches that are made as they are needed: by a function that returns an iterator, or from anything to go through.

    Plain functions and iterables are taken as such where ``fit`` is given them; this says more of them.

    Parameters
    ----------
    batches : called, or gone through, once an epoch; each batch is (x, y), (x, y, sample_weight), or x alone for
        ``predict``
    rows : of an epoch, which ends there where there would be more; None: as many as there are, which is not known
    ahead : whether another thread makes batches while the network is trained on those before. False for what asks the
        network itself, or must stay in the thread that calls ``fit``.

    >>> import numpy as np
    >>> def simulate():
    ...     for seed in range(3):
    ...         x = np.random.default_rng(seed).normal(size=(100, 4))
    ...         yield x, x.sum(axis=1)
    >>> [len(x) for x, y, weight in Stream(simulate).blocks()]
    [100, 100, 100]
    """

    batched = True

    def __init__(
        self, batches: Callable[[], Iterable[Any]] | Iterable[Any], *, rows: int | None = None, ahead: bool = True
    ) -> None:
        if not callable(batches) and (not hasattr(batches, "__iter__") or _once(batches)):
            raise TypeError(
                f"Stream: expected a function that returns an iterator, or what can be gone through again and again, "
                f"got {checks.describe(batches)}"
            )
        self.batches, self.ahead = batches, bool(ahead)
        self.rows = None if rows is None else checks.whole("Stream", "rows", rows, 1)

    def pieces(self, rows: int) -> list[Piece]:
        return [Piece("batch", self.rows, self._read, None)]

    def _read(self, labelled: bool) -> Iterator[Block]:
        left, made = self.rows, self.batches() if callable(self.batches) else self.batches
        if not hasattr(made, "__iter__"):
            raise TypeError(f"expected the function to return an iterator of batches, got {checks.describe(made)}")
        for number, batch in enumerate(made, 1):
            if isinstance(batch, (tuple, list)) and len(batch) in (2, 3):
                block: Block = batch[0], batch[1], batch[2] if len(batch) == 3 else None
            elif not labelled and not isinstance(batch, (tuple, list)):
                block = batch, None, None
            else:
                got = f"{len(batch)} of them" if isinstance(batch, (tuple, list)) else checks.describe(batch)
                raise TypeError(f"expected batch {number} to be (x, y) or (x, y, sample_weight), got {got}")
            if left is not None:
                if len(block[0]) > left:
                    block = tuple(None if part is None else part[:left] for part in block)  # type: ignore[assignment]
                left -= len(block[0])
            yield block
            if left == 0:
                return


def _once(value: Any) -> bool:
    """Whether what is gone through is used up by that."""
    return hasattr(value, "__next__")


def found(
    function: str, x: Any, y: Any = None, sample_weight: Any = None, again: bool = True, labelled: bool = True
) -> Source | None:
    """The source that the arguments of ``fit``, ``evaluate`` or ``predict`` are; None for data in memory.

    again : whether it will be gone through more than once
    labelled : whether targets are wanted, and so a list without any may be one of batches
    """
    if type(x) is np.ndarray:
        return None
    if isinstance(x, (str, os.PathLike)):
        raise TypeError(
            f"{function}: expected data, got the path {os.fspath(x)!r}; pass fastact.data.Parquet(path, label=...), "
            "fastact.data.Csv(path, label=...) or np.load(path, mmap_mode='r')"
        )
    if stays(x):
        return _checked(function, x, y, sample_weight)
    if isinstance(x, Source):
        source: Source = x
    elif isinstance(x, (list, tuple)) and y is None and labelled and _batches(x):
        source = Stream(x)
    elif isinstance(x, (list, tuple, bytes)) or hasattr(x, "__array__") or hasattr(x, "tocsr"):
        return None
    elif callable(x) or (hasattr(x, "__iter__") and not _once(x)):
        source = Stream(x)
    elif hasattr(x, "__iter__"):
        if again:
            raise TypeError(
                f"{function}: expected batches that can be gone through once an epoch, got {_article(x)}, which is "
                f"used up by the first; pass the function that makes it: {function}(net, make_batches), or "
                f"{function}(net, lambda: make_batches(...))"
            )
        source = Stream(lambda: x)
    else:
        return None
    for name, given in (("y", y), ("sample_weight", sample_weight)):
        if given is not None:
            raise TypeError(
                f"{function}: expected {name} to come with the batches of a source, which are (x, y) or (x, y, "
                f"sample_weight); got {name} beside them"
            )
    return source


def _checked(function: str, x: Any, y: Any, sample_weight: Any) -> Arrays:
    try:
        return Arrays(x, y, sample_weight)
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None


def _batches(value: Sequence[Any]) -> bool:
    """Whether a list is one of batches: of tuples whose first is a table."""
    return len(value) > 0 and all(isinstance(b, tuple) and len(b) in (2, 3) and np.ndim(b[0]) == 2 for b in value)


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
