"""Activations as layers of their own, with and without a learned weight, and maxout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checks, functional, registry
from ..memory import ParameterSpec, Workspace
from ..registry import BoundActivation
from .base import Layer, Plan, SameWidth, held, taken
from .catalogue import listed


def slope_of(bound: BoundActivation, saved: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The activation's slope from what its backward reads, into out when given."""
    out = np.empty_like(saved) if out is None else out
    out[...] = 1
    functional.activate_backward_into(bound, out, saved, out)
    return out


def learned_slope_of(name: str, weight: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The same of an activation with a learned weight."""
    out = np.empty_like(x) if out is None else out
    out[...] = 1
    functional.learned_backward_into(name, out, x, weight, weight.size > 1, out, np.empty_like(weight))
    return out


def described_activation(description: Mapping[str, Any], custom: Mapping[str, Any] | None) -> Any:
    """The activation of a layer's description; one's own is looked up in custom."""
    name = description["activation"]
    if custom and name in custom:
        return checks.activation("load", custom[name])
    parameters = description["parameters"]
    if name in registry.LEARNED:
        return functional.activation(name, **{key: np.asarray(value, np.float64) for key, value in parameters.items()})
    if name not in registry.ACTIVATIONS and name != "maxout":
        raise ValueError(
            f"unknown activation {name!r}; if it is one's own, pass custom={{{name!r}: fastact.custom_activation(...)}}"
        )
    return functional.activation(name, **parameters)


@listed
class Activation(SameWidth):
    """An activation as a layer of its own; after ``Dense``, ``Dense(activation=...)`` is faster.

    Parameters
    ----------
    activation : a name, ``fastact.activation(name, ...)``, ``fastact.custom_activation(...)``, or "softmax" or
        "log_softmax", over each row (cross-entropy takes the outputs without it)
    inputs : the width, needed only where no layer stands before
    """

    def __init__(self, activation: str | BoundActivation, inputs: int | None = None) -> None:
        """Check the arguments."""
        super().__init__(inputs)
        self.activation: str | BoundActivation
        saves: str | None
        if isinstance(activation, str) and activation in functional.ROW_FUNCTIONS:
            self.activation, saves = activation, "y"
        else:
            if activation is None:
                raise TypeError("Activation: expected a name or fastact.activation(name, ...), got None")
            self.activation = checks.activation("Activation", activation)
            saves = self.activation.entry.saves
        self.reads_input, self.reads_output = saves == "x", saves == "y"
        self.in_place_forward = not self.reads_input

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        bound = self.activation
        if isinstance(bound, str):
            return {**super().describe(), "activation": bound}
        return {**super().describe(), "activation": bound.name, "parameters": bound.parameters}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Activation:
        """The layer that ``describe`` described."""
        name = description["activation"]
        activation = name if name in functional.ROW_FUNCTIONS else described_activation(description, custom)
        return cls(activation, description["inputs"])

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x)."""
        self.infer_into(x, y)
        self._saved = x if self.reads_input else y

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x)."""
        if isinstance(self.activation, str):
            functional.rows_forward(self.activation, x, y)
        elif self.activation.entry.saves is None:
            if y is not x:
                y[...] = x
        else:
            functional.activate_into(self.activation, x, y)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """dx = grad * f'."""
        if isinstance(self.activation, str):
            functional.rows_backward(self.activation, grad, saved, dx)
        elif self.activation.entry.saves is None:
            if dx is not grad:
                dx[...] = grad
        else:
            functional.activate_backward_into(self.activation, grad, saved, dx)

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The slope at the last training forward; None for softmax and the identity."""
        if isinstance(self.activation, str) or self.activation.entry.saves is None:
            return None
        return slope_of(self.activation, held(self), out)


class Learned(SameWidth):
    """Base of the activations with a learned weight: one for all (shape (1,)), or one a channel."""

    in_place_backward = True
    reads_output = False
    function = ""  # the name in ``registry.LEARNED``

    def __init__(self, *, per_channel: bool = False, init: float | None = None, inputs: int | None = None) -> None:
        """Check the arguments."""
        super().__init__(inputs)
        name = type(self).__name__
        entry = registry.LEARNED[self.function]
        self.weight_name = entry.weight_name
        self.per_channel = bool(per_channel)
        self.init = entry.start if init is None else checks.real(name, "init", init, -math.inf)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight; not decayed by default (He et al. 2015)."""
        return {self.weight_name: ParameterSpec((self.inputs if self.per_channel else 1,), "activation")}

    def initialize(self, rng: np.random.Generator) -> None:
        """The weight starts from ``init``."""
        self.parameters[self.weight_name][...] = self.init

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().describe(), "per_channel": self.per_channel, "init": self.init}

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x; weight)."""
        self.infer_into(x, y)
        self._saved = x

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x; weight)."""
        functional.learned_into(self.function, x, self.parameters[self.weight_name], self.per_channel, y)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Dx and the weight's gradient, from one pass."""
        weight, dweight = self.parameters[self.weight_name], self.gradients[self.weight_name]
        functional.learned_backward_into(self.function, grad, saved, weight, self.per_channel, dx, dweight)

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The slope at the last training forward."""
        return learned_slope_of(self.function, self.parameters[self.weight_name], held(self), out)


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
class Maxout(Layer):
    """The largest of each ``pieces`` neighbours: (rows, inputs) to (rows, inputs / pieces) (Goodfellow et al. 2013,
    arXiv:1302.4389).

    Parameters
    ----------
    pieces : whole number from 1 to 256 that divides the width
    inputs : the width, needed only where no layer stands before
    """

    reads_input = reads_output = False

    def __init__(self, pieces: int = 2, inputs: int | None = None) -> None:
        """Check the arguments."""
        super().__init__()
        self.pieces = checks.whole("Maxout", "pieces", pieces, 1)
        if self.pieces > 256:
            raise ValueError(f"Maxout: expected pieces from 1 to 256, got {pieces}")
        if inputs is not None:
            self.connect(checks.whole("Maxout", "inputs", inputs, 1))

    def connect(self, inputs: int) -> None:
        """Take the width, which pieces must divide."""
        if self.inputs is None:
            if inputs % self.pieces:
                raise ValueError(
                    f"Maxout: expected a multiple of pieces={self.pieces} inputs, got {inputs}; change the layer before"
                )
            self.inputs, self.outputs = inputs, inputs // self.pieces

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Lay out the workspaces."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        self.workspaces["output"] = Workspace(self.outputs, dtype)
        self.workspaces["index"] = Workspace(self.outputs, np.uint8)
        self.workspaces["dx"] = Workspace(self.inputs, dtype)

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"layer": "Maxout", "pieces": self.pieces, "inputs": self.inputs}

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The maxima; in training, which piece won is kept."""
        rows = len(x)
        if training:
            y, index = self.workspaces["output"].rows(rows), self.workspaces["index"].rows(rows)
            self._saved = index
        else:
            y, index = np.empty((rows, self.outputs), x.dtype), np.empty((rows, self.outputs), np.uint8)
        functional.maxout_into(x, y, index, self.pieces)
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Grad to the piece that won."""
        index = taken(self)
        dx = self.workspaces["dx"].rows(len(grad))
        functional.maxout_backward_into(grad, index, dx, self.pieces)
        return dx
