"""Layers and ``Sequential``, which owns their parameters (one flat buffer) and plans their workspaces.

A layer declares the shapes of its parameters first; the network then hands it views into the flat buffers. One's own
layer subclasses ``Layer``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _checks, _dense, functional, init
from .registry import BoundActivation

__all__ = ["Dense", "Layer", "Sequential"]

ALIGNMENT = 64  # bytes: a cache line and the widest vector


@dataclass(frozen=True)
class ParameterSpec:
    """Shape of a parameter and whether weight decay applies to it."""

    shape: tuple[int, ...]
    decayed: bool


class Layer:
    """Base of all layers: maps (rows, ``inputs``) to (rows, ``outputs``).

    A subclass sets ``inputs`` and ``outputs``, implements ``forward`` and ``backward``, and where it has parameters
    ``parameter_specs`` and ``initialize``. After ``attach``, ``parameters[name]`` and ``gradients[name]`` are views of
    the network's flat buffers; ``backward`` adds nothing to the gradients, it overwrites them.
    """

    inputs: int
    outputs: int

    def __init__(self) -> None:
        """Start without parameters; the network attaches them."""
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self.keep_output = True

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Names and shapes of the parameters this layer wants."""
        return {}

    def attach(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray], keep_output: bool) -> None:
        """Take the views; keep_output says that backward must leave forward's result as it is."""
        self.parameters, self.gradients, self.keep_output = parameters, gradients, keep_output

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill the parameters with starting values."""

    def describe(self) -> dict[str, Any]:
        """What is needed to make the layer again, as JSON: the class name under "layer" and its arguments."""
        raise NotImplementedError(f"{type(self).__name__}.describe: implement it to make the layer savable")

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The output for x; with training, backward may follow and the result may be a reused workspace."""
        raise NotImplementedError

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Fill the gradients and return the gradient with respect to forward's x."""
        raise NotImplementedError


class Workspace:
    """Buffers that grow to the largest batch seen; views for a batch size are made once."""

    def __init__(self, columns: int, dtype: np.dtype) -> None:
        """No memory is taken before it is asked for."""
        self._buffer = np.empty((0, columns), dtype)
        self._views: dict[int, np.ndarray] = {}

    def rows(self, count: int) -> np.ndarray:
        """The first count rows."""
        view = self._views.get(count)
        if view is None:
            if count > len(self._buffer):
                self._buffer = aligned_empty((count, self._buffer.shape[1]), self._buffer.dtype)
                self._views.clear()
            view = self._views[count] = self._buffer[:count]
        return view


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array whose data start on a cache line."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


