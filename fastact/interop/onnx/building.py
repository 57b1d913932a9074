"""Steps to layers: what follows a product becomes a part of it, shifts and factors of columns ``Standardize``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import checks
from ...epilogues import ROW_FUNCTIONS, activation
from ...layers import Activation, Dense, Layer, LayerNorm, Maxout, PReLU, Residual, Standardize, Swish, chain
from ...network import Sequential
from ...registry import LEARNED

LAYER_LIMIT = 4096

Shape = tuple[int | None, ...] | None
Arrays = dict[str, Any]


class Step:
    """What is done to the rows."""


@dataclass
class Multiply(Step):
    """x @ weight + bias; ``spread`` puts one output among others, which is a part of the product before it."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    spread: bool = False


@dataclass
class Move(Step):
    """x + values, x - values, x * values or x / values: one number, or one a column."""

    operator: str
    values: np.ndarray


@dataclass
class Activate(Step):
    """An activation by name."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Normalize(Step):
    """A row with mean 0 and variance 1."""

    eps: float


@dataclass
class Make(Step):
    """A layer, and what its parameters and buffers hold."""

    layer: Callable[[], Layer]
    arrays: Arrays = field(default_factory=dict)


@dataclass
class Branch(Step):
    """x plus what these steps make of it."""

    steps: list[Step]


@dataclass
class Reshaped(Step):
    """Another shape; rows stay rows where the width is this."""

    width: int | None
    said_by: str


@dataclass
class Product:
    """A dense layer in the making."""

    weight: np.ndarray
    bias: np.ndarray | None
    epilogue: Any = None

    def move(self, step: Move) -> bool:
        """Take a shift or factor in, where nothing stands between."""
        if self.epilogue is not None:
            return False
        if step.operator in ("Mul", "Div"):
            function = np.multiply if step.operator == "Mul" else np.divide
            self.weight = function(self.weight, step.values)
            self.bias = None if self.bias is None else function(self.bias, step.values)
        else:
            bias = np.zeros(self.weight.shape[1], self.weight.dtype) if self.bias is None else self.bias
            self.bias = bias + step.values if step.operator == "Add" else bias - step.values
        return True

    def layer(self, width: int) -> tuple[Layer, Arrays]:
        inputs, columns = self.weight.shape
        outputs = columns if self.epilogue is None else self.epilogue.outputs("load", columns)
        arrays = {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})
        return Dense(inputs, outputs, self.epilogue, bias=self.bias is not None), arrays


@dataclass
class Norm:
    """A layer normalisation in the making."""

    eps: float
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None

    def move(self, step: Move) -> bool:
        """Take the factor, then the shift."""
        if step.operator == "Mul" and self.weight is None and self.bias is None:
            self.weight = step.values
        elif step.operator == "Add" and self.bias is None:
            self.bias = step.values
        else:
            return False
        return True

    def layer(self, width: int) -> tuple[Layer, Arrays]:
        arrays = {name: value for name in ("weight", "bias") if (value := getattr(self, name)) is not None}
        return LayerNorm(eps=self.eps, weight="weight" in arrays, bias="bias" in arrays, inputs=width), arrays


@dataclass
class Columns:
    """(x - mean) / scale in the making."""

    mean: Any = 0.0
    scale: Any = 1.0

    def move(self, step: Move) -> bool:
        """All shifts and factors can follow."""
        values = step.values.astype(np.float64)
        if step.operator == "Mul" and not values.all():
            raise ValueError("columns are multiplied by 0, which no layer does")
        if step.operator == "Sub":
            self.mean = self.mean + values * self.scale
        elif step.operator == "Add":
            self.mean = self.mean - values * self.scale
        else:
            self.scale = self.scale * values if step.operator == "Div" else self.scale / values
        return True

    def layer(self, width: int) -> tuple[Layer, Arrays]:
        return Standardize(width), {"mean": self.mean, "scale": self.scale}


@dataclass
class Whole:
    """A layer that takes nothing in."""

    make: Callable[[int], Layer]
    arrays: Arrays

    def move(self, step: Move) -> bool:
        return False

    def layer(self, width: int) -> tuple[Layer, Arrays]:
        return self.make(width), self.arrays


class Build:
    """A network from steps, in one dtype."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    def network(self, steps: list[Step], shape: Shape) -> Sequential:
        """The network for an input of that shape, as far as it is known."""
        width = _first_width(steps, shape)
        layers, arrays, _ = self._layers(steps, width)
        if not layers:
            layers = [Activation("identity", width)]
        if sum(len(chain.flattened(layer)) for layer in layers) > LAYER_LIMIT:
            raise ValueError(f"expected at most {LAYER_LIMIT} layers")
        chain.connect("load", tuple(layers))
        chain.check_claims(layers, sum(np.size(array) for array in arrays.values()))
        net = Sequential(*layers, dtype=self.dtype)
        targets = {**net.named_parameters(), **net.named_buffers()}
        for name, values in arrays.items():
            targets[name][...] = checks.rounded("load", name, values, self.dtype)
        return net

    def _layers(self, steps: list[Step], width: int) -> tuple[list[Layer], Arrays, int]:
        """Layers, what they hold by "number.name", and the width at their end."""
        pieces: list[Any] = []
        for step in steps:
            self._add(pieces, step)
        layers: list[Layer] = []
        arrays: Arrays = {}
        for piece in pieces:
            if isinstance(piece, Reshaped):
                listed = piece is pieces[-1] and piece.width == 1  # all outputs as one list, as skl2onnx's regressors
                if piece.width not in (None, width) and not listed:
                    raise ValueError(f"{piece.said_by} makes other rows of those of {width} columns")
                continue
            if isinstance(piece, Branch):
                inner, held, _ = self._layers(piece.steps, width)
                layer: Layer = Residual(*inner)
            else:
                layer, held = piece.layer(width)
            arrays |= {f"{len(layers)}.{name}": values for name, values in held.items()}
            layer.connect(width)
            layers.append(layer)
            width = layer.outputs
        return layers, arrays, width

    def _add(self, pieces: list[Any], step: Step) -> None:
        last = pieces[-1] if pieces else None
        if isinstance(step, Move):
            if last is None or isinstance(last, (Branch, Reshaped)) or not last.move(step):
                pieces.append(Columns())
                pieces[-1].move(step)
        elif isinstance(step, Multiply):
            if step.spread and isinstance(last, Product) and last.epilogue is None:
                last.weight = last.weight @ step.weight
                last.bias = None if last.bias is None else last.bias @ step.weight
            else:
                pieces.append(Product(step.weight, step.bias))
        elif isinstance(step, Activate):
            if step.name in ROW_FUNCTIONS or not isinstance(last, Product) or last.epilogue is not None:
                pieces.append(self._activation(step))
            else:
                last.epilogue = activation(step.name, **self._parameters(step))
        elif isinstance(step, Normalize):
            pieces.append(Norm(self._number(step.eps)))
        elif isinstance(step, Make):
            pieces.append(Whole(lambda width: step.layer(), step.arrays))
        else:
            pieces.append(step)

    def _activation(self, step: Activate) -> Whole:
        if step.name in LEARNED:
            name = LEARNED[step.name].weight_name
            weight = np.ravel(step.parameters[name])
            cls = PReLU if step.name == "prelu" else Swish
            return Whole(lambda width: cls(per_channel=weight.size > 1, inputs=width), {name: weight})
        if step.name in ROW_FUNCTIONS:
            return Whole(lambda width: Activation(step.name, width), {})
        if step.name == "maxout":
            return Whole(lambda width: Maxout(step.parameters["pieces"], width), {})
        made = activation(step.name, **self._parameters(step))
        return Whole(lambda width: Activation(made, width), {})  # type: ignore[arg-type] # it is elementwise

    def _parameters(self, step: Activate) -> dict[str, Any]:
        """Numbers as they were before they were rounded to the file's single precision: 0.01, not 0.00999999977."""
        return {
            name: self._number(value)
            if isinstance(value, float)
            else value
            if isinstance(value, int)
            else np.ravel(value)
            for name, value in step.parameters.items()
        }

    def _number(self, value: float) -> float:
        return float(str(np.float32(value))) if self.dtype == np.float32 else float(value)


def _first_width(steps: list[Step], shape: Shape) -> int:
    """Columns of the input: what the file says, or else what first depends on it."""
    if shape is not None and None not in shape[1:]:
        if len(shape) > 2 and not any(isinstance(step, Reshaped) for step in steps):
            raise ValueError(f"its input has {len(shape)} dimensions, {shape}; networks take rows of numbers")
        width = math.prod(n for n in (shape if len(shape) == 1 else shape[1:]) if n is not None)
        if width > 0:
            return width
    for step in steps:
        if isinstance(step, Multiply):
            return step.weight.shape[0]
        if isinstance(step, Move) and step.values.size > 1:
            return step.values.size
        if isinstance(step, Reshaped) and step.width is not None:
            return step.width
    raise ValueError("it does not say how many columns its input has")
