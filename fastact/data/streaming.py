"""Batches of a source that need not fit into memory: read ahead, and shuffled within a window.

An epoch goes through the pieces of a source in a random order, and through the rows of each window, which holds what
was read last, in another. All of that follows from what is drawn when the epoch begins, in the thread that trains.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import numpy as np

from .. import checks
from ..memory import aligned_empty
from .batches import ArrayBatches, Batch
from .sources import Block, Piece, Source

WINDOW = "64 MB"
BLOCKS = 64  # of a window, about: that many places of the data are mixed
FEWEST = 16  # rows of a block, so that what each costs does not count
FETCHED = 4  # pieces that the system is asked for beforehand: it fetches one while another is converted
PATIENCE = 1.0  # seconds for an iterator of the user's to return when it is no longer wanted; its thread is then left
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}

#: x, y, sample weights and row weights as ``ArrayBatches`` takes them, of what was read.
Converted = tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]
Convert = Callable[[Any, Any, Any], Converted]
Results = Generator[Any]


def window_rows(function: str, window: Any, row: int) -> int:
    """The rows of a window, given as a number of them or as bytes ("64 MB"); row: bytes of one."""
    if not isinstance(window, str):
        return checks.whole(function, "window", window, 1)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?)b?\s*", window.lower())
    if match is None or match[2] not in UNITS:
        raise ValueError(f"{function}: expected window to be a number of rows, or bytes as in '64 MB', got {window!r}")
    return max(1, int(float(match[1]) * UNITS[match[2]]) // max(row, 1))


class Window:
    """Rows that are shuffled together, in memory that is used again."""

    def __init__(self, rows: int) -> None:
        self.rows, self.filled = rows, 0
        self.arrays: list[np.ndarray | None] = [None] * 4

    def put(self, parts: Converted, start: int) -> int:
        """Add rows from that one on, as many as there is room for; how many those are."""
        count = min(len(parts[0]) - start, self.rows - self.filled)
        into = slice(self.filled, self.filled + count)
        for i, part in enumerate(parts):
            held = self.arrays[i]
            if part is None:
                if held is not None:  # weights that blocks before had
                    held[into] = 1
                continue
            if held is None or held.shape[1:] != part.shape[1:] or held.dtype != part.dtype:
                held = self.arrays[i] = aligned_empty((self.rows, *part.shape[1:]), part.dtype)
                held[: self.filled] = 1
            held[into] = part[start : start + count]
        self.filled += count
        return count

    def batches(self, size: int, generator: np.random.Generator | None) -> ArrayBatches:
        """Batches of what it holds."""
        x, y, sample, row = (None if held is None else held[: self.filled] for held in self.arrays)
        assert x is not None
        return ArrayBatches(x, x[:, :0] if y is None else y, sample, row, size, generator)


class Reading:
    """What a reader is given: memory, and whether it should end."""

    ended = False

    def __init__(self, spare: Sequence[Window]) -> None:
        self.spare = list(spare)

    def take(self) -> Window:
        """Memory for what comes next; waits until there is some."""
        return self.spare[0]


class _EndedError(Exception):
    """Nobody wants the results any more."""


class ReadingAhead(Reading):
    """A reader in another thread, as far ahead as there are spare windows."""

    def __init__(self, spare: Sequence[Window], read: Callable[[Reading], Results], patience: float | None) -> None:
        """patience: seconds in which the thread is to end; None: however long that takes."""
        super().__init__(spare)
        self.patience = patience
        self._read = read
        self._free: queue.SimpleQueue[Window | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[Any, BaseException | None] | None] = queue.SimpleQueue()
        for window in spare:
            self._free.put(window)
        self._thread = threading.Thread(target=self._run, name="fastact reader", daemon=True)

    def take(self) -> Window:
        window = self._free.get()
        if window is None or self.ended:
            raise _EndedError
        return window

    def _run(self) -> None:
        try:
            with closing(self._read(self)) as results:
                for result in results:
                    self._full.put((result, None))
        except _EndedError:
            return
        except BaseException as error:
            self._full.put((None, error))
        else:
            self._full.put(None)

    def results(self, waiting: Callable[[], AbstractContextManager[Any]]) -> Results:
        """What it reads; an error of its is raised here. The thread is at its end when this is."""
        self._thread.start()
        try:
            while True:
                try:
                    item = self._full.get_nowait()
                except queue.Empty:
                    with waiting():
                        item = self._full.get()
                if item is None:
                    break
                result, error = item
                if error is not None:
                    raise error
                content, window = result
                yield content
                if window is not None:
                    self._free.put(window)
        finally:
            self.ended = True
            self._free.put(None)
            self._thread.join(self.patience)


class StreamBatches:
    """Batches of a source.

    Parameters
    ----------
    function : what messages begin with
    source : what is read
    convert : (x, y, weights) of a block -> arrays as the network and the loss take them. Called in the reader's thread.
    size : rows of a batch; None: the blocks as they come
    window : rows that are shuffled together
    generator : draws the order of each epoch; None: that of the data
    pieces : of the source, what is gone through in an epoch; None: all
    labelled : whether targets are read
    """

    def __init__(
        self,
        function: str,
        source: Source,
        convert: Convert,
        size: int | None,
        window: int,
        generator: np.random.Generator | None = None,
        *,
        pieces: Sequence[Piece] | None = None,
        labelled: bool = True,
    ) -> None:
        self.function, self.source, self.convert = function, source, convert
        self.generator, self.labelled, self.size = generator, labelled, size
        self.pieces = pieces_of(source, window) if pieces is None else pieces
        known = [piece.rows for piece in self.pieces]
        self.rows = None if None in known else sum(rows for rows in known if rows is not None)
        self.steps: int | None = None
        self.sizes: Collection[int] = ()
        if size is not None:
            window = max(size, window // size * size)  # so that only the last batch is a short one
            if self.rows:
                size = self.size = min(size, self.rows)
                self.steps = -(-self.rows // size)
                self.sizes = {size, self.rows % size} - {0}
        self.window = window if self.rows is None else max(1, min(window, self.rows))
        self.spare = [Window(self.window) for _ in range(2 if source.ahead else 1)]
        #: What is around the waiting for data, where Ctrl-C may come through at once.
        self.waiting: Callable[[], AbstractContextManager[Any]] = nullcontext
        #: Called with the first rows that are read.
        self.first: Callable[[np.ndarray], object] | None = None
        #: Rows that have been handed out in all.
        self.passed = 0

    def epoch(self) -> Generator[Batch]:
        """The batches of the next epoch."""
        order, seed = list(range(len(self.pieces))), 0
        if self.generator is not None:
            places = np.arange(len(self.pieces))
            self.generator.shuffle(places)
            order, seed = places.tolist(), int(self.generator.integers(2**63))
        return self._batches(order, seed)

    def _batches(self, order: Sequence[int], seed: int) -> Generator[Batch]:
        rows = weight = 0.0
        read = self._windows if self.size is not None else self._as_they_come
        with closing(self._results(lambda reading: read(reading, order))) as results:
            for number, result in enumerate(results):
                for batch in self._of(result, number, seed):
                    if self.first is not None:
                        self.first(batch[0])
                        self.first = None
                    rows, weight = rows + len(batch[0]), weight + batch[3]
                    self.passed += len(batch[0])
                    yield batch
        if not rows:
            again = "; a function must return a new iterator each time it is called" if self.passed else ""
            raise ValueError(f"{self.function}: expected at least one row of data, got none{again}")
        if not weight:
            raise ValueError(
                f"{self.function}: expected rows that count; all weights are 0 or all labels the ignored number"
            )

    def _of(self, result: Any, number: int, seed: int) -> Generator[Batch]:
        if isinstance(result, Window):
            assert self.size is not None
            rng = None if self.generator is None else np.random.default_rng([seed, number])
            yield from result.batches(self.size, rng).epoch()
        else:
            x, y, sample_weight, row_weights = result
            yield x, y, sample_weight, len(x) if row_weights is None else float(row_weights.sum())

    def _results(self, read: Callable[[Reading], Results]) -> Results:
        """What is read, in this thread or by another one."""
        if self.source.ahead:
            patience = PATIENCE if self.source.batched else None
            yield from ReadingAhead(self.spare, read, patience).results(self.waiting)
            return
        results = read(Reading(self.spare))
        while True:
            with self.waiting():
                result = next(results, None)
            if result is None:
                return
            yield result[0]

    # -------------------------------- in the reader's thread: (what is handed over, the window that it gives back)

    def _windows(self, reading: Reading, order: Sequence[int]) -> Results:
        window = reading.take()
        window.filled = 0
        for parts in self._converted(reading, order):
            start = 0
            while start < len(parts[0]):
                if window.filled == window.rows:
                    yield window, window
                    window = reading.take()
                    window.filled = 0
                start += window.put(parts, start)
        if window.filled:
            yield window, window

    def _as_they_come(self, reading: Reading, order: Sequence[int]) -> Results:
        """One batch after the other, which are new arrays; a window stands for so many rows of them."""
        window, rows = reading.take(), 0
        for parts in self._converted(reading, order):
            rows += len(parts[0])
            full = rows >= window.rows
            # Whoever makes batches may do so in the same memory
            own = tuple(None if part is None else part.copy() for part in parts) if self.source.ahead else parts
            yield own, window if full else None
            if full:
                window, rows = reading.take(), 0

    def _converted(self, reading: Reading, order: Sequence[int]) -> Generator[Converted]:
        for place, number in enumerate(order):
            piece = self.pieces[number]
            for coming in order[place + (FETCHED if place else 1) : place + FETCHED + 1]:
                prepare = self.pieces[coming].prepare
                if prepare is not None:
                    prepare()
            with closing(converted(piece, self.convert, self.labelled)) as blocks:
                for parts in blocks:
                    if reading.ended:
                        raise _EndedError
                    yield parts


def converted(piece: Piece, convert: Convert, labelled: bool) -> Generator[Converted]:
    """The blocks of a piece that have rows, as the network takes them; errors say where it was."""
    rows = number = 0
    with closing(_read(piece, labelled)) as blocks:
        while True:
            block, number = None, number + 1
            try:
                block = next(blocks, None)
                if block is None:
                    break
                parts = convert(*block)
            except (TypeError, ValueError) as error:
                if block is None and piece.first is None:  # of the user's own
                    raise
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(_placed(str(error), piece, rows, number)) from error
            rows += len(parts[0])
            if len(parts[0]):
                yield parts
    if piece.rows is not None and rows != piece.rows:
        raise ValueError(f"{piece.place}: expected {piece.rows} rows, as it was said to have, got {rows}")


def _read(piece: Piece, labelled: bool) -> Generator[Block]:
    yield from piece.read(labelled)


def _placed(message: str, piece: Piece, rows: int, number: int) -> str:
    """A message about a block, of rows so many behind the piece's beginning, with the place in the data."""
    if piece.first is None:
        return f"{message} (in {piece.place} {number})"
    begin = piece.first + rows
    found, known = re.subn(r"\bat row (\d+)", lambda match: f"at row {int(match[1]) + begin}", message, count=1)
    if found.startswith(piece.place):
        return found
    return f"{found} (in {piece.place})" if known else f"{found} (in {piece.place}, from row {begin} on)"


def pieces_of(source: Source, window: int) -> Sequence[Piece]:
    """The source in pieces that are small beside the window."""
    return source.pieces(max(FEWEST, window // BLOCKS))