class Dense(Layer):
    """y = activation(x @ weight + bias), bias and activation applied in one pass over the product.

    Parameters
    ----------
    inputs, outputs : whole numbers >= 1
    activation : a name of the registry or ``fastact.activation(name, ...)``; None for the identity
    bias : whether to add a bias
    weight_init : "he", "glorot", "lecun", or None for the one that suits the activation

    ``parameters["weight"]`` has shape (inputs, outputs), ``parameters["bias"]`` (outputs,).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str | BoundActivation | None = None,
        *,
        bias: bool = True,
        weight_init: str | None = None,
    ) -> None:
        """Check the arguments; parameters come with the network."""
        super().__init__()
        self.inputs = _checks.whole("Dense", "inputs", inputs, 1)
        self.outputs = _checks.whole("Dense", "outputs", outputs, 1)
        self.activation = _checks.activation("Dense", activation)
        self.bias = bool(bias)
        if weight_init is not None:
            _checks.choice("Dense", "weight_init", weight_init, ("he", "glorot", "lecun"))
        self.weight_init = weight_init
        self._x: np.ndarray | None = None

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Weight (decayed) and bias."""
        specs = {"weight": ParameterSpec((self.inputs, self.outputs), decayed=True)}
        if self.bias:
            specs["bias"] = ParameterSpec((self.outputs,), decayed=False)
        return specs

    def attach(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray], keep_output: bool) -> None:
        """Take the views and lay out the workspaces."""
        super().attach(parameters, gradients, keep_output)
        dtype = parameters["weight"].dtype
        self._output = Workspace(self.outputs, dtype)
        self._slope = Workspace(self.outputs, dtype)
        self._dz = Workspace(self.outputs, dtype)
        self._dx = Workspace(self.inputs, dtype)
        self._sums = gradients.get("bias", np.empty(self.outputs, dtype))
        self._x = None

    def initialize(self, rng: np.random.Generator) -> None:
        """Weights by the scheme, biases 0."""
        scheme = self.weight_init or init.default_for(self.activation.name)
        init.initial_weight(self.parameters["weight"], scheme, rng)
        if self.bias:
            self.parameters["bias"][...] = 0

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            "layer": "Dense",
            "inputs": self.inputs,
            "outputs": self.outputs,
            "activation": self.activation.name,
            "parameters": self.activation.parameters,
            "bias": self.bias,
        }

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """activation(x @ weight + bias) for plain x of shape (rows, inputs) and the parameters' dtype."""
        weight, bias = self.parameters["weight"], self.parameters.get("bias")
        if not training:
            y = np.empty((len(x), self.outputs), weight.dtype)
            _dense.forward_into(self.activation, x, weight, bias, y, None)
            return y
        rows = len(x)
        y = self._output.rows(rows)
        slope = self._slope.rows(rows) if self.activation.entry.saves == "x" else None
        _dense.forward_into(self.activation, x, weight, bias, y, slope)
        self._x, self._saved = x, y if slope is None else slope
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Gradients of weight and bias; returns the gradient of x unless it is not needed."""
        if self._x is None:
            raise RuntimeError("Dense.backward: call forward(x, training=True) first; each backward needs its own")
        x, saved = self._x, self._saved
        self._x = None
        rows = len(x)
        # What was saved is read element by element, so dz may replace it, unless the user still holds it. Where the
        # slope is 1, grad is dz.
        if self.activation.entry.saves is None:
            saved = dz = None
        elif self.keep_output and saved is self._output.rows(rows):
            dz = self._dz.rows(rows)
        else:
            dz = saved
        dx = self._dx.rows(rows) if need_input_grad else None
        weight, dw = self.parameters["weight"], self.gradients["weight"]
        _dense.backward_into(self.activation, grad, saved, dz, x, weight, dx, dw, self._sums)
        return dx


@dataclass(frozen=True)
class Segment:
    """Where a parameter lies in the flat buffers."""

    name: str  # "0.weight": layer number and parameter name
    start: int
    stop: int
    shape: tuple[int, ...]
    decayed: bool


class Sequential:
    """Layers one after another, over one flat buffer of parameters and one of gradients.

    Parameters
    ----------
    *layers : the layers; each one's inputs must equal the outputs of the one before
    dtype : "float32" (default) or "float64"
    rng : seed or numpy Generator for the initial weights

    ``parameters`` and ``gradients`` are flat 1-D arrays; each layer's are views of them. ``net(x)`` is inference: a
    new array, no shared workspace, safe from several threads. ``forward(x, training=True)`` returns a view that the
    next forward overwrites.
    """

    def __init__(self, *layers: Layer, dtype: Any = "float32", rng: Any = None) -> None:
        """Lay out the buffers and initialise the parameters."""
        if not layers:
            raise ValueError("Sequential: expected at least one layer, got none")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: expected layer {i} to be a Layer, got {_checks.describe(layer)}")
            if layer in layers[:i]:
                raise ValueError(f"Sequential: layer {i} is in the network twice; make one Dense per place")
            if i and layer.inputs != layers[i - 1].outputs:
                raise ValueError(
                    f"Sequential: expected layer {i} to take {layers[i - 1].outputs} inputs (layer {i - 1}'s outputs), "
                    f"got {layer.inputs}"
                )
        self.dtype = np.dtype(dtype)
        if self.dtype not in _checks.FLOATS:
            raise TypeError(f"Sequential: expected dtype float32 or float64, got {self.dtype}")
        self.layers = tuple(layers)
        self.metadata: dict[str, str] = {}
        self.segments = self._lay_out()
        size = max((s.stop for s in self.segments), default=0)
        self.parameters = aligned_empty((size,), self.dtype)
        self.gradients = aligned_empty((size,), self.dtype)
        self.parameters[...] = 0  # padding stays 0
        self.gradients[...] = 0
        self._attach()
        generator = np.random.default_rng(rng)
        for layer in self.layers:
            layer.initialize(generator)
        self._trained_rows: int | None = None

    def _lay_out(self) -> tuple[Segment, ...]:
        """Decayed parameters first, so that an optimiser treats each kind in one call; each starts on a cache line."""
        wanted = [
            (f"{i}.{name}", spec)
            for i, layer in enumerate(self.layers)
            for name, spec in layer.parameter_specs().items()
        ]
        segments, start, step = [], 0, ALIGNMENT // self.dtype.itemsize
        for name, spec in sorted(wanted, key=lambda item: not item[1].decayed):
            stop = start + int(np.prod(spec.shape))
            segments.append(Segment(name, start, stop, spec.shape, spec.decayed))
            start = -(-stop // step) * step
        return tuple(segments)

    def _attach(self) -> None:
        """Give each layer views of the flat buffers."""
        for i, layer in enumerate(self.layers):
            own = {s.name.split(".", 1)[1]: s for s in self.segments if int(s.name.split(".", 1)[0]) == i}
            layer.attach(
                {name: self.parameters[s.start : s.stop].reshape(s.shape) for name, s in own.items()},
                {name: self.gradients[s.start : s.stop].reshape(s.shape) for name, s in own.items()},
                keep_output=i == len(self.layers) - 1,
            )

    @property
    def inputs(self) -> int:
        """Features that the network takes."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].outputs

    @property
    def parameter_count(self) -> int:
        """Trainable numbers, padding not counted."""
        return sum(s.stop - s.start for s in self.segments)

    def named_parameters(self) -> dict[str, np.ndarray]:
        """Views of all parameters by name: "0.weight", "0.bias", ..."""
        return {s.name: self.parameters[s.start : s.stop].reshape(s.shape) for s in self.segments}

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy named arrays into the parameters; all names, shapes and dtypes must match."""
        own = self.named_parameters()
        for name in (*own, *values):
            if name not in values or name not in own:
                raise ValueError(f"set_parameters: expected exactly {', '.join(own)}, got {', '.join(values)}")
        for name, array in own.items():
            given = np.asarray(values[name])
            if given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(
                    f"set_parameters: expected {name} to be {array.dtype} {array.shape}, "
                    f"got {given.dtype} {given.shape}"
                )
        for name, array in own.items():
            array[...] = values[name]

    def _input(self, function: str, x: Any) -> np.ndarray:
        array = _checks.matrix(function, "x", x, self.inputs)
        if array.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(
                f"{function}: expected x to be {self.dtype} like the network, got {array.dtype}; "
                f"convert with x.astype({str(self.dtype)!r})"
            )
        return _checks.plain(array)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs for x of shape (rows, inputs), as a new array."""
        array = self._input("Sequential", x)
        for layer in self.layers:
            array = layer.forward(array)
        return array.copy() if array is x else array

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs for x; with training, a view that the next forward overwrites, and backward may follow."""
        if not training:
            return self(x)
        array = self._input("Sequential.forward", x)
        for layer in self.layers:
            array = layer.forward(array, training=True)
        self._trained_rows = len(array)
        return array

    def backward(self, grad: np.ndarray, need_input_grad: bool = False) -> np.ndarray | None:
        """Fill ``gradients`` from the gradient of the loss with respect to forward's result.

        Returns the gradient with respect to x when asked, else None. Raises RuntimeError without a training forward
        before it; grad is not modified.
        """
        if self._trained_rows is None:
            raise RuntimeError("Sequential.backward: call forward(x, training=True) first; each backward needs its own")
        array = _checks.matrix("Sequential.backward", "grad", grad, self.outputs)
        if len(array) != self._trained_rows or array.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(
                f"Sequential.backward: expected grad to be {self.dtype} of shape {(self._trained_rows, self.outputs)}, "
                f"got {array.dtype} {array.shape}"
            )
        self._trained_rows = None
        array = _checks.plain(array)
        for layer in reversed(self.layers[1:]):
            array = layer.backward(array)
        return self.layers[0].backward(array, need_input_grad)

    def save(self, path: Any, metadata: Mapping[str, str] | None = None) -> None:
        """Write architecture and parameters to a .safetensors file; see ``fastact.load``."""
        from .persistence import save

        save(self, path, metadata)

    def describe(self) -> list[dict[str, Any]]:
        """The architecture as JSON."""
        return [layer.describe() for layer in self.layers]

    def __deepcopy__(self, memo: dict[int, Any]) -> Sequential:
        """A network of its own with the same layers and parameters."""
        twin = Sequential(*(layer_from(d) for d in self.describe()), dtype=self.dtype)
        twin.parameters[...] = self.parameters
        twin.gradients[...] = self.gradients
        twin.metadata = copy.deepcopy(self.metadata, memo)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as architecture and flat parameters; views and workspaces are made again."""
        return _rebuild, (self.describe(), str(self.dtype), np.array(self.parameters), self.metadata)

    def __repr__(self) -> str:
        """Shapes and activations."""
        inner = ", ".join(f"{d['inputs']}->{d['outputs']}" for d in self.describe())
        return f"Sequential({inner}, {self.dtype}, {self.parameter_count} parameters)"


def layer_from(description: Mapping[str, Any]) -> Layer:
    """The layer that ``describe`` described."""
    if description.get("layer") != "Dense":
        raise ValueError(f"unknown layer {description.get('layer')!r}")
    activation = functional.activation(description["activation"], **description["parameters"])
    return Dense(description["inputs"], description["outputs"], activation, bias=description["bias"])


def network_from(descriptions: Iterable[Mapping[str, Any]], dtype: str) -> Sequential:
    """The network that ``describe`` described, with fresh parameters."""
    return Sequential(*(layer_from(d) for d in descriptions), dtype=dtype)


def _rebuild(
    descriptions: list[dict[str, Any]], dtype: str, parameters: np.ndarray, metadata: dict[str, str]
) -> Sequential:
    net = network_from(descriptions, dtype)
    net.parameters[...] = parameters
    net.metadata = dict(metadata)
    return net
