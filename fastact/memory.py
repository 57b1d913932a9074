"""Memory: aligned arrays, workspaces that grow, and flat arrays divided into named segments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from ctypes import addressof, c_char
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import checks

ALIGNMENT = 64  # bytes: a cache line and the widest vector
KINDS = ("weight", "bias", "norm", "activation")
SIZES = 64  # numbers of rows whose views are kept, each of 2 KB a layer


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array whose data start on a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -addressof(c_char.from_buffer(raw.data)) % ALIGNMENT  # raw.ctypes takes longer
    return np.ndarray(shape, dtype, raw, start)


def keep(views: dict[int, Any], rows: int, view: Any) -> Any:
    """Keep the view for that many rows, in place of the oldest where there are many."""
    if len(views) >= SIZES:
        del views[next(iter(views))]
    views[rows] = view
    return view


class Workspace:
    """An array of rows that grows to the largest batch seen; views for a batch size are kept.

    ``columns`` None: one number a row.
    """

    def __init__(self, columns: int | None, dtype: Any) -> None:
        """No memory is taken before it is asked for."""
        self._shape = () if columns is None else (columns,)
        self._buffer = np.empty((0, *self._shape), dtype)
        self._views: dict[int, np.ndarray] = {}

    def rows(self, count: int) -> np.ndarray:
        """The first count rows."""
        view = self._views.get(count)
        if view is None:
            if count > len(self._buffer):
                self._buffer = aligned_empty((count, *self._shape), self._buffer.dtype)
                self._views.clear()
            view = keep(self._views, count, self._buffer[:count])
        return view

    def bytes_for(self, count: int) -> int:
        """Bytes that count rows take."""
        return count * math.prod(self._shape) * self._buffer.itemsize


@dataclass(frozen=True)
class ParameterSpec:
    """Shape of a parameter (or buffer) and what it is: "weight", "bias", "norm" or "activation"."""

    shape: tuple[int, ...]
    kind: str = "weight"

    def __post_init__(self) -> None:
        checks.choice("ParameterSpec", "kind", self.kind, KINDS)
        if not isinstance(self.shape, tuple):
            raise TypeError(f"ParameterSpec: expected shape to be a tuple, got {checks.describe(self.shape)}")
        for length in self.shape:
            checks.whole("ParameterSpec", "shape", length, 0)

    @property
    def decayed(self) -> bool:
        """Whether weight decay applies by default: to weights only."""
        return self.kind == "weight"


@dataclass(frozen=True)
class Segment:
    """Where a parameter lies in the flat arrays."""

    name: str  # "0.weight": layer number and parameter name
    start: int
    stop: int
    shape: tuple[int, ...]
    kind: str = "weight"  # or "bias", "norm", "activation"
    frozen: bool = False  # optimisers leave it alone

    @property
    def decayed(self) -> bool:
        """Whether weight decay applies by default: to weights only."""
        return self.kind == "weight"


class FlatNetwork(Protocol):
    """What optimisers see of a network."""

    parameters: np.ndarray
    gradients: np.ndarray
    segments: tuple[Segment, ...]
    dtype: np.dtype


def lay_out(specs: Mapping[str, ParameterSpec], step: int) -> tuple[Segment, ...]:
    """Segments by kind, so that optimisers treat each kind in one call; each starts on a multiple of step elements."""
    segments, start = [], 0
    for name, spec in sorted(specs.items(), key=lambda item: KINDS.index(item[1].kind)):
        stop = start + math.prod(spec.shape)
        segments.append(Segment(name, start, stop, spec.shape, spec.kind))
        start = -(-stop // step) * step
    return tuple(segments)


def views(segments: tuple[Segment, ...], flat: np.ndarray) -> dict[str, np.ndarray]:
    """The segments' parts of a flat array, in their shapes."""
    return {s.name: flat[s.start : s.stop].reshape(s.shape) for s in segments}


def fill(function: str, arrays: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
    """Copy named values into arrays; ValueError, with nothing written, unless names, shapes and dtypes match."""
    for name in (*arrays, *values):
        if name not in values or name not in arrays:
            raise ValueError(f"{function}: expected exactly {', '.join(arrays)}, got {', '.join(values)}")
    for name, array in arrays.items():
        value = np.asarray(values[name])
        if value.shape != array.shape or value.dtype != array.dtype:
            raise ValueError(
                f"{function}: expected {name} to be {array.dtype} {array.shape}, got {value.dtype} {value.shape}"
            )
    # Values may be views of the arrays themselves, of two layers that change places for instance.
    flats = {id(array.base): array.base for array in arrays.values() if array.base is not None}
    given = {
        name: np.array(value) if any(np.may_share_memory(value, flat) for flat in flats.values()) else value
        for name, value in values.items()
    }
    for name, array in arrays.items():
        array[...] = given[name]
