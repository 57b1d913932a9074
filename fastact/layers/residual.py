"""A chain of layers around which the input is led, and added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..memory import ParameterSpec, Workspace
from .base import Layer, Plan
from .catalogue import layer_from, listed, trusted
from .chain import add, attach, check_layers, connect, differentiator, infer, named_specs, own, trainer


@listed
class Residual(Layer):
    """y = x + block(x), the block a chain of layers as wide at its end as at its beginning (He et al. 2016,
    arXiv:1512.03385).

    ``parameters`` are named as in the block: "0.weight", ... The width may come from the layer before.
    """

    reads_output = False
    in_place_forward = True
    transient = ("_forwards", "_backwards")

    def __init__(self, *block: Layer) -> None:
        """Check the block."""
        super().__init__()
        self.block = self.sublayers = check_layers("Residual", block)
        if self.block[0].inputs is not None:
            self.connect(self.block[0].inputs)

    @property
    def reads_input(self) -> bool:  # type: ignore[override]
        """Whether the block's first layer does."""
        return self.block[0].reads_input

    def connect(self, inputs: int) -> None:
        """Take the width and tell the block."""
        if self.inputs is None:
            connect("Residual", self.block, inputs)
            if self.block[-1].outputs != inputs:
                raise ValueError(
                    f"Residual: expected the block to return as many columns as it takes, {inputs}, "
                    f"got {self.block[-1].outputs}"
                )
            self.inputs = self.outputs = inputs

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The block's."""
        return named_specs(self.block, "parameter_specs")

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The block's."""
        return named_specs(self.block, "buffer_specs")

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Share them out to the block, which keeps x and grad: both are needed again for the sums."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        attach(self.block, parameters, gradients, buffers, Plan(over_grad=False, keep_output=False), dtype)
        end = self.block[-1]
        self._over_block = trusted(end) and not end.reads_output
        if not plan.over_input and not self._over_block:
            self.workspaces["output"] = Workspace(self.outputs, dtype)
        if not trusted(self.block[0]):
            self.workspaces["dx"] = Workspace(self.inputs, dtype)
        self._forwards = tuple(map(trainer, self.block))
        self._backwards = tuple(map(differentiator, reversed(self.block)))

    def freeze(self, names: frozenset[str]) -> None:
        """Tell the block."""
        super().freeze(names)
        for i, layer in enumerate(self.block):
            layer.freeze(frozenset(own(dict.fromkeys(names), i)))

    def initialize(self, rng: np.random.Generator) -> None:
        """The block's starting values."""
        for layer in self.block:
            layer.initialize(rng)

    def random_state(self) -> dict[str, Any]:
        """Those of the block's layers that have one, by number."""
        states = {str(i): layer.random_state() for i, layer in enumerate(self.block)}
        return {number: state for number, state in states.items() if state}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``random_state`` returned."""
        if not isinstance(state, Mapping) or set(state) != set(self.random_state()):
            raise ValueError(
                f"Residual.set_random_state: expected states of the layers {sorted(self.random_state())}, got {state!r}"
            )
        for number, inner in state.items():
            self.block[int(number)].set_random_state(inner)

    def describe(self) -> dict[str, Any]:
        """The block's layers."""
        return {"layer": "Residual", "block": [layer.describe() for layer in self.block]}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Residual:
        """The layer that ``describe`` described."""
        return cls(*(layer_from(inner, custom) for inner in description["block"]))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """X + block(x)."""
        if not training:
            return self.infer(x, False)
        array = x
        for forward in self._forwards:
            array = forward(array, True)
        y = x if self.plan.over_input else array if self._over_block else self.workspaces["output"].rows(len(x))
        self._saved = True
        return add(array, x, y)

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """The block's gradient plus grad."""
        if self._saved is None:
            raise RuntimeError("Residual.backward: call forward(x, training=True) first; each backward needs its own")
        self._saved = None
        array = grad
        for backward in self._backwards[:-1]:
            array = backward(array)
        dx = self._backwards[-1](array, need_input_grad)
        if not need_input_grad:
            return None
        return add(dx, grad, self.workspaces["dx"].rows(len(grad)) if "dx" in self.workspaces else dx)

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """X + block(x) when not training."""
        y, free = infer(self.block, x)
        return add(y, x, x if over_input else y if free else None)
