"""What a layer is: the base class, what it declares, and the memory it is given.

A layer declares the shapes of its parameters first; the network then hands it views into flat arrays. One's own layer
subclasses ``Layer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends, checks
from ..memory import ParameterSpec, Workspace

__all__ = ["Layer", "Plan"]


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
        self.passes: Any = backends.engine.Passes()  # counts the training passes of all layers of a network
        self.number = 0  # this layer's last pass
        self.in_stack: tuple[Any, int] | None = None  # the compiled stack that it is part of, and its place there

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
        return kept | network | {"_saved": None, "in_stack": None}

    def __repr__(self) -> str:
        """The class and its widths."""
        return f"{type(self).__name__}({self.inputs} -> {self.outputs})"


def keep(layer: Layer, saved: Any) -> None:
    """Note a pass of this layer, and what it leaves for backward."""
    layer._saved = saved
    layer.passes.count += 1
    layer.number = layer.passes.count


def saved_state(layer: Layer) -> Any:
    """What the last training forward kept for backward, the layer's own or its stack's; None where there is none."""
    if layer.in_stack is not None:
        stack, place = layer.in_stack
        if stack.number > layer.number:
            return stack.saved(place)
    return layer._saved


def held(layer: Layer) -> Any:
    """The saved state; RuntimeError where there is none."""
    saved = saved_state(layer)
    if saved is None:
        name = type(layer).__name__
        raise RuntimeError(f"{name}.backward: call forward(x, training=True) first; each backward needs its own")
    return saved


def taken(layer: Layer) -> Any:
    """The saved state, which is then used up."""
    saved = held(layer)
    keep(layer, None)
    return saved


class SameWidth(Layer):
    """Base of the layers whose output is as wide as their input; they can take the width of the layer before."""

    in_place_backward = True

    def __init__(self, inputs: int | None = None) -> None:
        """Inputs: the width, needed only where no layer stands before."""
        super().__init__()
        if inputs is not None:
            self.inputs = self.outputs = checks.whole(type(self).__name__, "inputs", inputs, 1)

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and workspaces for what may not be written over."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        if not plan.over_input:
            self.workspaces["output"] = Workspace(self.outputs, dtype)
        if not plan.over_grad:
            self.workspaces["dx"] = Workspace(self.inputs, dtype)

    def describe(self) -> dict[str, Any]:
        """The class and the width; subclasses add their arguments."""
        return {"layer": type(self).__name__, "inputs": self.inputs}

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The output; while training in the plan's memory."""
        if not training:
            return self.infer(x, False)
        y = x if self.plan.over_input else self.workspaces["output"].rows(len(x))
        self.train_into(x, y)
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """The gradients of the parameters, where there are any, and of x."""
        dx = grad if self.plan.over_grad else self.workspaces["dx"].rows(len(grad))
        self.backward_into(taken(self), grad, dx)
        return dx

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """The output when not training."""
        y = x if over_input else np.empty_like(x)
        self.infer_into(x, y)
        return y

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Forward into y, which is x where the plan says so; keeps ``_saved`` for backward."""
        raise NotImplementedError

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Forward into y, which may be x, without keeping anything."""
        raise NotImplementedError

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Gradients of the parameters, and of x into dx, which may be grad."""
        raise NotImplementedError
