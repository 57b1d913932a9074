"""Chains of layers: widths that follow on each other, who may overwrite what, passes from layer to layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import checks
from ..memory import ParameterSpec
from .base import Layer, Plan


def connect(function: str, layers: tuple[Layer, ...], inputs: int | None = None) -> None:
    """Tell each layer the width of the one before; ValueError where that does not fit."""
    width = inputs
    for i, layer in enumerate(layers):
        if width is not None or layer.inputs is not None:
            layer.connect(layer.inputs if width is None else width)
        if layer.inputs is None or layer.outputs is None:
            raise ValueError(
                f"{function}: layer {i} ({type(layer).__name__}) does not know its width; no layer stands before it: "
                "pass inputs=..."
            )
        if width is not None and layer.inputs != width:
            before = f"layer {i - 1}'s outputs" if i else "the width before it"
            raise ValueError(f"{function}: expected layer {i} to take {width} inputs ({before}), got {layer.inputs}")
        width = layer.outputs


def check_layers(function: str, layers: tuple[Any, ...]) -> tuple[Layer, ...]:
    """The layers, at least one, each a Layer and in one place only."""
    if not layers:
        raise ValueError(f"{function}: expected at least one layer, got none")
    seen: set[int] = set()
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{function}: expected layer {i} to be a Layer, got {checks.describe(layer)}")
        for one in flattened(layer):
            if id(one) in seen:
                raise ValueError(f"{function}: layer {i} is there twice; make one {type(layer).__name__} a place")
            if one.attached:
                raise ValueError(
                    f"{function}: layer {i} ({type(layer).__name__}) is part of another network, which would lose it; "
                    "make a new one, and take the numbers over with set_parameters"
                )
            seen.add(id(one))
    return layers


def numbered(layers: Sequence[Layer], prefix: str = "") -> Iterable[tuple[str, Layer]]:
    """The layers and all inside them, with the numbers that their parameters' names begin with: "3", "3.0", ..."""
    for i, layer in enumerate(layers):
        yield f"{prefix}{i}", layer
        yield from numbered(layer.sublayers, f"{prefix}{i}.")


def flattened(layer: Layer) -> list[Layer]:
    """The layer and all inside it."""
    return [one for _, one in numbered([layer])]


def check_claims(layers: Iterable[Layer], numbers: int) -> None:
    """ValueError for layers from a file that take more memory by their widths than its numbers, so many, justify."""
    width = sum(max(one.inputs or 0, one.outputs or 0) for layer in layers for one in flattened(layer))
    if width > (1 << 22) + 64 * numbers:
        raise ValueError("its layers claim to be wider than its arrays are")


def named_specs(layers: Sequence[Layer], what: str) -> dict[str, ParameterSpec]:
    """The layers' parameter_specs or buffer_specs by "number.name"."""
    return {f"{i}.{name}": spec for i, layer in enumerate(layers) for name, spec in getattr(layer, what)().items()}


def by_layer(named: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """What belongs to each of count layers, without the layers' numbers."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, value in named.items():
        number, _, own = name.partition(".")
        found[int(number)][own] = value
    return found


def make_plans(layers: Sequence[Layer], last: Plan) -> list[Plan]:
    """What each layer may overwrite: a layer works in place only on what nobody keeps.

    An input is kept where the layer before reads its output in backward, or the layer itself its input; the first
    layer's belongs to the caller, and so does the last one's grad. A gradient between two layers is nobody's.
    ``last`` is the plan of the chain's end.
    """
    plans = []
    for i, layer in enumerate(layers):
        kept = i == 0 or layers[i - 1].reads_output or layer.reads_input
        end = i == len(layers) - 1
        plans.append(
            Plan(
                over_input=layer.in_place_forward and not kept,
                over_grad=layer.in_place_backward and (not end or last.over_grad),
                keep_output=end and last.keep_output,
            )
        )
    return plans


def attach(
    layers: Sequence[Layer],
    parameters: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    buffers: Mapping[str, np.ndarray],
    last: Plan,
    dtype: np.dtype,
    passes: Any,
) -> None:
    """Give each layer its views and its part of the plan."""
    views = (by_layer(named, len(layers)) for named in (parameters, gradients, buffers))
    for layer, *own, plan in zip(layers, *views, make_plans(layers, last), strict=True):
        layer.attach(*own, plan, dtype, passes)


def checked_forward(layer: Layer, x: np.ndarray) -> np.ndarray:
    """A training forward of a layer that is not ``trusted``, with a look at the result."""
    return _checked(layer, "forward", layer.forward(x, True), x, layer.outputs)


def checked_backward(layer: Layer, grad: np.ndarray, need_input_grad: bool) -> np.ndarray | None:
    """A backward of such a layer, likewise."""
    result = layer.backward(grad, need_input_grad)
    return _checked(layer, "backward", result, grad, layer.inputs) if need_input_grad else None


def _checked(layer: Layer, method: str, result: Any, given: np.ndarray, width: int | None) -> np.ndarray:
    """The result as a plain array of its own, so that the next layer may take it for what it is."""
    shape = (len(given), width)
    if not isinstance(result, np.ndarray) or result.shape != shape or result.dtype != given.dtype:
        raise ValueError(
            f"{type(layer).__name__}.{method}: expected it to return an array of {given.dtype} with shape {shape}, "
            f"got {checks.describe(result)}"
        )
    return result.copy() if np.may_share_memory(result, given) else checks.plain(result)


def infer(layers: Sequence[Layer], x: np.ndarray) -> tuple[np.ndarray, bool]:
    """The chain's output when not training, and whether it is memory of its own; x stays as it is."""
    array, free = x, False
    for layer in layers:
        given = array
        if layer.trusted:
            array = layer.infer(array, free)
            free = free or array is not given
        else:  # whatever methods a subclass of a library's layer overrides, forward is the one that knows
            array, free = _checked(layer, "forward", layer.forward(array), given, layer.outputs), False
    return array, free


def add(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """a + b, infinities and NaN as they come."""
    with np.errstate(all="ignore"):
        return np.add(a, b, out=out)


def workspace_bytes(layer: Layer, rows: int, input_grad: bool) -> int:
    """What the layer's workspaces take for that many rows, without its dx where nobody needs it."""
    own_bytes = sum(w.bytes_for(rows) for name, w in layer.workspaces.items() if input_grad or name != "dx")
    inner = enumerate(layer.sublayers)
    return own_bytes + sum(workspace_bytes(one, rows, input_grad or i > 0) for i, one in inner)
