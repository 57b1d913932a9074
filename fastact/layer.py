"""What a layer is: the base class, what it declares, and the memory it is given.

A layer declares the shapes of its parameters first; the network then hands it views into flat arrays. One's own layer
subclasses ``Layer``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Layer", "ParameterSpec", "Plan", "Workspace", "aligned_empty"]

ALIGNMENT = 64  # bytes: a cache line and the widest vector
KINDS = ("weight", "bias", "norm", "activation")


@dataclass(frozen=True)
class ParameterSpec:
    """Shape of a parameter (or buffer) and what it is: "weight", "bias", "norm" or "activation"."""

    shape: tuple[int, ...]
    kind: str = "weight"

    @property
    def decayed(self) -> bool:
        """Whether weight decay applies by default: to weights only."""
        return self.kind == "weight"


@dataclass(frozen=True)
class Plan:
    """What the network lets a layer do with memory in training."""

    over_input: bool = False  # forward may put its result where x is
    over_grad: bool = False  # backward may put its result where grad is
    keep_output: bool = True  # backward must leave forward's result as it is


class Layer:
    """Base of all layers: maps (rows, ``inputs``) to (rows, ``outputs``).

    A subclass sets ``inputs`` and ``outputs`` (None: as the layer before says), implements ``forward`` and
    ``backward``, and where it has parameters ``parameter_specs`` and ``initialize``. In a network,
    ``parameters[name]``, ``gradients[name]`` and ``buffers[name]`` are views of the network's flat arrays;
    ``backward`` adds nothing to the gradients, it overwrites them.

    The class attributes tell the network what backward reads and who may write where. The defaults are right for any
    layer that leaves x and grad as they are.
    """

    inputs: int = None  # type: ignore[assignment] # None: not known before ``connect``
    outputs: int = None  # type: ignore[assignment]
    reads_input = True  # backward reads forward's x
    reads_output = True  # backward reads forward's result
    in_place_forward = False  # forward can write over x where ``plan`` allows it
    in_place_backward = False  # backward can write over grad where ``plan`` allows it
    transient: tuple[str, ...] = ()  # attributes that ``attach`` makes, which copies do without
    sublayers: tuple[Layer, ...] = ()  # the layers inside, where there are any
    attached = False  # whether it is part of a network, as ``attach`` notes

    def __init__(self) -> None:
        """Start without parameters; the network attaches them."""
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self.frozen: frozenset[str] = frozenset()
        self.plan = Plan()
        self.workspaces: dict[str, Workspace] = {}  # memory that grows to the largest batch
        self._saved: Any = None  # what the last training forward keeps for backward

    def connect(self, inputs: int) -> None:
        """Take the width of the layer before; a layer of no width of its own passes it on."""
        self.inputs = inputs if self.inputs is None else self.inputs
        self.outputs = self.inputs if self.outputs is None else self.outputs

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Names, shapes and kinds of the parameters this layer wants."""
        return {}

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The same for numbers that are part of the layer's state but not trained."""
        return {}

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and what memory this layer may overwrite."""
        self.parameters, self.gradients, self.buffers = parameters, gradients, buffers
        self.plan, self._saved, self.workspaces = plan, None, {}
        self.attached = True

    def freeze(self, names: frozenset[str]) -> None:
        """Take note of which parameters are frozen: their gradients need not be computed."""
        self.frozen = names

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill the parameters and buffers with starting values."""

    def random_state(self) -> dict[str, Any]:
        """State of the layer's own random numbers as JSON: what a resumed training needs to go on alike."""
        return {}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``random_state`` returned."""
        if state:
            raise ValueError(f"{type(self).__name__}.set_random_state: expected no state, got {sorted(state)}")

    def describe(self) -> dict[str, Any]:
        """What is needed to make the layer again, as JSON: the class name under "layer" and its arguments."""
        raise NotImplementedError(f"{type(self).__name__}.describe: implement it to make the layer savable")

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Layer:
        """The layer that ``describe`` described: by default, the constructor with all but "layer" as keywords."""
        return cls(**{name: value for name, value in description.items() if name != "layer"})

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The output for x; with training, backward may follow and the result may be a reused workspace."""
        raise NotImplementedError

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Fill the gradients and return the gradient with respect to forward's x."""
        raise NotImplementedError

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """The output when not training; with over_input, x is nobody else's and may be written over."""
        return self.forward(x)

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The activation's slope at the last training forward, until backward; None where there is no activation."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to a network and to a running step."""
        kept = {name: value for name, value in vars(self).items() if name not in self.transient}
        network = {"parameters": {}, "gradients": {}, "buffers": {}, "workspaces": {}, "attached": False}
        return kept | network | {"_saved": None}

    def __repr__(self) -> str:
        """The class and its widths."""
        return f"{type(self).__name__}({self.inputs} -> {self.outputs})"


class Workspace:
    """An array of rows that grows to the largest batch seen; views for a batch size are made once.

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
            view = self._views[count] = self._buffer[:count]
        return view

    def bytes_for(self, count: int) -> int:
        """Bytes that so many rows take."""
        return count * math.prod(self._shape) * self._buffer.itemsize


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array whose data start on a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def held(layer: Layer) -> Any:
    """What the last training forward kept for backward."""
    if layer._saved is None:
        name = type(layer).__name__
        raise RuntimeError(f"{name}.backward: call forward(x, training=True) first; each backward needs its own")
    return layer._saved


def taken(layer: Layer) -> Any:
    """The same, and the layer forgets it."""
    saved = held(layer)
    layer._saved = None
    return saved
