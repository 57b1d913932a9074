"""A chain of layers around which the input is led, and added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..memory import ParameterSpec, Workspace
from . import chain
from .base import Layer, LibraryLayer, Plan
from .catalogue import layer_from, listed


@listed
class Residual(LibraryLayer):
    """y = x + block(x), the block a chain of layers as wide at its end as at its beginning (He et al. 2016,
    arXiv:1512.03385).

    ``parameters`` are named as in the block: "0.weight", ... The width may come from the layer before.
    """

    reads_output = False
    in_place_forward = True

    def __init__(self, *block: Layer) -> None:
        super().__init__()
        self.block = self.sublayers = chain.check_layers("Residual", block)
        if self.block[0].inputs is not None:
            self.connect(self.block[0].inputs)

    @property
    def reads_input(self) -> bool:  # type: ignore[override]
        """Whether the block's first layer does."""
        return self.block[0].reads_input

    def connect(self, inputs: int) -> None:
        if self.inputs is None:
            chain.connect("Residual", self.block, inputs)
            if self.block[-1].outputs != inputs:
                raise ValueError(
                    f"Residual: expected the block to return as many columns as it takes, {inputs}, "
                    f"got {self.block[-1].outputs}"
                )
            self.inputs = self.outputs = inputs

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        return chain.named_specs(self.block, "parameter_specs")

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        return chain.named_specs(self.block, "buffer_specs")

    def make_workspaces(self, dtype: np.dtype) -> None:
        last = Plan(over_grad=False, keep_output=False)
        chain.attach(self.block, self.parameters, self.gradients, self.buffers, last, dtype, self._passes)
        if not self.plan.over_input and not self._over_block:
            self.workspaces["output"] = Workspace(self.outputs, dtype)
        if not self.block[0].trusted:
            self.workspaces["dx"] = Workspace(self.inputs, dtype)

    @property
    def _over_block(self) -> bool:
        """Whether the sum can be put where the block's result is."""
        end = self.block[-1]
        return end.trusted and not end.reads_output

    def freeze(self, names: frozenset[str]) -> None:
        super().freeze(names)
        for layer, own in zip(self.block, chain.by_layer(dict.fromkeys(names), len(self.block)), strict=True):
            layer.freeze(frozenset(own))

    def start_as(self, weight_init: Any) -> None:
        for layer in self.block:
            layer.start_as(weight_init)

    def initialize(self, rng: np.random.Generator) -> None:
        for layer in self.block:
            layer.initialize(rng)

    def random_state(self) -> dict[str, Any]:
        states = {str(i): layer.random_state() for i, layer in enumerate(self.block)}
        return {number: state for number, state in states.items() if state}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping) or set(state) != set(self.random_state()):
            raise ValueError(
                f"Residual.set_random_state: expected states of the layers {sorted(self.random_state())}, got {state!r}"
            )
        for number, inner in state.items():
            self.block[int(number)].set_random_state(inner)

    def _shown(self) -> Iterable[str]:
        return map(repr, self.block)

    def describe(self) -> dict[str, Any]:
        return {"layer": type(self).__name__, "block": [layer.describe() for layer in self.block]}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Residual:
        """The layer that ``describe`` described."""
        return cls(*(layer_from(inner, custom) for inner in description["block"]))

    def forward_plain(self, x: np.ndarray, training: bool) -> np.ndarray:
        if not training:
            return self.infer(x, False)
        array = x
        for layer in self.block:
            array = layer.forward_plain(array, True) if layer.trusted else chain.checked_forward(layer, array)
        y = x if self.plan.over_input else array if self._over_block else self.workspaces["output"].rows(len(x))
        self._save(True, len(x))
        return chain.add(array, x, y)

    def backward_plain(self, grad: np.ndarray, need_input_grad: bool) -> np.ndarray | None:
        self._take()
        array: Any = grad
        for i in range(len(self.block) - 1, -1, -1):
            layer, below = self.block[i], i > 0 or need_input_grad
            array = layer.backward_plain(array, below) if layer.trusted else chain.checked_backward(layer, array, below)
        if not need_input_grad:
            return None
        return chain.add(array, grad, self.workspaces["dx"].rows(len(grad)) if "dx" in self.workspaces else array)

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        y, free = chain.infer(self.block, x)
        return chain.add(y, x, x if over_input else y if free else None)
