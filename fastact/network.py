"""``Sequential``: layers over flat buffers of parameters, and the plan of who may overwrite what."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import _checks, runtime
from .layers import ALIGNMENT, KINDS, Dense, Layer, ParameterSpec, Plan, aligned_empty

__all__ = ["Segment", "Sequential"]

#: The layers that a file can name; others come from ``custom``.
LAYERS: dict[str, type[Layer]] = {cls.__name__: cls for cls in (Dense,)}


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


class Sequential:
    """Layers one after another, over one flat buffer of parameters and one of gradients.

    Parameters
    ----------
    *layers : the layers; each one's inputs must equal the outputs of the one before
    dtype : "float32" (default) or "float64"
    rng : seed or numpy Generator for the initial weights

    ``parameters``, ``gradients`` and ``buffers`` (what is not trained: BatchNorm's statistics) are flat 1-D arrays;
    each layer's are views of them. ``net(x)`` is inference: a new array, no shared workspace, safe from several
    threads. ``forward(x, training=True)`` returns a view that the next forward overwrites.

    ``observer`` (None: none) sees every training pass: ``observer.forward(i, layer, x, y)`` after a layer's forward
    and ``observer.backward(i, layer, grad)``, with the gradient of its output, before its backward.
    """

    def __init__(self, *layers: Layer, dtype: Any = "float32", rng: Any = None) -> None:
        """Lay out the buffers and initialise the parameters."""
        self._build(layers, dtype)
        generator = np.random.default_rng(rng)
        for layer in self.layers:
            layer.initialize(generator)

    def _build(self, layers: tuple[Layer, ...], dtype: Any) -> None:
        """All but the starting values."""
        self.dtype = np.dtype(dtype)
        if self.dtype not in _checks.FLOATS:
            raise TypeError(f"Sequential: expected dtype float32 or float64, got {self.dtype}")
        self.layers = tuple(layers)
        connect("Sequential", self.layers)
        self.metadata: dict[str, str] = {}
        self.observer: Any = None
        step = ALIGNMENT // self.dtype.itemsize
        self.segments = lay_out(self.layers, Layer.parameter_specs, step)
        self.buffer_segments = lay_out(self.layers, Layer.buffer_specs, step)
        self.parameters = self._flat(self.segments)
        self.gradients = self._flat(self.segments)
        self.buffers = self._flat(self.buffer_segments)
        self._attach()

    def _flat(self, segments: tuple[Segment, ...]) -> np.ndarray:
        """A flat array for the segments; the padding between them stays 0."""
        array = aligned_empty((max((s.stop for s in segments), default=0),), self.dtype)
        array[...] = 0
        return array

    def _attach(self) -> None:
        """Give each layer views of the flat arrays and its part of the plan."""
        parameters, gradients = views(self.segments, self.parameters), views(self.segments, self.gradients)
        buffers = views(self.buffer_segments, self.buffers)
        for i, (layer, plan) in enumerate(zip(self.layers, make_plans(self.layers), strict=True)):
            layer.attach(own(parameters, i), own(gradients, i), own(buffers, i), plan, self.dtype)
        self._tell_frozen()
        self._trained_rows: int | None = None

    def _tell_frozen(self) -> None:
        for i, layer in enumerate(self.layers):
            layer.freeze(frozenset(own({s.name: s for s in self.segments if s.frozen}, i)))
        # Networks of dense layers alone run whole passes in one call; a frozen layer has less to do.
        plain = all(type(layer) is Dense and not layer.frozen for layer in self.layers)
        self._stack = stack_of(self.layers) if plain else None

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
        return views(self.segments, self.parameters)

    def named_buffers(self) -> dict[str, np.ndarray]:
        """Views of all that is not trained, by name: "1.running_mean", ..."""
        return views(self.buffer_segments, self.buffers)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy named arrays into the parameters; all names, shapes and dtypes must match."""
        fill("set_parameters", self.named_parameters(), values)

    def set_buffers(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy named arrays into the buffers; all names, shapes and dtypes must match."""
        fill("set_buffers", self.named_buffers(), values)

    def random_state(self) -> list[dict[str, Any]]:
        """Each layer's random state (Dropout's seed and counter), as JSON."""
        return [layer.random_state() for layer in self.layers]

    def set_random_state(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Continue from what ``random_state`` returned: the next masks are those of the run it came from."""
        states = list(states)
        if len(states) != len(self.layers):
            raise ValueError(f"set_random_state: expected {len(self.layers)} states, one a layer, got {len(states)}")
        for layer, state in zip(self.layers, states, strict=True):
            layer.set_random_state(state)

    def freeze(self, *which: str | int | Layer) -> None:
        """Have optimisers leave parameters alone: layers, their numbers, or names ("0.weight", "0.*"); none: all.

        Raises ValueError, with nothing changed, where one names no parameter.
        """
        self._set_frozen("freeze", which, True)

    def unfreeze(self, *which: str | int | Layer) -> None:
        """Undo ``freeze``, for the same kinds of arguments."""
        self._set_frozen("unfreeze", which, False)

    def _set_frozen(self, function: str, which: tuple[str | int | Layer, ...], frozen: bool) -> None:
        chosen: set[str] = set()
        names = [s.name for s in self.segments]
        for item in which or ("*",):
            number = self.layers.index(item) if item in self.layers else item
            pattern = number if isinstance(number, str) else f"{number}.*"
            found = fnmatch.filter(names, pattern)
            if not found:
                raise ValueError(
                    f"{function}: expected layers, numbers or names among {', '.join(names)}, got {item!r}"
                )
            chosen.update(found)
        # a new tuple: optimisers see by its identity that something changed
        self.segments = tuple(replace(s, frozen=frozen) if s.name in chosen else s for s in self.segments)
        self._tell_frozen()

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
        if self._stack is not None and (result := self._stack.infer(x)) is not None:
            return result
        array = self._input("Sequential", x)
        for layer in self.layers:
            array = layer.forward(array)
        return array.copy() if array is x else array

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs for x; with training, a view that the next forward overwrites, and backward may follow."""
        if not training:
            return self(x)
        if self._stack is not None and self.observer is None and (result := self._stack.forward(x)) is not None:
            self._trained_rows = len(result)
            return result
        array = self._input("Sequential.forward", x)
        if self.observer is None:
            for layer in self.layers:
                array = layer.forward(array, True)
            self._prepare_stack(len(array))
        else:
            for i, layer in enumerate(self.layers):
                given, array = array, layer.forward(array, True)
                self.observer.forward(i, layer, given, array)
        self._trained_rows = len(array)
        return array

    def _prepare_stack(self, rows: int) -> None:
        """Hand the layers' workspaces for so many rows to the stack: from the next pass on it runs by itself."""
        if self._stack is None:
            return
        if rows > max(self._stack.views, default=0):
            self._stack.views.clear()  # the workspaces have grown
        self._stack.views[rows] = [runtime._core.StackedViews(*layer.stacked_views(rows)) for layer in self.layers]

    def backward(self, grad: np.ndarray, need_input_grad: bool = False) -> np.ndarray | None:
        """Fill ``gradients`` from the gradient of the loss with respect to forward's result.

        Returns the gradient with respect to x when asked, else None. Raises RuntimeError without a training forward
        before it; grad is not modified.
        """
        if self._stack is not None and self.observer is None:
            result = self._stack.backward(grad, need_input_grad, False)
            if result is not None:
                self._trained_rows = None
                return result if need_input_grad else None
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
        if self.observer is None:
            for layer in self.layers[:0:-1]:
                array = layer.backward(array)
        else:
            for i, layer in reversed(list(enumerate(self.layers))):
                self.observer.backward(i, layer, array)
                if i:
                    array = layer.backward(array)
        return self.layers[0].backward(array, need_input_grad)

    def save(self, path: Any, metadata: Mapping[str, str] | None = None) -> None:
        """Write architecture and parameters to a .safetensors file; see ``fastact.load``."""
        from .persistence import save

        save(self, path, metadata)

    def describe(self) -> list[dict[str, Any]]:
        """The architecture as JSON."""
        return [layer.describe() for layer in self.layers]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as layers and flat arrays; views and workspaces are made again."""
        arrays = np.array(self.parameters), np.array(self.gradients), np.array(self.buffers)
        return _rebuild, (self.layers, str(self.dtype), arrays, self.segments, self.metadata)

    def __copy__(self) -> Sequential:
        """A deep copy: layers cannot be part of two networks."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        """Shapes and activations."""
        inner = ", ".join(f"{layer.inputs}->{layer.outputs}" for layer in self.layers)
        return f"Sequential({inner}, {self.dtype}, {self.parameter_count} parameters)"


# ------------------------------------------------------------------------------------------ chains of layers


def connect(function: str, layers: tuple[Layer, ...], inputs: int | None = None) -> None:
    """Tell each layer the width of the one before; ValueError where that does not fit."""
    if not layers:
        raise ValueError(f"{function}: expected at least one layer, got none")
    width = inputs
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{function}: expected layer {i} to be a Layer, got {_checks.describe(layer)}")
        if layer in layers[:i]:
            raise ValueError(
                f"{function}: layer {i} is in the network twice; make one {type(layer).__name__} per place"
            )
        if width is not None:
            layer.connect(width)
        if layer.inputs is None or layer.outputs is None:
            raise ValueError(
                f"{function}: layer {i} ({type(layer).__name__}) does not know its width; no layer stands before it, "
                "so pass inputs=..."
            )
        if width is not None and layer.inputs != width:
            raise ValueError(
                f"{function}: expected layer {i} to take {width} inputs (layer {i - 1}'s outputs), got {layer.inputs}"
            )
        width = layer.outputs


def lay_out(
    layers: tuple[Layer, ...], specs: Callable[[Layer], dict[str, ParameterSpec]], step: int
) -> tuple[Segment, ...]:
    """Segments for what the layers want, by kind, so that optimisers treat each kind in one call.

    Each starts on a multiple of step elements.
    """
    wanted = [
        (f"{i}.{name}", spec)
        for i, layer in enumerate(layers)
        for name, spec in getattr(layer, specs.__name__)().items()
    ]
    segments, start = [], 0
    for name, spec in sorted(wanted, key=lambda item: KINDS.index(item[1].kind)):
        stop = start + int(np.prod(spec.shape))
        segments.append(Segment(name, start, stop, spec.shape, spec.kind))
        start = -(-stop // step) * step
    return tuple(segments)


def views(segments: tuple[Segment, ...], flat: np.ndarray) -> dict[str, np.ndarray]:
    """The segments' parts of a flat array, in their shapes."""
    return {s.name: flat[s.start : s.stop].reshape(s.shape) for s in segments}


def own(named: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What belongs to one layer, without the layer's number."""
    prefix = f"{number}."
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def make_plans(layers: tuple[Layer, ...]) -> list[Plan]:
    """What each layer may overwrite."""
    last = len(layers) - 1
    return [Plan(keep_output=i == last) for i in range(len(layers))]


def stack_of(layers: tuple[Dense, ...]) -> Any:
    """The compiled stack of these layers; None without the compiled core or for an activation without a kernel."""
    parts = [layer.stacked() for layer in layers]
    if runtime._core is None or any(part is None for part in parts):
        return None
    stacked = runtime._core.StackedLayer
    return runtime._core.DenseStack([stacked(layer, *part) for layer, part in zip(layers, parts, strict=True)])


def fill(function: str, arrays: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
    """Copy named values into arrays; ValueError, with nothing written, unless names, shapes and dtypes match."""
    for name in (*arrays, *values):
        if name not in values or name not in arrays:
            raise ValueError(f"{function}: expected exactly {', '.join(arrays)}, got {', '.join(values)}")
    for name, array in arrays.items():
        given = np.asarray(values[name])
        if given.shape != array.shape or given.dtype != array.dtype:
            raise ValueError(
                f"{function}: expected {name} to be {array.dtype} {array.shape}, got {given.dtype} {given.shape}"
            )
    for name, array in arrays.items():
        array[...] = values[name]


def layer_from(description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Layer:
    """The layer that ``describe`` described; custom maps names to one's own Layer classes."""
    name = description.get("layer")
    cls = (custom or {}).get(name) or LAYERS.get(name)
    if not isinstance(cls, type) or not issubclass(cls, Layer):
        raise ValueError(
            f"unknown layer {name!r}; known: {', '.join(LAYERS)}; pass one's own class as custom={{{name!r}: class}}"
        )
    return cls.from_description(description, custom)


def network_from(
    descriptions: Iterable[Mapping[str, Any]], dtype: str, custom: Mapping[str, Any] | None = None
) -> Sequential:
    """The network that ``describe`` described, with fresh parameters."""
    return Sequential(*(layer_from(d, custom) for d in descriptions), dtype=dtype)


def _rebuild(
    layers: tuple[Layer, ...],
    dtype: str,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    segments: tuple[Segment, ...],
    metadata: dict[str, str],
) -> Sequential:
    net = Sequential.__new__(Sequential)
    net._build(layers, dtype)
    net.parameters[...], net.gradients[...], net.buffers[...] = arrays
    net.segments = segments
    net._tell_frozen()
    net.metadata = dict(metadata)
    return net
