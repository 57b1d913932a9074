"""Layers of activations alone, with and without a learned weight, and maxout."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import backends, checks, epilogues
from ..epilogues import ROW_FUNCTIONS, FixedActivation, LearnedActivation
from ..memory import ParameterSpec, Workspace
from ..registry import LEARNED
from .base import LibraryLayer, SameWidth
from .catalogue import listed


@listed
class Activation(SameWidth):
    """An elementwise activation as a layer; after ``Dense``, ``Dense(activation=...)`` is faster.

    Parameters
    ----------
    activation : a name, ``fastact.activation(name, ...)``, ``fastact.custom_activation(...)``, or "softmax" or
        "log_softmax", over each row (cross-entropy takes the outputs without it)
    inputs : the width, needed only where no layer stands before
    """

    def __init__(self, activation: str | FixedActivation, inputs: int | None = None) -> None:
        super().__init__(inputs)
        self.activation: FixedActivation | RowFunction
        if isinstance(activation, str) and activation in ROW_FUNCTIONS:
            self.activation = RowFunction(activation)
        elif activation is None:
            raise TypeError("Activation: expected a name or fastact.activation(name, ...), got None")
        else:
            self.activation = epilogues.elementwise("Activation", activation)
        self.zero_blocks = self.activation.zero_blocks
        reads = self.activation.reads
        self.reads_input, self.reads_output = reads == "x", reads == "y"
        self.in_place_forward = not self.reads_input

    def _shown(self) -> Iterable[str]:
        return [str(self.activation)]

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "activation": self.activation.name, **self.activation.described}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Activation:
        """The layer that ``describe`` described."""
        name = description["activation"]
        if name not in ROW_FUNCTIONS:
            name = epilogues.elementwise("Activation", epilogues.described(name, description["parameters"], custom))
        return cls(name, description["inputs"])

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        self.activation.apply(x, y)
        self._save(x if self.reads_input else y, len(x))

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        self.activation.apply(x, y)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        self.activation.apply_backward(grad, saved, dx)

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        return self.activation.derivative(self._peek(), out) if self.activation.has_slope else None


class RowFunction:
    """softmax or log_softmax where a layer has an activation."""

    reads = "y"
    described: Mapping[str, Any] = {}
    has_slope = zero_blocks = False

    def __init__(self, name: str) -> None:
        self.name, self._number = name, ROW_FUNCTIONS.index(name)

    def apply(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x), over each row; y may be x."""
        backends.current().rows(self._number, x, y)

    def apply_backward(self, grad: np.ndarray, saved: np.ndarray, dx: np.ndarray) -> None:
        """dx from the gradient and the output; dx may be either."""
        backends.current().rows_backward(self._number, grad, saved, dx)

    def derivative(self, saved: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """There is no slope of one element."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name


class Learned(SameWidth):
    """Base of the activations with a learned weight: one for all (shape (1,)), or one a channel."""

    in_place_backward = True
    reads_output = False
    function = ""  # the name in ``registry.LEARNED``

    def __init__(self, *, per_channel: bool = False, init: float | None = None, inputs: int | None = None) -> None:
        super().__init__(inputs)
        name = type(self).__name__
        entry = LEARNED[self.function]
        self._activation = LearnedActivation(entry, entry.start)
        self.weight_name, self.zero_blocks = entry.weight_name, entry.zero_blocks
        self.per_channel = bool(per_channel)
        self.init = entry.start if init is None else checks.real(name, "init", init, -math.inf)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        return {self.weight_name: ParameterSpec((self.inputs if self.per_channel else 1,), "activation")}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters[self.weight_name][...] = self.init

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "per_channel": self.per_channel, "init": self.init}

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        self.infer_into(x, y)
        self._save(x, len(x))

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        self._activation.apply(x, y, self.parameters[self.weight_name])

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        weight, dweight = self.parameters[self.weight_name], self.gradients[self.weight_name]
        self._activation.apply_backward(grad, saved, dx, weight, dweight)

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        return self._activation.derivative(self._peek(), out, self.parameters[self.weight_name])


@listed
class PReLU(Learned):
    """Leaky ReLU with a learned slope, x if x > 0 else weight * x (He et al. 2015, arXiv:1502.01852).

    Parameters
    ----------
    per_channel : one slope a channel (column) instead of one for all
    init : where it starts, 0.25 by default
    inputs : the width, needed only where no layer stands before

    ``parameters["weight"]`` has shape (1,) or (inputs,), as in PyTorch.
    """

    function = "prelu"


@listed
class Swish(Learned):
    """x * s(beta * x) with a learned beta, s the logistic function (Ramachandran et al. 2017, arXiv:1710.05941).

    Parameters
    ----------
    per_channel : one beta a channel (column) instead of one for all
    init : where it starts, 1 by default (``silu``)
    inputs : the width, needed only where no layer stands before

    ``parameters["beta"]`` has shape (1,) or (inputs,).
    """

    function = "swish"


@listed
class Maxout(LibraryLayer):
    """The largest of each ``pieces`` neighbours: (rows, inputs) to (rows, inputs / pieces) (Goodfellow et al. 2013,
    arXiv:1302.4389).

    Parameters
    ----------
    pieces : whole number from 1 to 256 that divides the width
    inputs : the width, needed only where no layer stands before
    """

    reads_input = reads_output = False

    def __init__(self, pieces: int = 2, inputs: int | None = None) -> None:
        super().__init__()
        self.pieces = epilogues.maxout_pieces("Maxout", pieces)
        if inputs is not None:
            self.connect(checks.whole("Maxout", "inputs", inputs, 1))

    def connect(self, inputs: int) -> None:
        if self.inputs is None:
            self.inputs, self.outputs = inputs, self._outputs(inputs)

    def _outputs(self, inputs: int) -> int:
        if inputs % self.pieces:
            raise ValueError(
                f"Maxout: expected a multiple of pieces={self.pieces} inputs, got {inputs}; change the layer before"
            )
        return inputs // self.pieces

    def make_workspaces(self, dtype: np.dtype) -> None:
        self.workspaces["output"] = Workspace(self.outputs, dtype)
        self.workspaces["index"] = Workspace(self.outputs, np.uint8)
        self.workspaces["dx"] = Workspace(self.inputs, dtype)

    def describe(self) -> dict[str, Any]:
        return {"layer": type(self).__name__, "pieces": self.pieces, "inputs": self.inputs}

    def forward_plain(self, x: np.ndarray, training: bool) -> np.ndarray:
        rows = len(x)
        if training:
            y, index = self.workspaces["output"].rows(rows), self.workspaces["index"].rows(rows)
            self._save(index, rows)
        else:
            shape = rows, self._outputs(x.shape[1])
            y, index = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
        backends.current().maxout(x, y, index, self.pieces)
        return y

    def backward_plain(self, grad: np.ndarray, need_input_grad: bool) -> np.ndarray | None:
        index = self._take()
        dx = self.workspaces["dx"].rows(len(grad))
        backends.current().maxout_backward(grad, index, dx, self.pieces)
        return dx
